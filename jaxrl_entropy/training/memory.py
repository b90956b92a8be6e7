"""Checks that a model fits in memory before it is allocated.

These are lower bounds: activations and the key-value cache come on top, and
`jaxrl-entropy plan` counts them.
"""

from collections.abc import Mapping
import math
from pathlib import Path
import resource
from typing import Any

import jax
import numpy as np

from jaxrl_entropy.errors import UserError
from jaxrl_entropy.models import lora
from jaxrl_entropy.types import Params

_GIB = 2**30
# Arrays of the size of the parameters that an optimizer keeps.
_MOMENTS = {"adamw": 2, "sgd": 0}
_REMEDY = "jaxrl-entropy plan says what fits"


def check_parameters(field: str, shapes: Params, shardings: Params) -> None:
  """Checks that the parameters fit before any of them is made or read.

  Args:
    field: the setting that names the model, with its value.
    shapes: `jax.ShapeDtypeStruct`s, in the dtype of the parameters.
    shardings: where they will be.

  Raises:
    UserError: if a device, or this host, has less memory than they take.
  """
  needed = _bytes_per_device(shapes, shardings)
  device, free = _free_per_device()
  if needed > free:
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    raise UserError(
      f"{field} has {count / 1e9:.2f} billion parameters, which take "
      f"{needed / _GIB:.1f} GiB per device, and a {device} has "
      f"{free / _GIB:.1f} GiB free: choose a smaller model, set "
      "model.param_dtype='bfloat16', or raise mesh.fsdp on more devices; "
      + _REMEDY
    )


def check_training(optimizer: str, params: Params) -> None:
  """Checks that gradients and moments fit beside the parameters.

  Args:
    optimizer: `config.optimizer.name`.
    params: on their devices.

  Raises:
    UserError: if a device, or this host, has less memory left than they take.
  """
  trained = lora.split(params)[0]
  shardings = jax.tree.map(lambda leaf: leaf.sharding, trained)
  copies = 1 + _MOMENTS.get(optimizer, 0)
  needed = copies * _bytes_per_device(trained, shardings)
  device, free = _free_per_device()
  if needed > free:
    raise UserError(
      f"gradients and moments of the parameters take {needed / _GIB:.1f} GiB "
      f"per device, and a {device} has {free / _GIB:.1f} GiB left: set "
      "model.lora_rank or model.param_dtype='bfloat16', or raise mesh.fsdp on "
      "more devices; " + _REMEDY
    )


def available_on_host() -> float:
  """Returns the bytes that this process may still allocate on its host.

  It is infinite where the system does not say.
  """
  limits: list[float] = [*_meminfo("MemAvailable"), *_cgroup_room()]
  soft, _ = resource.getrlimit(resource.RLIMIT_AS)
  if soft != resource.RLIM_INFINITY:
    limits.append(soft)
  return min(limits, default=math.inf)


def _free_per_device() -> tuple[str, float]:
  """Returns the kind of a local device and the bytes free on each."""
  devices = jax.local_devices()
  stats: Mapping[str, Any] = devices[0].memory_stats() or {}
  if "bytes_limit" in stats:
    free = stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return devices[0].device_kind, free
  # Devices of a CPU share the memory of the host.
  return devices[0].device_kind, available_on_host() / len(devices)


def _bytes_per_device(shapes: Params, shardings: Params) -> int:
  def size(leaf: Any, where: jax.sharding.Sharding) -> int:
    shard = where.shard_shape(leaf.shape)
    return math.prod(shard) * np.dtype(leaf.dtype).itemsize

  return sum(jax.tree.leaves(jax.tree.map(size, shapes, shardings)))


def _meminfo(name: str) -> list[int]:
  """A value of Linux's /proc/meminfo in bytes, if there is one."""
  try:
    lines = Path("/proc/meminfo").read_text().splitlines()
  except OSError:
    return []
  return [int(x.split()[1]) * 1024 for x in lines if x.startswith(f"{name}:")]


def _cgroup_room() -> list[int]:
  """Returns the bytes left under a container's limit, if there is one."""
  folder = Path("/sys/fs/cgroup")
  try:
    limit = (folder / "memory.max").read_text().strip()
    used = int((folder / "memory.current").read_text())
  except OSError:
    return []
  return [] if limit == "max" else [int(limit) - used]
