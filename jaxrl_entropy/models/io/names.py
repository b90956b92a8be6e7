"""Our parameters' paths and Hugging Face's tensor names."""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax
import numpy as np

from jaxrl_entropy import sharding
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.io.hf_families import FAMILIES

_LAYER = "model.layers.{}."
_TOP = {
  "embed": "model.embed_tokens",
  "final_norm": "model.norm",
  "lm_head": "lm_head",
}
_LAYERS = {
  "input_norm": "input_layernorm",
  "post_attention_norm": "post_attention_layernorm",
  "attention/q_proj": "self_attn.q_proj",
  "attention/k_proj": "self_attn.k_proj",
  "attention/v_proj": "self_attn.v_proj",
  "attention/o_proj": "self_attn.o_proj",
  "attention/q_norm": "self_attn.q_norm",
  "attention/k_norm": "self_attn.k_norm",
  "mlp/gate_proj": "mlp.gate_proj",
  "mlp/up_proj": "mlp.up_proj",
  "mlp/down_proj": "mlp.down_proj",
  "mlp/router": "mlp.gate",
  "mlp/experts/gate_proj": "mlp.experts.{}.gate_proj",
  "mlp/experts/up_proj": "mlp.experts.{}.up_proj",
  "mlp/experts/down_proj": "mlp.experts.{}.down_proj",
}


@dataclasses.dataclass(frozen=True)
class Stored:
  """How one of our leaves is stored in Hugging Face's files.

  Attributes:
    names: the tensors, by their index in the leaf's leading axes: (), (layer,)
      or (layer, expert).
    transposed: stored [out, in], ours is [in, out].
    start: the first row of the stored tensor that belongs to the leaf.
    rows: of the stored tensor; None: those of the leaf.
  """

  names: Mapping[tuple[int, ...], str]
  transposed: bool
  start: int = 0
  rows: int | None = None


def stored(
  path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct, config: TransformerConfig
) -> Stored:
  """Returns where the leaf at a key path of jax.tree_util is stored.

  Args:
    path: keys from the root of the parameters to the leaf.
    leaf: its shape, with the axes of layers and of experts in front.
    config: the model, whose family names the tensors.
  """
  module, _, kind = sharding.path_name(path).rpartition("/")
  suffix = ".bias" if kind == "bias" else ".weight"
  if module in _TOP:
    return Stored({(): _TOP[module] + suffix}, kind == "kernel")
  family = FAMILIES[config.family]
  inner = module.removeprefix("layers/")
  name = (_LAYERS | dict(family.modules))[inner]
  start, rows = 0, None
  for fused, members in family.fused.items():
    if inner in members:
      widths = [_width(member, config) for member in members]
      start, rows = sum(widths[: members.index(inner)]), sum(widths)
      name = fused
  names = {
    (layer, *expert): _LAYER.format(layer) + name.format(*expert) + suffix
    for layer, *expert in np.ndindex(leaf.shape[: 2 if "{}" in name else 1])
  }
  return Stored(names, kind == "kernel", start, rows)


def _width(module: str, config: TransformerConfig) -> int:
  """Returns the outputs of a projection that is stored with others."""
  heads = {
    "attention/q_proj": config.num_heads,
    "attention/k_proj": config.num_kv_heads,
    "attention/v_proj": config.num_kv_heads,
  }
  if module in heads:
    return heads[module] * config.head_dim
  return config.intermediate_size
