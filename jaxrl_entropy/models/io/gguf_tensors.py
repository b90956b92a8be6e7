"""A GGUF model: its configuration, and its tensors by Hugging Face's names."""

from collections.abc import Mapping
import functools
from typing import Any

import numpy as np

from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.io import gguf_file
from jaxrl_entropy.models.io.sources import CheckpointError, Index
from jaxrl_entropy.models.rope import Rope, inverse_frequencies

_MODULES = {
  "token_embd": "model.embed_tokens",
  "output_norm": "model.norm",
  "output": "lm_head",
  "attn_norm": "input_layernorm",
  "ffn_norm": "post_attention_layernorm",
  "attn_q": "self_attn.q_proj",
  "attn_k": "self_attn.k_proj",
  "attn_v": "self_attn.v_proj",
  "attn_output": "self_attn.o_proj",
  "attn_q_norm": "self_attn.q_norm",
  "attn_k_norm": "self_attn.k_norm",
  "ffn_gate": "mlp.gate_proj",
  "ffn_up": "mlp.up_proj",
  "ffn_down": "mlp.down_proj",
}
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
  "rope.scale_linear": 1.0,
  "rope.scaling.factor": 1.0,
  "rope.scaling.type": "none",
}
# Divisors of the rotary frequencies; ours are part of the configuration.
_ROPE_FACTORS = "rope_freqs.weight"


class GgufTensors:
  """A GGUF file's tensors under Hugging Face's names, dequantized.

  llama.cpp interleaves the two halves of each rotated head in Llama's query
  and key projections; they are put back in order here.
  """

  def __init__(self, file: gguf_file.Gguf):
    self._file = file
    self._names = {
      _hf_name(name): name for name in file.tensors if name != _ROPE_FACTORS
    }
    self._permuted = file.metadata["general.architecture"] == "llama"

  def names(self) -> frozenset[str]:
    return frozenset(self._names)

  def place(self, name: str) -> str:
    return f"{self._file.path}: tensor {self._names.get(name, name)!r}"

  def shape(self, name: str) -> tuple[int, ...]:
    return self._file.tensors[self._names[name]].shape

  def read(self, name: str, index: Index) -> np.ndarray:
    return self._whole(name)[index]

  @functools.lru_cache(maxsize=1)  # noqa: B019  (each slice decodes all of it)
  def _whole(self, name: str) -> np.ndarray:
    values = self._file.read(self._names[name])
    if self._permuted and ("q_proj" in name or "k_proj" in name):
      values = _halves(values, self._heads("q_proj" in name))
    return values

  def _heads(self, of_queries: bool) -> int:
    heads = self._file.metadata["llama.attention.head_count"]
    if of_queries:
      return heads
    return self._file.metadata.get("llama.attention.head_count_kv", heads)


def _halves(rows: np.ndarray, heads: int) -> np.ndarray:
  """Rows of each head from (pair, half) order to (half, pair) order."""
  pairs = rows.shape[0] // heads // 2
  split = rows.reshape(heads, pairs, 2, *rows.shape[1:])
  return split.swapaxes(1, 2).reshape(rows.shape)


def _hf_name(name: str) -> str:
  """Returns `model.layers.3.self_attn.q_proj.weight` for `blk.3.attn_q.weight`.

  Names of other tensors are returned as they are.
  """
  module, _, leaf = name.rpartition(".")
  block, _, module = module.rpartition(".")
  if module not in _MODULES:
    return name
  layer = block.replace("blk.", "model.layers.")
  return ".".join(filter(None, (layer, _MODULES[module], leaf)))


def gguf_config(file: gguf_file.Gguf) -> TransformerConfig:
  """Returns the configuration that a GGUF file's metadata describe.

  Raises:
    CheckpointError: if the architecture or a scaling is not supported.
  """
  metadata: Mapping[str, Any] = file.metadata
  kind = metadata.get("general.architecture")
  if kind not in ("llama", "qwen2", "qwen3"):
    raise CheckpointError(f"{file.path}: architecture {kind!r} not supported")

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
  return TransformerConfig(
    family=kind,
    vocab_size=file.tensors["token_embd.weight"].shape[0],
    hidden_size=width,
    intermediate_size=field("feed_forward_length"),
    num_layers=field("block_count"),
    num_heads=heads,
    num_kv_heads=field("attention.head_count_kv", heads),
    head_dim=head_dim,
    rope=_rope(file, field("rope.freq_base", 10000.0), head_dim),
    # Stored as float32: the decimal that was meant.
    norm_eps=float(f"{field('attention.layer_norm_rms_epsilon'):.6g}"),
    tie_embeddings="output.weight" not in file.tensors,
    qkv_bias="blk.0.attn_q.bias" in file.tensors,
    qk_norm="head" if kind == "qwen3" else "none",
    max_length=field("context_length"),
  )


def _rope(file: gguf_file.Gguf, theta: float, head_dim: int) -> Rope:
  """Infers the rotary settings from a file's base and frequency factors.

  GGUF stores the divisors that Llama 3's scaling results in, not its settings.
  The largest divisor, that of the lowest frequency, is the scaling factor; the
  other settings are equal in all Llama 3.x.
  """
  plain = Rope(theta)
  if _ROPE_FACTORS not in file.tensors:
    return plain
  factors = file.read(_ROPE_FACTORS)
  scaled = Rope(theta, "llama3", float(factors.max()), original_length=8192)
  for rope in (plain, scaled):
    frequency = inverse_frequencies(plain, head_dim)
    wanted = frequency / inverse_frequencies(rope, head_dim)
    if factors.shape == wanted.shape and np.allclose(
      factors, wanted, rtol=1e-5
    ):
      return rope
  raise CheckpointError(
    f"{file.path}: tensor {_ROPE_FACTORS!r} does not hold the frequency "
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
  for key, value in file.metadata.items():
    name = key.removeprefix(f"{kind}.")
    if name == key or name in _KNOWN:
      continue
    if name not in fixed or value != fixed[name]:
      raise CheckpointError(f"{file.path}: {key} = {value!r} is not supported")
