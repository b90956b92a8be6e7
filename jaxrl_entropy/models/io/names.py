"""Our parameters' paths and Hugging Face's tensor names."""

import dataclasses
from typing import Any

import jax

from jaxrl_entropy import sharding

_LAYER = "model.layers.{}."
_MODULES = {
  "embed": "model.embed_tokens",
  "final_norm": "model.norm",
  "lm_head": "lm_head",
  "layers/input_norm": _LAYER + "input_layernorm",
  "layers/post_attention_norm": _LAYER + "post_attention_layernorm",
  "layers/attention/q_proj": _LAYER + "self_attn.q_proj",
  "layers/attention/k_proj": _LAYER + "self_attn.k_proj",
  "layers/attention/v_proj": _LAYER + "self_attn.v_proj",
  "layers/attention/o_proj": _LAYER + "self_attn.o_proj",
  "layers/attention/q_norm": _LAYER + "self_attn.q_norm",
  "layers/attention/k_norm": _LAYER + "self_attn.k_norm",
  "layers/mlp/gate_proj": _LAYER + "mlp.gate_proj",
  "layers/mlp/up_proj": _LAYER + "mlp.up_proj",
  "layers/mlp/down_proj": _LAYER + "mlp.down_proj",
}


@dataclasses.dataclass(frozen=True)
class Stored:
  """How one of our leaves is stored in Hugging Face's files.

  Attributes:
    names: the tensor of each layer; one where the leaf is not stacked.
    transposed: stored [out, in], ours is [in, out].
    stacked: ours has a leading axis of layers.
  """

  names: tuple[str, ...]
  transposed: bool
  stacked: bool


def stored(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> Stored:
  """Where the leaf at a key path of jax.tree_util is stored."""
  module, _, kind = sharding.path_name(path).rpartition("/")
  name = _MODULES[module] + (".bias" if kind == "bias" else ".weight")
  stacked = module.startswith("layers/")
  count = leaf.shape[0] if stacked else 1
  names = tuple(name.format(layer) for layer in range(count))
  return Stored(names, kind == "kernel", stacked)
