"""Packed attention in plain JAX, one block of queries at a time.

A row holds several sequences; each token carries the segment id of its own. The
ids `i * SEGMENTS_PER_PREFIX` (i > 0) are shared prefixes; the ids after one, up
to the next multiple, are its suffixes. A suffix sees its prefix and itself, but
no other suffix, so a prompt is stored once in front of all its responses. Ids
below `SEGMENTS_PER_PREFIX` are sequences without a shared prefix.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxrl_entropy.ops.softcap import soft_cap

BLOCK = 512
"""Queries whose scores are in memory at one time."""

SEGMENTS_PER_PREFIX = 4096
"""Segment ids reserved per shared prefix: its own, and one per suffix."""


def attend(
  q: Float[Array, "B T H d"],
  k: Float[Array, "B T K d"],
  v: Float[Array, "B T K d"],
  segments: Int[Array, "B T"],
  window: int = 0,
  softcap: float = 0.0,
) -> Float[Array, "B T H d"]:
  """Computes `ops.attention.attend` on any platform.

  Each block of queries meets only the keys that it can see. Its scores are
  recomputed in the backward pass instead of kept.

  Args:
    q: queries; H is a multiple of K.
    k: keys.
    v: values.
    segments: segment of each token, see `visible`.
    window: number of tokens a query sees, itself included; 0 means all.
    softcap: c, if not 0: scores become `c tanh(scores / c)`.

  Returns:
    The weighted values, in the dtype of `v`.
  """
  length = q.shape[1]
  if length <= BLOCK or _context_is_split():
    return _attend_block(q, k, v, segments, segments, window, 0, softcap)
  blocks = []
  for start in range(0, length, BLOCK):
    stop = min(start + BLOCK, length)
    low = max(0, start - window + 1) if window else 0
    block = jax.checkpoint(
      functools.partial(
        _attend_block, window=window, first=start - low, softcap=softcap
      )
    )
    keys = slice(low, stop)
    blocks.append(
      block(
        q[:, start:stop],
        k[:, keys],
        v[:, keys],
        segments[:, start:stop],
        segments[:, keys],
      )
    )
  return jnp.concatenate(blocks, axis=1)


def visible(
  queries: Int[Array, "B Q"],
  keys: Int[Array, "B S"],
  window: int,
  first: int = 0,
) -> Bool[Array, "B Q S"]:
  """Computes which keys each query may attend to.

  Args:
    queries: segment ids of the queries.
    keys: segment ids of the keys.
    window: number of tokens a query sees, itself included; 0 means all.
    first: offset in the row of the first query from the first key.

  Returns:
    True where the query comes no earlier than the key, lies within the window,
    and is in the key's segment or in a suffix of it.
  """
  distance = jnp.arange(queries.shape[1])[:, None] + first
  distance = distance - jnp.arange(keys.shape[1])[None, :]
  near = (distance >= 0) & (distance < (window or distance.size + first))
  own_prefix = queries - queries % SEGMENTS_PER_PREFIX
  prefix = jnp.where(queries < SEGMENTS_PER_PREFIX, queries, own_prefix)
  queries, prefix, keys = queries[..., None], prefix[..., None], keys[:, None]
  return near[None] & ((queries == keys) | (prefix == keys))


def _context_is_split() -> bool:
  """Returns whether the mesh already splits each row into blocks."""
  mesh = jax.sharding.get_abstract_mesh()
  return not mesh.empty and mesh.shape["context"] > 1


def _attend_block(
  q, k, v, query_segments, key_segments, window, first, softcap
):
  rows, length, heads, dim = q.shape
  q = q.reshape(rows, length, k.shape[2], -1, dim)
  scores = jnp.einsum(
    "btkgd,bskd->bkgts", q, k, preferred_element_type=jnp.float32
  )
  mask = visible(query_segments, key_segments, window, first)[:, None, None]
  scores = soft_cap(scores * dim**-0.5, softcap)
  scores = jnp.where(mask, scores, jnp.finfo(jnp.float32).min)
  weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
  mixed = jnp.einsum("bkgts,bskd->btkgd", weights, v)
  return mixed.reshape(rows, length, heads, dim)
