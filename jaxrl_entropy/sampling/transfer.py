"""Copies weights from the devices of one mesh to those of another."""

from collections import deque
import functools
import math
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding

from jaxrl_entropy import sharding
from jaxrl_entropy.types import Params

IN_FLIGHT = 4
"""Leaves whose staged copies may exist at a time."""

SPLIT = ("tensor", "expert")
"""Axes of a mesh that a sampler's weights may be split over."""

Shard = tuple[tuple[int, int], ...]
"""First and last index of a shard, axis by axis."""


def transfer(weights: Params, shardings: Any) -> Params:
  """Copies arrays onto the devices of other shardings, device to device.

  One leaf after the other is resharded over the devices it lies on, until they
  hold the shards that the target needs; these are then copied by the process
  that owns both devices. Nothing passes through a host.

  Args:
    weights: arrays on one mesh.
    shardings: a tree like `weights`, of NamedSharding on the other mesh. It
      splits arrays over the axes of `SPLIT` at most.

  Returns:
    The copy, complete.

  Raises:
    ValueError: if no device of a process holds a shard that this process needs.
  """
  source = jax.tree.leaves(weights)[0].sharding.mesh
  staging = _staging(source, jax.tree.leaves(shardings)[0].mesh)
  under_way: deque[jax.Array] = deque()

  def move(leaf: jax.Array, target: NamedSharding) -> jax.Array:
    # Bounds the memory of staged copies, which the dispatch would allocate.
    if len(under_way) == IN_FLIGHT:
      jax.block_until_ready(under_way.popleft())
    with jax.set_mesh(staging):
      staged = _stage(NamedSharding(staging, target.spec))(leaf)
    under_way.append(_copy(staged, target))
    return under_way[-1]

  return jax.block_until_ready(jax.tree.map(move, weights, shardings))


def local_bytes(weights: Params) -> int:
  """Returns the bytes of all shards that this process holds."""
  return sum(
    shard.data.nbytes
    for leaf in jax.tree.leaves(weights)
    for shard in leaf.addressable_shards
  )


def _staging(source: Mesh, target: Mesh) -> Mesh:
  """Returns the devices of `source` with the split axes of `target`."""
  split = {axis: target.shape[axis] for axis in SPLIT}
  shards = math.prod(split.values())
  if source.size % shards:
    raise ValueError(
      f"the sampler splits layers over {shards} devices, and the {source.size} "
      "devices that train are no multiple of it"
    )
  devices = sorted(source.devices.flat, key=lambda d: (d.process_index, d.id))
  return sharding.mesh_of_part(devices, data=-1, **split)


@functools.cache
def _stage(sharding: NamedSharding) -> Any:
  return jax.jit(lambda x: x, out_shardings=sharding)


def _copy(staged: jax.Array, target: NamedSharding) -> jax.Array:
  """Copies shards to the devices of `target`, from several in turn."""
  shape = staged.shape
  by_shard: dict[Shard, list[jax.Array]] = {}
  for shard in staged.addressable_shards:
    by_shard.setdefault(_shard(shard.index, shape), []).append(shard.data)
  copies = []
  needed = target.addressable_devices_indices_map(shape)
  for count, (device, index) in enumerate(needed.items()):
    holders = by_shard.get(_shard(index or (), shape))
    if holders is None:
      raise ValueError(
        f"{device} needs a shard that no training device of its process "
        "holds: let rollout.tensor divide the training devices of a process"
      )
    copies.append(jax.device_put(holders[count % len(holders)], device))
  return jax.make_array_from_single_device_arrays(shape, target, copies)


def _shard(index: tuple[slice, ...], shape: tuple[int, ...]) -> Shard:
  return tuple(
    s.indices(size)[:2] for s, size in zip(index, shape, strict=True)
  )
