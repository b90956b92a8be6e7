"""Attention of rows split over devices: gathered keys against a ring.

    python -m benchmarks.context --full --json context.json

The attention of one layer of Qwen2.5-7B and its gradient, rows of 10,240
tokens split over context, compiled for a v5p-64 without one (pip install
libtpu). Ours gathers a row's keys and values and runs the kernel that skips
what no query sees. The peers: the same gathered without the kernel, and a ring,
whose devices hand keys and values on and keep a running softmax. The ring is
plain JAX: the kernel gives no gradient of the normalizer that a ring needs.
`--quick` compiles for a row in 2 parts alone, `--full` in 4 too.
"""

from collections.abc import Callable, Mapping
import functools
import os
from typing import Any

from benchmarks import common
from benchmarks.common import Result
from jaxrl_entropy.planning import compiling, hlo, topology

SLICE, LENGTH, BLOCK = "v5p-64", 10240, 512
HEADS, KV_HEADS, DIM = 28, 4, 128
TENSOR = 2


def ring(q: Any, k: Any, v: Any, segments: Any) -> Any:
  """Computes `ops.attention.attend` with keys passed around a row's devices."""
  import jax
  from jax.sharding import PartitionSpec as P

  from jaxrl_entropy import sharding

  rows = P(sharding.ROWS, "context")
  heads = P(*rows, "tensor")
  return jax.shard_map(
    _ring, in_specs=(heads,) * 3 + (rows,), out_specs=heads, check_vma=False
  )(q, k, v, segments)


def _ring(q, k, v, segments):
  import jax
  import jax.numpy as jnp

  parts, mine = jax.lax.axis_size("context"), jax.lax.axis_index("context")
  rows, length, heads, dim = q.shape
  places = jnp.arange(length)
  pairs = [(i, (i + 1) % parts) for i in range(parts)]

  @jax.checkpoint
  def see(block, keys, first):
    """Attends from one block of queries to the keys on this device."""
    (q, at, ids, mixed, top, total), (k, v, key_ids) = block, keys
    scores = jnp.einsum("bqkgd,bskd->bkgqs", q, k).astype(jnp.float32)
    back = at[:, None] + mine * length - first - places[None]
    seen = (back >= 0) & (ids[:, :, None] == key_ids[:, None])
    scores = jnp.where(seen[:, None, None], scores * dim**-0.5, -1e30)
    higher = jnp.maximum(top, scores.max(-1))
    weights, kept = jnp.exp(scores - higher[..., None]), jnp.exp(top - higher)
    new = jnp.einsum("bkgqs,bskd->bkgqd", weights.astype(v.dtype), v)
    mixed = mixed * kept[..., None] + new.astype(jnp.float32)
    return mixed, higher, total * kept + weights.sum(-1)

  def split(x, axis):
    shape = (*x.shape[:axis], -1, BLOCK, *x.shape[axis + 1 :])
    return jnp.moveaxis(x.reshape(shape), axis, 0)

  def hop(carry, index):
    keys, state = carry
    first = (mine - index) % parts * length
    state = jax.lax.map(
      lambda b: see((*b[0], *b[1]), keys, first), (fixed, state)
    )
    keys = jax.tree.map(lambda x: jax.lax.ppermute(x, "context", pairs), keys)
    return (keys, state), None

  grouped = q.reshape(rows, length, k.shape[2], -1, dim)
  fixed = split(grouped, 1), split(places, 0), split(segments, 1)
  shape = (length // BLOCK, rows, k.shape[2], heads // k.shape[2], BLOCK)
  state = (jnp.zeros((*shape, dim)), jnp.full(shape, -1e30), jnp.zeros(shape))
  (_, state), _ = jax.lax.scan(
    hop, ((k, v, segments), state), jnp.arange(parts)
  )
  mixed = state[0] / state[2][..., None]
  mixed = jnp.moveaxis(mixed, (0, 4), (1, 2)).reshape(q.shape)
  return mixed.astype(q.dtype)


def compiled(attend: Callable[..., Any], parts: int) -> Mapping[str, float]:
  """Returns GiB that a device sends, and GiB of its temporaries."""
  import jax
  from jax.experimental import topologies
  import jax.numpy as jnp
  from jax.sharding import NamedSharding, PartitionSpec as P

  from jaxrl_entropy import sharding

  slice_ = topology.parse(SLICE)
  described = topologies.get_topology_desc(
    platform="tpu", topology_name=slice_.compiler_name, num_slices=1
  )
  mesh = sharding.make_mesh(
    fsdp=-1, tensor=TENSOR, context=parts, devices=described.devices
  )
  rows = mesh.shape["fsdp"]

  def array(dtype: Any, *last: int) -> Any:
    spec = P(sharding.ROWS, "context", "tensor")[: 2 + bool(last)]
    where = NamedSharding(mesh, P(*spec))
    return jax.ShapeDtypeStruct((rows, LENGTH, *last), dtype, sharding=where)

  def total(q, k, v, segments):
    return jnp.sum(attend(q, k, v, segments).astype(jnp.float32) ** 2)

  heads = [array(jnp.bfloat16, n, DIM) for n in (HEADS, KV_HEADS, KV_HEADS)]
  with jax.set_mesh(mesh):
    step = jax.jit(jax.grad(total, (0, 1, 2)))
    program = step.lower(*heads, array(jnp.int32)).compile()
  sent = sum(c.total for c in hlo.collectives(program.as_text(), mesh.shape))
  memory = program.memory_analysis()
  return {
    "GiB sent": sent / 2**30,
    "GiB temporaries": memory.temp_size_in_bytes / 2**30,
  }


def measure(parts: int) -> list[Result]:
  from jaxrl_entropy.ops import attention
  from jaxrl_entropy.ops.attention import splash

  ours = compiled(splash.attend, parts)
  peers = {
    "ring": ring,
    "gathered, no kernel": functools.partial(attention.attend, backend="xla"),
  }
  results = []
  for peer, attend in peers.items():
    theirs = compiled(attend, parts)
    results += [
      Result(
        f"a row in {parts} parts",
        metric,
        ours[metric],
        peer,
        theirs[metric],
        theirs[metric] / ours[metric],
      )
      for metric in ours
    ]
  return results


def main() -> None:
  args = common.arguments(__doc__)
  if not compiling.has_compiler():
    raise SystemExit("the compiler for TPUs is missing: pip install libtpu")
  os.environ.update(compiling.COMPILER, JAX_PLATFORMS="cpu")
  parts = (2,) if args.quick else (2, 4)
  results = [result for each in parts for result in measure(each)]
  common.report("context", results, args.json)


if __name__ == "__main__":
  main()
