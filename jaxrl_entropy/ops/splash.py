"""Splash attention: JAX's TPU kernel that skips blocks no query can see."""

import functools
import math

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int

from jaxrl_entropy import sharding

LANES = 128
BLOCK = 512


def supports(q: Float[Array, "B T H d"]) -> bool:
  """Whether the kernel can compute queries of this shape on this mesh."""
  mesh = jax.sharding.get_abstract_mesh()
  whole_rows = mesh.empty or mesh.shape["context"] == 1
  return q.shape[1] % LANES == 0 and whole_rows


def attend(
  q: Float[Array, "B T H d"],
  k: Float[Array, "B T K d"],
  v: Float[Array, "B T K d"],
  segments: Int[Array, "B T"],
  window: int = 0,
  *,
  interpret: bool = False,
) -> Float[Array, "B T H d"]:
  """As `ops.attention.attend`; `interpret` runs the kernel on any platform.

  Raises:
    ValueError: if a row is not a multiple of 128 tokens, or the mesh splits it.
  """
  if not supports(q):
    raise ValueError(
      f"splash attention needs rows of a multiple of {LANES} tokens on one "
      f"device each, not {q.shape[1]} split over context: use attention='xla'"
    )
  local = functools.partial(_local, window=window, interpret=interpret)
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return local(q, k, v, segments)
  repeats = _repeats(q.shape[2], k.shape[2], mesh.shape["tensor"])
  k, v = (jnp.repeat(x, repeats, axis=2) for x in (k, v))
  heads = P(sharding.ROWS, None, "tensor")
  spec = sharding.fitting(heads, k.shape, mesh)
  rows = P(spec[0])
  split = jax.shard_map(
    local, in_specs=(spec, spec, spec, rows), out_specs=spec, check_vma=False
  )
  return split(q, k, v, segments)


def _repeats(heads: int, kv_heads: int, shards: int) -> int:
  """Copies of each key head, so that every shard of queries has its own."""
  repeats = shards // math.gcd(kv_heads, shards)
  return repeats if heads % (kv_heads * repeats) == 0 else 1


def _local(q, k, v, segments, window, interpret):
  # Imported late: it takes as long to load as all of this package.
  from jax.experimental.pallas.ops.tpu import splash_attention as splash

  length, heads, dim = q.shape[1:]
  shape = (length, length)
  # A window of w tokens reaches w - 1 places back and none ahead.
  mask = (
    splash.LocalMask(shape, (window - 1, 0), 0)
    if window
    else splash.CausalMask(shape)
  )
  block = _block(length)
  kernel = splash.make_splash_mha(
    splash.MultiHeadMask([mask] * heads),
    head_shards=1,
    q_seq_shards=1,
    block_sizes=splash.BlockSizes(
      block_q=block,
      block_kv=block,
      block_q_dkv=block,
      block_kv_dkv=block,
      block_q_dq=block,
      block_kv_dq=block,
    ),
    interpret=interpret,
  )
  q, k, v = (jnp.swapaxes(x, 1, 2) for x in (q * dim**-0.5, k, v))
  mixed = jax.vmap(kernel)(q, k, v, splash.SegmentIds(segments, segments))
  return jnp.swapaxes(mixed, 1, 2)


def _block(length: int) -> int:
  """The largest multiple of the lanes up to BLOCK that divides the length."""
  return max(b for b in range(LANES, BLOCK + 1, LANES) if length % b == 0)
