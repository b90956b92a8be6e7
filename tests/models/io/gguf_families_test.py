"""Files as llama.cpp's converter writes them, of models that we export."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.models import config as config_lib, transformer
from jaxrl_entropy.models.io import checkpoints, export
from jaxrl_entropy.models.io.sources import CheckpointError
from jaxrl_entropy.models.rope import Rope

writer = pytest.importorskip("gguf")

SMALL = config_lib.preset(
  "tiny",
  hidden_size=24,
  intermediate_size=36,
  num_layers=2,
  num_heads=6,
  num_kv_heads=2,
  head_dim=8,
  vocab_size=40,
)
GEMMA = {
  "activation": "gelu_pytorch_tanh",
  "norm_offset": True,
  "output_norms": True,
  "scaled_embedding": True,
  "sliding_window": 5,
}
# Settings of our decoder, and GGUF's metadata beyond the common ones.
CASES = {
  "qwen3moe": (
    {
      "family": "qwen3_moe",
      "qk_norm": "head",
      "num_experts": 4,
      "num_experts_per_tok": 2,
      "moe_intermediate_size": 12,
      "norm_topk_prob": True,
      "tie_embeddings": False,
    },
    {
      "expert_count": 4,
      "expert_used_count": 2,
      "expert_feed_forward_length": 12,
    },
  ),
  "gemma2": (
    {
      "family": "gemma2",
      **GEMMA,
      "sliding_layers": (True, False),
      "attention_softcap": 50.0,
      "logits_softcap": 30.0,
    },
    {
      "attention.sliding_window": 5,
      "attn_logit_softcapping": 50.0,
      "final_logit_softcapping": 30.0,
    },
  ),
  "gemma3": (
    {
      "family": "gemma3_text",
      **GEMMA,
      "num_layers": 6,
      "qk_norm": "head",
      "sliding_layers": (True,) * 5 + (False,),
      "rope": Rope(1e6, "linear", 8.0),
      "second_rope": Rope(10000.0),
      "second_rope_layers": (True,) * 5 + (False,),
    },
    {
      "attention.sliding_window": 5,
      "rope.scaling.type": "linear",
      "rope.scaling.factor": 8.0,
    },
  ),
  "olmo2": (
    {
      "family": "olmo2",
      "input_norms": False,
      "output_norms": True,
      "qk_norm": "width",
      "num_kv_heads": 6,
      "head_dim": 4,
    },
    {},
  ),
  "smollm3": (
    {
      "family": "smollm3",
      "num_layers": 4,
      "second_rope": Rope(kind="none"),
      "second_rope_layers": (False, False, False, True),
    },
    {},
  ),
}
PERMUTED = ("smollm3",)


def exported(tmp_path, kind):
  """A Hugging Face folder of random weights, and its configuration."""
  config = dataclasses.replace(SMALL, **CASES[kind][0])
  shapes = jax.eval_shape(
    functools.partial(transformer.init, config), jax.random.key(0)
  )
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), shapes
  )
  export.save(tmp_path / "hf", config, params)
  return tmp_path / "hf"


def interleaved(rows, heads):
  split = rows.reshape(heads, 2, -1, rows.shape[-1])
  return split.swapaxes(1, 2).reshape(rows.shape)


def converted(values, name, config, kind):
  """A tensor as the converter stores it."""
  if kind in PERMUTED and name.endswith(("q_proj.weight", "k_proj.weight")):
    queries = name.endswith("q_proj.weight")
    values = interleaved(
      values, config.num_heads if queries else config.num_kv_heads
    )
  if kind.startswith("gemma") and name.endswith("norm.weight"):
    values = values + 1
  return values


def merge_experts(tensors):
  """Stacks each layer's experts, as the converter does."""
  merged, stacks = {}, {}
  for name, values in tensors.items():
    before, _, rest = name.partition(".experts.")
    if rest:
      expert, _, module = rest.partition(".")
      stack = stacks.setdefault(f"{before}.experts.{module}", {})
      stack[int(expert)] = values
    else:
      merged[name] = values
  for name, stack in stacks.items():
    merged[name] = np.stack([stack[i] for i in range(len(stack))])
  return merged


def write(folder, path, kind, **changes):
  """Writes the folder's model as a GGUF file, named by the gguf package."""
  config = checkpoints.read_config(folder)
  source = checkpoints.SafetensorsFolder(folder)
  everything = {
    name: source.read(name, (slice(None),) * len(source.shape(name)))
    for name in source.names()
  }
  file = writer.GGUFWriter(path, kind)
  metadata = {
    "block_count": config.num_layers,
    "context_length": config.max_length,
    "embedding_length": config.hidden_size,
    "feed_forward_length": config.intermediate_size,
    "attention.head_count": config.num_heads,
    "attention.head_count_kv": config.num_kv_heads,
    "attention.key_length": config.head_dim,
    "attention.value_length": config.head_dim,
    "attention.layer_norm_rms_epsilon": config.norm_eps,
    "rope.freq_base": float(config.rope.theta),
    **CASES[kind][1],
    **changes,
  }
  adders = {str: file.add_string, float: file.add_float32, int: file.add_uint32}
  for key, value in metadata.items():
    adders[type(value)](f"{kind}.{key}", value)
  architecture = next(
    arch for arch, name in writer.MODEL_ARCH_NAMES.items() if name == kind
  )
  names = writer.get_tensor_name_map(architecture, config.num_layers)
  for name, values in merge_experts(everything).items():
    theirs = names.get_name(name, try_suffixes=(".weight",))
    assert theirs, name
    file.add_tensor(theirs, converted(values, name, config, kind))
  file.write_header_to_file()
  file.write_kv_data_to_file()
  file.write_tensors_to_file()
  file.close()
  return path


@pytest.mark.parametrize("kind", CASES)
def test_a_file_gives_the_model_that_was_converted(tmp_path, kind):
  folder = exported(tmp_path, kind)
  theirs, want = checkpoints.load(folder)
  config, params = checkpoints.load(write(folder, tmp_path / "m.gguf", kind))
  assert config == theirs
  # One is added to the norms of Gemma and taken off again, in float32.
  atol = 5e-7 if kind.startswith("gemma") else 0
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=atol),
    params,
    want,
  )


@pytest.mark.parametrize(
  ("kind", "changes"),
  [
    ("olmo2", {"attention.sliding_window": 5}),
    ("qwen3moe", {"expert_shared_count": 1}),
    ("gemma3", {"rope.scaling.type": "yarn"}),
  ],
)
def test_other_settings_are_refused(tmp_path, kind, changes):
  path = write(exported(tmp_path, kind), tmp_path / "m.gguf", kind, **changes)
  (key,) = changes
  with pytest.raises(CheckpointError, match=key):
    checkpoints.load(path)
