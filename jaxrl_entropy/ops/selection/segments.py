"""Exact selection of the k smallest tokens of each segment of a sharded array.

The radix select of `radix`, with one histogram per segment: a table of
[segments, 256] counts crosses devices in each of four rounds.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt32

_DIGIT = 8
_BINS = 1 << _DIGIT


class _Keys(NamedTuple):
  """The key of some rank in each segment.

  Attributes:
    key: the key itself; meaningless where the rank is 0.
    rank: 1-based rank among the keys equal to it.
  """

  key: UInt32[Array, " S"]
  rank: UInt32[Array, " S"]


def _search(
  keys: UInt32[Array, "*s"],
  active: Bool[Array, "*s"],
  segments: Int[Array, "*s"],
  rank: UInt32[Array, " S"],
) -> _Keys:
  """Finds the active key of 1-based `rank`, or the last one, per segment."""
  keys, active = jax.lax.optimization_barrier((keys, active))
  prefix = jnp.zeros_like(rank)
  for shift in range(32 - _DIGIT, -1, -_DIGIT):
    digit = (keys >> shift) & (_BINS - 1)
    up_to = jnp.cumsum(_histogram(digit, active, segments, rank.size), axis=1)
    rank = jnp.minimum(rank, up_to[:, -1])
    chosen = jnp.sum(up_to < rank[:, None], axis=1, dtype=jnp.uint32)
    before = jnp.where(up_to < rank[:, None], up_to, 0).max(axis=1)
    rank = rank - before
    prefix = prefix | (chosen << shift)
    active = active & (digit == chosen[segments])
  return _Keys(prefix, rank)


def _histogram(
  digit: UInt32[Array, "*s"],
  active: Bool[Array, "*s"],
  segments: Int[Array, "*s"],
  count: int,
) -> UInt32[Array, "S bins"]:
  place = segments.astype(jnp.uint32) * _BINS + digit
  table = jnp.zeros(count * _BINS, jnp.uint32)
  place = jnp.where(active, place, count * _BINS)
  return table.at[place].add(1, mode="drop").reshape(count, _BINS)


def count(
  mask: Bool[Array, "*s"], segments: Int[Array, "*s"], num_segments: int
) -> UInt32[Array, " S"]:
  """Returns the number of tokens of `mask` in each segment.

  Args:
    mask: True at tokens to count.
    segments: segment of each token, in [0, S) where `mask` holds.
    num_segments: S, static.
  """
  table = jnp.zeros(num_segments, jnp.uint32)
  place = jnp.where(mask, segments, num_segments)
  return table.at[place].add(1, mode="drop")


@jax.jit
def kth_smallest(
  keys: UInt32[Array, "*s"],
  candidates: Bool[Array, "*s"],
  segments: Int[Array, "*s"],
  rank: UInt32[Array, " S"],
) -> UInt32[Array, " S"]:
  """Returns the key that comes `rank`-th (from 1) in each segment, or the last.

  Args:
    keys: what is ranked.
    candidates: tokens that take part.
    segments: segment of each token, in [0, S) at candidates.
    rank: wanted rank per segment; the result is meaningless where it is 0.
  """
  segments = jnp.clip(segments, 0, rank.size - 1)
  return _search(keys, candidates, segments, rank).key


@jax.jit
def smallest(
  keys: UInt32[Array, "*s"],
  identity: UInt32[Array, "*s"],
  candidates: Bool[Array, "*s"],
  segments: Int[Array, "*s"],
  counts: UInt32[Array, " S"],
) -> Bool[Array, "*s"]:
  """Returns the candidates that come first by (key, identity), per segment.

  All candidates of a segment where there are no more than its count. The set
  depends on the values alone, not on their order, padding or sharding.

  Args:
    keys: what is ranked.
    identity: breaks ties; distinct within a segment.
    candidates: tokens that take part.
    segments: segment of each token, in [0, S) at candidates.
    counts: how many to pick per segment.
  """
  segments = jnp.clip(segments, 0, counts.size - 1)
  cut = _search(keys, candidates, segments, counts)
  equal = candidates & (keys == cut.key[segments])
  last = _search(identity, equal, segments, cut.rank).key
  first = candidates & (keys < cut.key[segments])
  return (first | (equal & (identity <= last[segments]))) & (
    counts[segments] > 0
  )
