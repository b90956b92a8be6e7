"""Exact selection of the k smallest tokens of a sharded array.

A radix select finds the k-th smallest key digit by digit. Each round counts the
keys that still match, by their next digit, in a small table; the tables of the
devices are added, and no token's key leaves its device.
"""

from typing import Any, NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, UInt32

from jaxrl_entropy import sharding

# Scatter-adds into large tables are cheap on CPU and GPU; on TPU, comparing
# with each of a few bins is.
_SCATTER_DIGITS = (11, 11, 10)
_COMPARE_DIGITS = (4,) * 8


def ascending_bits(x: Float[Array, "*s"]) -> UInt32[Array, "*s"]:
  """Keys in the order of float32 numbers: -0 equal to 0, NaN after inf."""
  # Not x + 0, which the compiler takes for x, -0 included.
  x = jnp.where(x == 0, 0.0, x)
  bits = lax.bitcast_convert_type(x, jnp.uint32)
  negative = bits >> 31 == 1
  keys = bits ^ jnp.where(negative, jnp.uint32(2**32 - 1), jnp.uint32(2**31))
  return jnp.where(jnp.isnan(x), jnp.uint32(2**32 - 1), keys)


def from_ascending_bits(
  keys: UInt32[Array, "*s"],
) -> Float[Array, "*s"]:
  """Inverts `ascending_bits`."""
  positive = keys >> 31 == 1
  bits = keys ^ jnp.where(positive, jnp.uint32(2**31), jnp.uint32(2**32 - 1))
  return lax.bitcast_convert_type(bits, jnp.float32)


def mix(
  key: Key[Array, ""], counter: UInt32[Array, "*s"]
) -> UInt32[Array, "*s"]:
  """Returns a random 32-bit number per counter, distinct for distinct ones.

  Two rounds of an avalanching bijection (C. Wellons, "lowbias32"), keyed by two
  words of `key`: about forty times cheaper than one `fold_in` a token.

  Args:
    key: decides which number a counter gets; two keys give unrelated ones.
    counter: numbers of any shape, such as the place of each token in the batch.
  """
  x = counter
  for word in jax.random.bits(key, (2,), jnp.uint32):
    x = x ^ word
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    x = x ^ (x >> 16)
  return x


def _histogram(
  digits: UInt32[Array, "*s"], active: Bool[Array, "*s"], bins: int
) -> UInt32[Array, " bins"]:
  if bins <= 16:
    hits = [active & (digits == d) for d in range(bins)]
    return jnp.stack([jnp.sum(hit, dtype=jnp.uint32) for hit in hits])
  table = jnp.zeros(bins, jnp.uint32)
  return table.at[jnp.where(active, digits, bins)].add(1, mode="drop")


def _digits() -> tuple[int, ...]:
  on_tpu = sharding.platform() == "tpu"
  return _COMPARE_DIGITS if on_tpu else _SCATTER_DIGITS


class _Threshold(NamedTuple):
  """The key of some rank.

  Attributes:
    key: itself.
    rank: 1-based, among the keys equal to it.
    equals: how many those are.
  """

  key: UInt32[Array, ""]
  rank: UInt32[Array, ""]
  equals: UInt32[Array, ""]


def _search(
  keys: UInt32[Array, "*s"],
  active: Bool[Array, "*s"],
  rank: UInt32[Array, ""],
) -> _Threshold:
  """Returns the active key of 1-based `rank`, or of the last rank there is.

  The key is meaningless for rank 0, or where nothing is active.
  """
  # Each round reads the keys again: let them be computed once.
  keys, active = lax.optimization_barrier((keys, active))
  prefix = equals = jnp.uint32(0)
  shift = 32
  for width in _digits():
    shift -= width
    bins = 1 << width
    digit = (keys >> shift) & (bins - 1)
    histogram = _histogram(digit, active, bins)
    up_to = jnp.cumsum(histogram)
    rank = jnp.minimum(rank, up_to[-1])
    chosen = jnp.sum(up_to < rank, dtype=jnp.uint32)
    equals = histogram[chosen]
    rank = rank - (up_to[chosen] - equals)
    prefix = prefix | (chosen << shift)
    active = active & (digit == chosen)
  return _Threshold(prefix, rank, equals)


# Compiled as a whole, for where they are called outside of a compiled step.
@jax.jit
def kth_smallest(
  keys: UInt32[Array, "*s"],
  candidates: Bool[Array, "*s"],
  rank: UInt32[Array, ""],
) -> UInt32[Array, ""]:
  """Returns the candidate key of 1-based `rank`, or the last one.

  Meaningless for rank 0, or without candidates.

  Args:
    keys: what is ranked.
    candidates: True at keys that take part.
    rank: wanted rank, from 1.
  """
  return _search(keys, candidates, rank).key


@jax.jit
def smallest(
  keys: UInt32[Array, "*s"],
  identity: UInt32[Array, "*s"],
  candidates: Bool[Array, "*s"],
  count: UInt32[Array, ""],
) -> Bool[Array, "*s"]:
  """Selects the `count` first candidates in order of (key, identity).

  All candidates where there are no more than `count`. The set depends on the
  values alone, not on their order, padding or sharding.

  Args:
    keys: what is ranked.
    identity: breaks ties; distinct among candidates.
    candidates: True at tokens that take part.
    count: how many to select; 0 selects none.
  """
  threshold = _search(keys, candidates, count)
  all_ties = threshold.rank == threshold.equals
  last = lax.cond(
    all_ties, _greatest, _last_tie, threshold, keys, identity, candidates
  )
  tied = (keys == threshold.key) & (identity <= last)
  return candidates & ((keys < threshold.key) | tied) & (count > 0)


def _greatest(*unused: Any) -> UInt32[Array, ""]:
  del unused
  return jnp.uint32(2**32 - 1)


def _last_tie(
  threshold: _Threshold,
  keys: UInt32[Array, "*s"],
  identity: UInt32[Array, "*s"],
  candidates: Bool[Array, "*s"],
) -> UInt32[Array, ""]:
  """Returns the identity of the last tie that is selected."""
  return _search(
    identity, candidates & (keys == threshold.key), threshold.rank
  ).key
