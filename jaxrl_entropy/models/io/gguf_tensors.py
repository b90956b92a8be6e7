"""A GGUF model's tensors by Hugging Face's names."""

from collections import OrderedDict
from collections.abc import Mapping
import threading

import numpy as np

from jaxrl_entropy.models.io import gguf_file
from jaxrl_entropy.models.io.gguf_families import ARCHITECTURES
from jaxrl_entropy.models.io.sources import Index

RECENT_BYTES = 512 << 20
"""Decoded tensors that are kept: every slice of one needs all of it."""

ROPE_FACTORS = "rope_freqs.weight"
"""Divisors of the rotary frequencies; ours are part of the configuration."""


class GgufTensors:
  """A GGUF file's tensors under Hugging Face's names, dequantized.

  llama.cpp interleaves the two halves of each rotated head in Llama's query
  and key projections, adds the one of Gemma's norms to their scales, and stacks
  a layer's experts; all of that is undone here.
  """

  def __init__(self, file: gguf_file.Gguf) -> None:
    self._file = file
    self._kind = file.metadata["general.architecture"]
    self._architecture = ARCHITECTURES[self._kind]
    # A tensor, and the expert that is meant of it.
    self._names: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, info in file.tensors.items():
      if name != ROPE_FACTORS:
        ours = _hf_name(name, self._architecture.modules)
        stacked = info.shape[:1] if "{}" in ours else ()
        for place in np.ndindex(stacked):
          self._names[ours.format(*place)] = name, place
    self._lock = threading.Lock()
    self._recent: OrderedDict[str, np.ndarray] = OrderedDict()

  def names(self) -> frozenset[str]:
    return frozenset(self._names)

  def place(self, name: str) -> str:
    theirs, _ = self._names.get(name, (name, ()))
    return f"{self._file.path}: tensor {theirs!r}"

  def shape(self, name: str) -> tuple[int, ...]:
    theirs, place = self._names[name]
    return self._file.tensors[theirs].shape[len(place) :]

  def read(self, name: str, index: Index) -> np.ndarray:
    theirs, place = self._names[name]
    return self._whole(theirs)[place][index]

  def _whole(self, name: str) -> np.ndarray:
    """Returns a whole tensor: any slice needs all of it to be decoded."""
    with self._lock:
      if name not in self._recent:
        values = self._decode(name)
        held = sum(tensor.nbytes for tensor in self._recent.values())
        while self._recent and held + values.nbytes > RECENT_BYTES:
          held -= self._recent.popitem(last=False)[1].nbytes
        self._recent[name] = values
      return self._recent[name]

  def _decode(self, name: str) -> np.ndarray:
    values = self._file.read(name)
    module = name.split(".")[-2]
    if self._architecture.permuted and module in ("attn_q", "attn_k"):
      return _halves(values, self._heads(module == "attn_q"))
    if self._architecture.norm_offset and module.endswith("norm"):
      return values - 1
    return values

  def _heads(self, of_queries: bool) -> int:
    heads = self._file.metadata[f"{self._kind}.attention.head_count"]
    if of_queries:
      return heads
    return self._file.metadata.get(
      f"{self._kind}.attention.head_count_kv", heads
    )


def _halves(rows: np.ndarray, heads: int) -> np.ndarray:
  """Rows of each head from (pair, half) order to (half, pair) order."""
  pairs = rows.shape[0] // heads // 2
  split = rows.reshape(heads, pairs, 2, *rows.shape[1:])
  return split.swapaxes(1, 2).reshape(rows.shape)


def _hf_name(name: str, modules: Mapping[str, str]) -> str:
  """Returns `model.layers.3.self_attn.q_proj.weight` for `blk.3.attn_q.weight`.

  Names of other tensors are returned as they are.
  """
  module, _, leaf = name.rpartition(".")
  block, _, module = module.rpartition(".")
  if module not in modules:
    return name
  layer = block.replace("blk.", "model.layers.")
  return ".".join(filter(None, (layer, modules[module], leaf)))
