"""Splash attention: JAX's TPU kernel, which skips blocks no query can see.

Where the mesh splits rows over context, each device keeps its own queries and
gathers the keys and values of the row; their gradients are scattered back.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec as P
from jaxtyping import Array, Float, Int

from jaxrl_entropy import sharding

LANES = 128
BLOCK = 512


def supports(q: jax.Array | jax.ShapeDtypeStruct) -> bool:
  """Returns whether the kernel can compute queries [B, T, H, d] here."""
  return q.shape[1] % (LANES * _context_shards()) == 0


def attend(
  q: Float[Array, "B T H d"],
  k: Float[Array, "B T K d"],
  v: Float[Array, "B T K d"],
  segments: Int[Array, "B T"],
  window: int = 0,
  *,
  softcap: float = 0.0,
  interpret: bool = False,
) -> Float[Array, "B T H d"]:
  """Computes `ops.attention.attend` with the kernel, without shared prefixes.

  Args:
    q: queries; H is a multiple of K.
    k: keys.
    v: values.
    segments: segment of each token; a token sees its own segment alone.
    window: number of tokens a query sees, itself included; 0 means all.
    softcap: c, if not 0: scores become `c tanh(scores / c)`.
    interpret: run the kernel in Pallas's interpreter, on any platform.

  Raises:
    ValueError: if a device's share of a row is not a multiple of 128 tokens.
  """
  if not supports(q):
    raise ValueError(
      f"splash attention needs rows of a multiple of {LANES} tokens on each "
      f"device, not {q.shape[1]} over {_context_shards()}: use attention='xla'"
    )
  length, heads = q.shape[1:3]
  make = functools.partial(
    _kernel, length, window=window, softcap=softcap, interpret=interpret
  )
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return _attend_local(make(heads), q, k, v, segments)
  repeats = _repeats(heads, k.shape[2], mesh.shape["tensor"])
  k, v = (jnp.repeat(x, repeats, axis=2) for x in (k, v))
  spec = sharding.fitting(P(sharding.ROWS, "context", "tensor"), k.shape, mesh)
  shards = mesh.shape["tensor"] if spec[2] else 1
  kernel = make(heads // shards)
  blocks = NamedSharding(mesh, P(None, "context"))
  split = jax.shard_map(
    _attend_local,
    in_specs=(kernel.manual_sharding_spec(blocks), *(spec,) * 3, P(*spec[:2])),
    out_specs=spec,
    check_vma=False,
  )
  return split(kernel, q, k, v, segments)


def _context_shards() -> int:
  """Returns how many devices the mesh splits a row's tokens over."""
  mesh = jax.sharding.get_abstract_mesh()
  return 1 if mesh.empty else mesh.shape["context"]


def _repeats(heads: int, kv_heads: int, shards: int) -> int:
  """Returns the copies of each key head that give every shard its own."""
  repeats = shards // math.gcd(kv_heads, shards)
  return repeats if heads % (kv_heads * repeats) == 0 else 1


def _kernel(
  length: int, heads: int, window: int, softcap: float, interpret: bool
) -> Any:
  """Makes the kernel for one device's heads and all blocks of a row."""
  # Imported late: it takes as long to load as the rest of this package.
  from jax.experimental.pallas.ops.tpu import splash_attention as splash

  shape = (length, length)
  # A window of w tokens reaches w - 1 tokens back and none ahead.
  mask = (
    splash.LocalMask(shape, (window - 1, 0), 0)
    if window
    else splash.CausalMask(shape)
  )
  block = _block_size(length // _context_shards())
  return splash.make_splash_mha(
    splash.MultiHeadMask([mask] * heads),
    head_shards=1,
    q_seq_shards=_context_shards(),
    block_sizes=splash.BlockSizes(
      block_q=block,
      block_kv=block,
      block_q_dkv=block,
      block_kv_dkv=block,
      block_q_dq=block,
      block_kv_dq=block,
    ),
    attn_logits_soft_cap=softcap or None,
    interpret=interpret,
  )


def _attend_local(kernel, q, k, v, segments):
  """Computes one device's heads and its share of the queries."""
  from jax.experimental.pallas.ops.tpu import splash_attention as splash

  key_segments = segments
  if _context_shards() > 1:
    k, v, key_segments = (
      jax.lax.all_gather(x, "context", axis=1, tiled=True)
      for x in (k, v, segments)
    )
  q, k, v = (jnp.swapaxes(x, 1, 2) for x in (q * q.shape[-1] ** -0.5, k, v))
  mixed = jax.vmap(kernel)(q, k, v, splash.SegmentIds(segments, key_segments))
  return jnp.swapaxes(mixed, 1, 2)


def _block_size(length: int) -> int:
  """Returns the largest multiple of LANES up to BLOCK that divides length."""
  return max(b for b in range(LANES, BLOCK + 1, LANES) if length % b == 0)
