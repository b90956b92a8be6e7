"""TPU slices by their marketing names: shape, memory and peak rates."""

from collections.abc import Mapping
import dataclasses
import difflib
import itertools
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
    link: bytes/s of a link to a neighboring chip, in one direction.
    ring_of: chips along a side of the slice that are wired as a ring are a
      multiple of this; shorter sides end.
    devices_per_chip: JAX devices on a chip.
    named_cores: what the number in `v5p-128` counts, per chip.
    dimensions: of the torus.
    options: the compiler's extra arguments.
  """

  hbm: float
  flops: float
  bandwidth: float
  link: float
  ring_of: int = 4
  devices_per_chip: int = 1
  named_cores: int = 1
  dimensions: int = 2
  options: tuple[tuple[str, str], ...] = ()


# Links: Austin et al., How to Scale Your Model, table of TPU chips.
GENERATIONS = {
  "v4": Generation(
    *(30.75 * GIB, 275e12, 1.228e12, 45e9),
    named_cores=2,
    dimensions=3,
    options=(("chip_config_name", "megacore"),),
  ),
  "v5e": Generation(15.75 * GIB, 197e12, 0.819e12, 45e9, ring_of=16),
  "v5p": Generation(
    *(95.73 * GIB, 459e12, 2.765e12, 90e9), named_cores=2, dimensions=3
  ),
  "v6e": Generation(31.24 * GIB, 918e12, 1.64e12, 90e9, ring_of=16),
  "tpu7x": Generation(
    *(94.74 * GIB, 1153e12, 3.69e12, 90e9),
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

  @property
  def sides(self) -> tuple[int, ...]:
    """Chips along each side of the slice."""
    return tuple(map(int, self.compiler_name.split(":")[1].split("x")))

  @property
  def chips(self) -> int:
    """Chips of the slice."""
    return math.prod(self.sides)

  def half(self) -> "Topology":
    """Returns the slice cut in two across its longest side.

    Raises:
      UserError: for a slice of one chip, or of an odd side.
    """
    sides = list(self.sides)
    longest = sides.index(max(sides))
    if sides[longest] % 2:
      raise UserError(f"topology {self.name!r} has no two equal halves")
    sides[longest] //= 2
    kind = self.compiler_name.split(":")[0]
    return parse(f"{kind}:{'x'.join(map(str, sides))}")

  def link_rate(self, mesh: Mapping[str, int], axis: str) -> float:
    """Bytes/s that a device sends to the others of a mesh axis.

    A ring sends both ways at once, a line one way; an axis laid over several
    sides uses the links of each.

    Args:
      mesh: size of each axis, from the least to the most talkative.
      axis: which one.
    """
    generation = self.generation
    rings = 0
    for side, share in _laid(self._grid, mesh)[axis]:
      whole = share == self._grid[side] and side < len(self.sides)
      rings += 2 if whole and self._is_ring(side) else 1
    return generation.link * max(rings, 1)

  @property
  def _grid(self) -> tuple[int, ...]:
    """Devices along each side, and on a chip."""
    return (*self.sides, self.generation.devices_per_chip)

  def _is_ring(self, side: int) -> bool:
    """Whether a side is wired around; on cubes all sides are, or none."""
    of, sides = self.generation.ring_of, self.sides
    if self.generation.dimensions == 3:
      return all(size % of == 0 for size in sides)
    return sides[side] % of == 0


def _laid(
  grid: tuple[int, ...], mesh: Mapping[str, int]
) -> dict[str, list[tuple[int, int]]]:
  """Returns the sides that each axis is laid over: (side, devices of it).

  As JAX's mesh_utils does where whole sides fit: the last axis chooses first,
  and as many sides as it can. Where none fit, it takes parts of sides.
  """
  free, laid = list(grid), {}
  for axis, size in reversed(list(mesh.items())):
    sides = [side for side, left in enumerate(free) if left > 1]
    choices = [
      chosen
      for count in range(len(sides), 0, -1)
      for chosen in itertools.combinations(sides, count)
      if math.prod(free[side] for side in chosen) == size
    ]
    laid[axis] = [(side, free[side]) for side in next(iter(choices), ())]
    if not choices:
      for side in sorted(sides, key=free.__getitem__):
        devices = math.gcd(free[side], size)
        size //= devices
        laid[axis] += [(side, devices)] * (devices > 1)
    for side, devices in laid[axis]:
      free[side] //= devices
  return laid


def parse(name: str) -> Topology:
  """Returns the slice called `v5p-128`, or by its shape `v5p:4x4x4`.

  Args:
    name: a generation, and a number of cores (v4, v5p, tpu7x) or chips, or its
      sides in chips.

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
