"""The configuration that a GGUF file's metadata describe."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.io import gguf_file
from jaxrl_entropy.models.io.gguf_families import ARCHITECTURES
from jaxrl_entropy.models.io.gguf_tensors import ROPE_FACTORS
from jaxrl_entropy.models.io.sources import CheckpointError
from jaxrl_entropy.models.rope import Rope, inverse_frequencies

# Metadata under the architecture's name that are read or have no effect.
_KNOWN = {
  "attention.head_count",
  "attention.head_count_kv",
  "attention.key_length",
  "attention.layer_norm_rms_epsilon",
  "block_count",
  "context_length",
  "embedding_length",
  "feed_forward_length",
  "rope.freq_base",
  "vocab_size",
}
# Metadata without effect at this value only.
_NEUTRAL = {
  "attention.sliding_window": 0,
  "expert_count": 0,
  "expert_used_count": 0,
  "rope.freq_base_swa": 10000.0,
  "rope.scale_linear": 1.0,
  "rope.scaling.factor": 1.0,
  "rope.scaling.type": "none",
}


def gguf_config(file: gguf_file.Gguf) -> TransformerConfig:
  """Returns the configuration that a GGUF file's metadata describe.

  Raises:
    CheckpointError: if the architecture or a scaling is not supported.
  """
  metadata: Mapping[str, Any] = file.metadata
  kind = metadata.get("general.architecture")
  if kind not in ARCHITECTURES:
    raise CheckpointError(f"{file.path}: architecture {kind!r} not supported")
  architecture = ARCHITECTURES[kind]

  def field(name: str, default: Any = None) -> Any:
    value = metadata.get(f"{kind}.{name}", default)
    if value is None:
      raise CheckpointError(f"{file.path}: no {kind}.{name} in the metadata")
    if not isinstance(value, int | float):
      raise CheckpointError(
        f"{file.path}: {kind}.{name} = {value!r} is not a number"
      )
    return value

  width, heads = field("embedding_length"), field("attention.head_count")
  head_dim = field("attention.key_length", width // heads)
  _check_metadata(file, kind, head_dim)
  settings = {
    "family": architecture.family,
    "vocab_size": file.tensors["token_embd.weight"].shape[0],
    "hidden_size": width,
    "intermediate_size": field("feed_forward_length"),
    "num_layers": field("block_count"),
    "num_heads": heads,
    "num_kv_heads": field("attention.head_count_kv", heads),
    "head_dim": head_dim,
    "rope": _rope(file, kind, field("rope.freq_base", 10000.0), head_dim),
    # Stored as float32: the decimal that was meant.
    "norm_eps": float(f"{field('attention.layer_norm_rms_epsilon'):.6g}"),
    "tie_embeddings": "output.weight" not in file.tensors,
    "qkv_bias": "blk.0.attn_q.bias" in file.tensors,
    "max_length": field("context_length"),
  }
  implied = dict(architecture.implied)
  for name, key in architecture.fields.items():
    implied[name] = field(key)
  implied |= architecture.layers(settings["num_layers"], width, heads, head_dim)
  return TransformerConfig(**settings | implied)


def _rope(file: gguf_file.Gguf, kind: str, theta: float, head_dim: int) -> Rope:
  """Infers the rotary settings from a file's base and frequency factors.

  GGUF stores the divisors that Llama 3's scaling results in, not its settings.
  The largest divisor, that of the lowest frequency, is the scaling factor; the
  other settings are equal in all Llama 3.x.
  """
  plain = Rope(theta)
  if file.metadata.get(f"{kind}.rope.scaling.type") == "linear":
    factor = file.metadata.get(f"{kind}.rope.scaling.factor")
    if ARCHITECTURES[kind].linear_rope and isinstance(factor, float):
      return Rope(theta, "linear", factor)
  if ROPE_FACTORS not in file.tensors:
    return plain
  factors = file.read(ROPE_FACTORS)
  scaled = Rope(theta, "llama3", float(factors.max()), original_length=8192)
  for rope in (plain, scaled):
    frequency = inverse_frequencies(plain, head_dim)
    wanted = frequency / inverse_frequencies(rope, head_dim)
    if factors.shape == wanted.shape and np.allclose(
      factors, wanted, rtol=1e-5
    ):
      return rope
  raise CheckpointError(
    f"{file.path}: tensor {ROPE_FACTORS!r} does not hold the frequency "
    "factors of Llama 3.x, the only ones supported"
  )


def _check_metadata(file: gguf_file.Gguf, kind: str, head_dim: int) -> None:
  """Refuses metadata that would change the model and are not computed."""
  if "token_embd.weight" not in file.tensors:
    raise CheckpointError(f"{file.path}: tensor 'token_embd.weight' is missing")
  fixed = _NEUTRAL | {
    "rope.dimension_count": head_dim,
    "attention.value_length": head_dim,
  }
  known = _KNOWN | set(ARCHITECTURES[kind].fields.values())
  scaling = file.metadata.get(f"{kind}.rope.scaling.type")
  if ARCHITECTURES[kind].linear_rope and scaling == "linear":
    known |= {"rope.scaling.type", "rope.scaling.factor"}
  for key, value in file.metadata.items():
    name = key.removeprefix(f"{kind}.")
    if name == key or name in known:
      continue
    if name not in fixed or value != fixed[name]:
      raise CheckpointError(f"{file.path}: {key} = {value!r} is not supported")
