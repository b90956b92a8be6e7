"""Responses on the host, and the rows that hold them on the mesh."""

from collections.abc import Mapping, Sequence
from typing import Any

from flax import struct
import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int
import numpy as np

from jaxrl_entropy import distributed, sharding
from jaxrl_entropy.ops.attention import SEGMENTS_PER_PREFIX


class Rows(struct.PyTreeNode):
  """Responses laid out in rows for the model, one mini-batch or a slice of it.

  `M` micro-batches of `R` rows of `L` tokens. `signals` are the constant
  per-token inputs of the objective, named as the fields of `TokenBatch`
  (`advantages`, `old_logp`, `ref_logp`, ...), and, where they are known
  already, all results of the forward pass (`logp`, `entropy`, ...).

  Attributes:
    tokens: prompt and response ids; 0 in padding.
    positions: RoPE position of each token in its own sequence.
    segments: which sequence of the row a token belongs to, from 1; 0: padding.
    mask: True at response tokens.
    response: index of the token's response in the mini-batch.
    index: position of the token in its response.
    signals: [M, R, L] arrays by name.
    routes: experts of each token in each layer, as the sampler chose them; -1
      where they are not known. None: they are not replayed.
    embedding: of each response of the mini-batch, the same for every slice; on
      the host [N, D]. None: nothing reads it.
  """

  tokens: Int[Array, "M R L"]
  positions: Int[Array, "M R L"]
  segments: Int[Array, "M R L"]
  mask: Bool[Array, "M R L"]
  response: Int[Array, "M R L"]
  index: Int[Array, "M R L"]
  signals: dict[str, Float[Array, "M R L"]] = struct.field(default_factory=dict)
  routes: Int[Array, "M R L layers k"] | None = None
  embedding: Float[Array, "M N D"] | None = None


# (row, offset) of each sequence, in the order of the sequences.
Placement = Sequence[tuple[int, int]]


def one_per_row(count: int) -> Placement:
  """Places sequence `i` at the start of row `i`, without packing."""
  return [(i, 0) for i in range(count)]


def fill_rows(
  prompts: Sequence[np.ndarray],
  responses: Sequence[np.ndarray],
  placement: Placement,
  *,
  rows: int,
  length: int,
  starts: Sequence[int] | None = None,
  routes: Sequence[np.ndarray] | None = None,
) -> Rows:
  """Lays prompt + response sequences into `rows` rows of `length` tokens.

  Args:
    prompts: ids, at least one each.
    responses: ids.
    placement: of the prompts.
    rows: how many there are.
    length: tokens of each.
    starts: place in its row of each prompt's last token and the response behind
      it; by default right behind the rest of the prompt. Sequences with one
      placement have the same prompt, and share all but its last token, whose
      successors differ.
    routes: of the tokens of each sequence but the last, [size - 1, layers, k].

  Returns:
    Rows of numpy arrays [rows, length]; response ids follow the given order.

  Raises:
    ValueError: a sequence does not fit at its place.
  """
  before = np.array([len(prompt) for prompt in prompts], int)
  sizes = before + np.array([len(response) for response in responses], int)
  row, start = np.array(placement, int).reshape(-1, 2).T
  shared = before - 1
  suffix = start + shared if starts is None else np.array(starts, int)
  if (row >= rows).any() or (suffix + sizes - shared > length).any():
    raise ValueError(
      f"the placement does not fit into {rows} rows of {length} tokens"
    )
  # One entry a token from here on: its sequence, and its places in that.
  owner = np.repeat(np.arange(len(sizes)), sizes)
  position = np.arange(len(owner)) - (np.cumsum(sizes) - sizes)[owner]
  answer = position >= before[owner]
  fork = position - shared[owner]
  column = np.where(fork < 0, start[owner] + position, suffix[owner] + fork)
  pairs = zip(prompts, responses, strict=True)
  none = np.zeros(0, np.int32)
  tokens = np.concatenate([none, *(ids for pair in pairs for ids in pair)])

  prefix, member = _segments(row, start)

  def lay_routes(routes: Sequence[np.ndarray]) -> Any:
    out = np.full((rows, length, *routes[0].shape[1:]), -1, routes[0].dtype)
    known = position < sizes[owner] - 1
    out[row[owner[known]], column[known]] = np.concatenate(routes)
    return out

  def lay(values: np.ndarray, dtype: type = np.int32) -> Any:
    out: np.ndarray = np.zeros((rows, length), dtype)
    out[row[owner], column] = values
    return out

  return Rows(
    tokens=lay(tokens),
    positions=lay(position),
    segments=lay(prefix[owner] + np.where(fork < 0, 0, member[owner])),
    mask=lay(answer, bool),
    response=lay(np.where(answer, owner, 0)),
    index=lay(np.where(answer, position - before[owner], 0)),
    routes=lay_routes(routes) if routes else None,
  )


