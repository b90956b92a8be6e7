"""TPU slices by their marketing names: shape, memory and peak rates."""

import dataclasses
import difflib
import math
import re

from jaxrl_entropy.errors import UserError, nearest

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Generation:
  """One generation of TPU; rates and memory are of one JAX device.

  Attributes:
    hbm: bytes that a program can use (measured with the compiler).
    flops: peak dense bfloat16 FLOP/s.
    bandwidth: peak HBM bytes/s.
    devices_per_chip: JAX devices on a chip.
    named_cores: what the number in `v5p-128` counts, per chip.
    dimensions: of the torus.
    options: the compiler's extra arguments.
  """

  hbm: float
  flops: float
  bandwidth: float
  devices_per_chip: int = 1
  named_cores: int = 1
  dimensions: int = 2
  options: tuple[tuple[str, str], ...] = ()


GENERATIONS = {
  "v4": Generation(
    *(30.75 * GIB, 275e12, 1.228e12),
    named_cores=2,
    dimensions=3,
    options=(("chip_config_name", "megacore"),),
  ),
  "v5e": Generation(15.75 * GIB, 197e12, 0.819e12),
  "v5p": Generation(
    *(95.73 * GIB, 459e12, 2.765e12), named_cores=2, dimensions=3
  ),
  "v6e": Generation(31.24 * GIB, 918e12, 1.64e12),
  "tpu7x": Generation(
    *(94.74 * GIB, 1153e12, 3.69e12),
    devices_per_chip=2,
    named_cores=2,
    dimensions=3,
  ),
}


@dataclasses.dataclass(frozen=True)
class Topology:
  """A slice, and its names.

  Attributes:
    name: as it was asked for.
    compiler_name: as the compiler knows it, `v5p:4x4x8`.
    devices: JAX devices.
    generation: what each of them can do.
  """

  name: str
  compiler_name: str
  devices: int
  generation: Generation


def parse(name: str) -> Topology:
  """Returns the slice called `v5p-128`, or by its shape `v5p:4x4x4`.

  Raises:
    UserError: for a name that is neither.
  """
  match = re.fullmatch(r"(\w+)(?:-(\d+)|:([1-9]\d*(?:x[1-9]\d*)+))", name)
  if not match:
    near = difflib.get_close_matches(name, _names(), n=1)
    raise UserError(
      f"topology {name!r}: use a name like {near[0] if near else 'v5e-16'}, or "
      "a shape like v5p:4x4x4"
    )
  kind, count, shape = match.groups()
  kind = {"v5litepod": "v5e"}.get(kind, kind)
  if kind not in GENERATIONS:
    raise UserError(f"topology {name!r}: {nearest(kind, GENERATIONS)}")
  generation = GENERATIONS[kind]
  if count:
    sizes = _sizes(name, int(count), generation)
  else:
    sizes = tuple(int(size) for size in shape.split("x"))
  if len(sizes) != generation.dimensions:
    raise UserError(
      f"topology {name!r}: {kind} has {generation.dimensions} dimensions"
    )
  compiler_name = f"{kind}:{'x'.join(map(str, sizes))}"
  devices = math.prod(sizes) * generation.devices_per_chip
  return Topology(name, compiler_name, devices, generation)


def _counts(generation: Generation) -> list[int]:
  """Returns the numbers in the names of its slices: cores by powers of 2."""
  smallest = 2 if generation.dimensions == 3 else 0
  return [generation.named_cores * 2**power for power in range(smallest, 13)]


def _names() -> list[str]:
  return [
    f"{kind}-{count}"
    for kind, generation in GENERATIONS.items()
    for count in _counts(generation)
  ]


def _sizes(name: str, count: int, generation: Generation) -> tuple[int, ...]:
  """Returns the shape of a slice of `count` cores, as cubic as possible."""
  counts = _counts(generation)
  if count not in counts:
    near = min(counts, key=lambda size: abs(size - count))
    raise UserError(
      f"topology {name!r}: {count} is not the size of a whole slice, the "
      f"nearest is {near}; give the shape of another, like v5p:4x4x12"
    )
  power = (count // generation.named_cores).bit_length() - 1
  sizes = [0] * generation.dimensions
  # Slices grow by doubling their shortest side, the last one first, but for
  # the smallest, which lie flat: 2x2x1, 2x2x2, 2x2x4, 2x4x4, 4x4x4.
  if generation.dimensions == 3:
    sizes, power = [1, 1, 0], power - 2
  for _ in range(power):
    low = min(sizes)
    sizes[max(i for i, size in enumerate(sizes) if size == low)] += 1
  return tuple(2**size for size in sizes)
