"""Responses on the host, and the rows that hold them on the mesh."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import numpy as np

from jaxrl_entropy import sharding
from jaxrl_entropy.training import multihost
from jaxrl_entropy.training.step import Rows

# (row, offset) of each sequence, in the order of the sequences.
Placement = Sequence[tuple[int, int]]


def one_per_row(count: int) -> Placement:
  """Unpacked: sequence `i` at the start of row `i`."""
  return [(i, 0) for i in range(count)]


def fill_rows(
  prompts: Sequence[np.ndarray],
  responses: Sequence[np.ndarray],
  placement: Placement,
  *,
  rows: int,
  length: int,
) -> Rows:
  """Lays prompt + response sequences into `rows` rows of `length` tokens.

  Returns:
    Rows of numpy arrays [rows, length]; response ids follow the given order.
  """
  shape = (rows, length)
  names = ("tokens", "positions", "segments", "response", "index")
  out: dict[str, Any] = {n: np.zeros(shape, np.int32) for n in names}
  mask: Any = np.zeros(shape, bool)
  sequences = zip(prompts, responses, placement, strict=True)
  for i, (prompt, response, (row, start)) in enumerate(sequences):
    middle, end = start + len(prompt), start + len(prompt) + len(response)
    out["tokens"][row, start:middle] = prompt
    out["tokens"][row, middle:end] = response
    out["positions"][row, start:end] = np.arange(end - start)
    out["segments"][row, start:end] = i + 1
    out["response"][row, middle:end] = i
    out["index"][row, middle:end] = np.arange(end - middle)
    mask[row, middle:end] = True
  return Rows(mask=mask, **out)


def with_signals(rows: Rows, signals: Mapping[str, np.ndarray]) -> Rows:
  """`rows` with each [responses, tokens] array spread over its tokens."""
  spread = {
    name: np.where(
      rows.mask, values[rows.response, rows.index], np.float32(0)
    ).astype(np.float32)
    for name, values in signals.items()
  }
  return rows.replace(signals=spread)


def gather(
  values: np.ndarray, rows: Rows, responses: int, length: int
) -> np.ndarray:
  """The inverse of `with_signals`: per-row values as [responses, length]."""
  out = np.zeros((responses, length), values.dtype)
  out[rows.response[rows.mask], rows.index[rows.mask]] = values[rows.mask]
  return out


def row_capacity(sequences: int, micro_batches: int, mesh: Mesh) -> int:
  """Rows that hold `sequences` and divide into equal shards of slices."""
  shards = mesh.shape["data"] * mesh.shape["fsdp"] * micro_batches
  return -(-sequences // shards) * shards


def put(rows: Rows, micro_batches: int, mesh: Mesh) -> Rows:
  """[rows, L] on the host -> [micro_batches, R, L] on the mesh.

  R is spread over data and fsdp, L over context.
  """
  where = NamedSharding(mesh, P(None, sharding.ROWS, "context"))

  def place(x: np.ndarray) -> jax.Array:
    return multihost.place(x.reshape(micro_batches, -1, x.shape[-1]), where)

  return jax.tree.map(place, rows)