def _segments(
  row: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the segment of each prompt, and each sequence's number after it.

  The number is 0 for a sequence that shares its prompt with none.
  """
  _, prefix, sharers = np.unique(
    np.stack([row, start], axis=1),
    axis=0,
    return_inverse=True,
    return_counts=True,
  )
  prefix = prefix.reshape(-1)
  if sharers.max(initial=0) >= SEGMENTS_PER_PREFIX:
    raise ValueError(
      f"{sharers.max()} responses share a prompt in one row; at most "
      f"{SEGMENTS_PER_PREFIX - 1} can"
    )
  order = np.argsort(prefix, kind="stable")
  member = np.empty_like(prefix)
  first = np.cumsum(sharers) - sharers
  member[order] = np.arange(len(prefix)) - first[prefix[order]] + 1
  return (prefix + 1) * SEGMENTS_PER_PREFIX, np.where(
    sharers[prefix] > 1, member, 0
  )


def with_signals(rows: Rows, signals: Mapping[str, np.ndarray]) -> Rows:
  """Returns `rows` with each [responses, tokens] array at its tokens.

  Args:
    rows: on the host, [rows, L].
    signals: arrays by name; their own padding is not read.
  """
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
  """Inverts `with_signals`: per-row values as [responses, length].

  Args:
    values: [rows, L] on the host.
    rows: where each response's tokens are, on the host.
    responses: how many there are.
    length: tokens of the longest.

  Returns:
    An array of the dtype of `values`, 0 behind a response.
  """
  out = np.zeros((responses, length), values.dtype)
  out[rows.response[rows.mask], rows.index[rows.mask]] = values[rows.mask]
  return out


def row_capacity(sequences: int, micro_batches: int, mesh: Mesh) -> int:
  """Returns how many rows hold `sequences` and divide into equal shards.

  Args:
    sequences: rows that are needed, at least.
    micro_batches: slices of the mini-batch.
    mesh: devices over which each slice's rows are spread.
  """
  shards = sharding.row_parts(mesh) * micro_batches
  return -(-sequences // shards) * shards


def put(rows: Rows, micro_batches: int, mesh: Mesh) -> Rows:
  """Moves [rows, L] on the host to [micro_batches, R, L] on the mesh.

  R is spread over `sharding.ROWS`, L over context; every device has all of the
  responses' embeddings.

  Args:
    rows: NumPy arrays; their number of rows is one of `row_capacity`.
    micro_batches: M.
    mesh: devices that train.
  """
  where = NamedSharding(mesh, P(None, sharding.ROWS, "context"))

  def place(x: np.ndarray) -> jax.Array:
    return distributed.put_global(
      x.reshape(micro_batches, -1, *x.shape[1:]), where
    )

  placed = jax.tree.map(place, rows.replace(embedding=None))
  if rows.embedding is None:
    return placed
  embedding = np.broadcast_to(
    rows.embedding, (micro_batches, *rows.embedding.shape)
  )
  return placed.replace(
    embedding=distributed.put_global(embedding, sharding.replicated(mesh))
  )
