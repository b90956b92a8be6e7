"""Causal grouped-query attention over packed rows, one function.

A row holds several sequences, told apart by the segment of each token. Segment
`i * BRANCHES` may be a trunk, which the segments up to `i * BRANCHES + BRANCHES
- 1` continue: these branches see the trunk before them and not each other. So a
prompt stands once in front of all its responses. Other segments stand alone.

Back-ends: "xla" anywhere, a block of queries at a time; "cudnn" on NVIDIA GPUs
in half precision; "splash" on TPUs. "auto" takes the kernel of the platform
where it can compute the call, else "xla".
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxrl_entropy import sharding
from jaxrl_entropy.ops import splash

BACKENDS = ("auto", "xla", "cudnn", "splash")
BLOCK = 512
"""Queries whose scores exist at one time in the XLA back-end."""

BRANCHES = 4096
"""Segments of a trunk, its own included."""


def attend(
  q: Float[Array, "B T H d"],
  k: Float[Array, "B T K d"],
  v: Float[Array, "B T K d"],
  segments: Int[Array, "B T"],
  window: int = 0,
  backend: str = "auto",
) -> Float[Array, "B T H d"]:
  """Each token attends to the tokens of its segment and trunk up to itself.

  Scores are scaled by 1 / sqrt(d); their softmax is in float32.

  Args:
    q: queries; H is a multiple of K.
    k: keys.
    v: values.
    segments: sequence of each token; a token sees only those of its own, and
      of its trunk. "splash" knows of no trunks.
    window: tokens of the row it sees, itself included; 0: all.
    backend: one of `BACKENDS`.

  Raises:
    ValueError: for an unknown back-end, or a shape that it cannot compute.
  """
  if backend not in BACKENDS:
    raise ValueError(
      f"attention {backend!r} is unknown; one of {', '.join(BACKENDS)}"
    )
  q = sharding.constrain(q, sharding.ROWS, "context", "tensor", None)
  chosen = _automatic(q) if backend == "auto" else backend
  if chosen == "splash":
    return splash.attend(q, k, v, segments, window)
  # Every token may be asked for by a query on another part of the row.
  k, v = (
    sharding.constrain(x, sharding.ROWS, None, "tensor", None) for x in (k, v)
  )
  if chosen == "cudnn":
    return _cudnn(q, k, v, segments, window)
  return _xla(q, k, v, segments, window)


def visible(
  queries: Int[Array, "B Q"],
  keys: Int[Array, "B S"],
  window: int,
  first: int = 0,
) -> Bool[Array, "B Q S"]:
  """May the query at place `first + i` of its row see the key at place `j`?

  Args:
    queries: segments of the queries.
    keys: segments of the keys.
    window: places that a query sees, its own included; 0: all.
    first: place of the first query, counted from that of the first key.
  """
  back = jnp.arange(queries.shape[1])[:, None] + first
  back = back - jnp.arange(keys.shape[1])[None, :]
  near = (back >= 0) & (back < (window or back.size + first))
  trunks = jnp.where(queries < BRANCHES, queries, queries - queries % BRANCHES)
  queries, trunks, keys = queries[..., None], trunks[..., None], keys[:, None]
  return near[None] & ((queries == keys) | (trunks == keys))


def _automatic(q: jax.Array) -> str:
  platform = sharding.platform()
  if platform == "gpu" and q.dtype in (jnp.bfloat16, jnp.float16):
    return "cudnn" if q.shape[-1] % 8 == 0 and q.shape[-1] <= 128 else "xla"
  return "splash" if platform == "tpu" and splash.supports(q) else "xla"


def _cudnn(q, k, v, segments, window):
  return jax.nn.dot_product_attention(
    q,
    k,
    v,
    mask=visible(segments, segments, window)[:, None],
    is_causal=True,
    implementation="cudnn",
  )


def _xla(q, k, v, segments, window):
  """Blocks of queries, each against the keys that it can see at all."""
  length = q.shape[1]
  if length <= BLOCK or _splits_rows():
    return _block(q, k, v, segments, segments, window, 0)
  blocks = []
  for start in range(0, length, BLOCK):
    stop = min(start + BLOCK, length)
    low = max(0, start - window + 1) if window else 0
    # The backward pass recomputes a block's scores rather than keep them all.
    block = jax.checkpoint(
      functools.partial(_block, window=window, first=start - low)
    )
    seen = slice(low, stop)
    blocks.append(
      block(
        q[:, start:stop],
        k[:, seen],
        v[:, seen],
        segments[:, start:stop],
        segments[:, seen],
      )
    )
  return jnp.concatenate(blocks, axis=1)


def _splits_rows() -> bool:
  """Whether the mesh splits a row's tokens; its blocks are the parts then."""
  mesh = jax.sharding.get_abstract_mesh()
  return not mesh.empty and mesh.shape["context"] > 1


def _block(q, k, v, query_segments, key_segments, window, first):
  rows, length, heads, dim = q.shape
  q = q.reshape(rows, length, k.shape[2], -1, dim)
  scores = jnp.einsum(
    "btkgd,bskd->bkgts", q, k, preferred_element_type=jnp.float32
  )
  mask = visible(query_segments, key_segments, window, first)[:, None, None]
  scores = jnp.where(mask, scores * dim**-0.5, jnp.finfo(jnp.float32).min)
  weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
  mixed = jnp.einsum("bkgts,bskd->btkgd", weights, v)
  return mixed.reshape(rows, length, heads, dim)
