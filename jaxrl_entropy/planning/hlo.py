"""Collectives of a compiled program, read from its HLO text."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
import dataclasses
import itertools
import math
import re

import numpy as np

KINDS = (
  "all-gather",
  "all-reduce",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
)

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (.*?) ([\w-]+)\((.*)$")
_SHAPE = re.compile(r"(pred|[a-z]+\d+(?:e\w+)?)\[([\d,]*)\]")
_CALLED = re.compile(
  r"(?:calls|to_apply|body|branch_computations|true_computation|"
  r"false_computation|called_computations)="
  r"(\{[^}]*\}|%?[\w.-]+)"
)
_TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CONSTANT = re.compile(r"= s32\[\]\S* constant\((\d+)\)")


@dataclasses.dataclass(frozen=True)
class Collective:
  """One collective instruction.

  Attributes:
    kind: one of `KINDS`.
    axes: mesh axes over which it talks.
    shape: of its result on one device, the largest one where it has several.
    bytes: that one device sends in one execution.
    count: executions in a run of the program.
    source: the operation it comes from, as JAX names it.
  """

  kind: str
  axes: tuple[str, ...]
  shape: tuple[int, ...]
  bytes: float
  count: int
  source: str

  @property
  def total(self) -> float:
    """Bytes that one device sends in a run of the program."""
    return self.bytes * self.count


def collectives(text: str, mesh: Mapping[str, int]) -> list[Collective]:
  """Returns the collectives of a program, in no order.

  Args:
    text: `compiled.as_text()`.
    mesh: size of each mesh axis, in the order of the mesh.
  """
  computations = dict(_computations(text))
  places: dict[tuple[str, ...], dict[str, list[Collective]]] = defaultdict(
    lambda: defaultdict(list)
  )
  for name, count in _executions(computations).items():
    for line in computations[name]:
      match = _INSTRUCTION.match(line)
      kind = match[3].removesuffix("-start") if match else ""
      if match and kind in KINDS:
        channel = re.search(r"channel_id=(\d+)", line)
        one = _collective(kind, match[2], line, count, mesh)
        key = (kind, channel[1] if channel else match[1], one.source)
        places[key][name].append(one)
  # An asynchronous one stands in each of the fusions that it runs beside,
  # always with the same channel; in one place each of them is another.
  largest = [
    max(by_computation.values(), key=_sent)
    for by_computation in places.values()
  ]
  return [one for ones in largest for one in ones if one.axes]


def _sent(ones: Iterable[Collective]) -> float:
  return sum(one.total for one in ones)


def _collective(
  kind: str, result: str, line: str, count: int, mesh: Mapping[str, int]
) -> Collective:
  shapes = [_shape(*match) for match in _SHAPE.findall(result)]
  if f"{kind}-start(" in line:
    shapes = _results_of_start(kind, shapes)
  size = sum(n_bytes for _, n_bytes in shapes)
  axes, group = _axes(line, mesh)
  source = re.search(r'op_name="([^"]*)"', line)
  return Collective(
    kind,
    axes,
    max(shapes, key=lambda shape: shape[1])[0],
    size * _sent_share(kind, group),
    count,
    source[1] if source else "",
  )


def _sent_share(kind: str, group: int) -> float:
  """Bytes sent a byte of the result, by ring algorithms on `group` devices."""
  return {
    "all-gather": (group - 1) / group,
    "all-reduce": 2 * (group - 1) / group,
    "reduce-scatter": group - 1,
    "all-to-all": (group - 1) / group,
    "collective-permute": 1,
  }[kind]


def _results_of_start(kind: str, shapes: list) -> list:
  """Returns the results of a start without its operands and bookkeeping."""
  if kind == "all-gather":
    return shapes[len(shapes) // 2 :]
  if kind == "collective-permute":
    return shapes[1:2]
  return shapes


def _shape(dtype: str, dimensions: str) -> tuple[tuple[int, ...], float]:
  """Returns the dimensions and the bytes of `dtype[dimensions]`."""
  shape = tuple(int(size) for size in dimensions.split(",") if size)
  bits = 8 if dtype == "pred" else int(re.findall(r"\d+", dtype)[0])
  return shape, math.prod(shape) * bits / 8


def _computations(text: str) -> Iterator[tuple[str, list[str]]]:
  """Returns the lines of each computation by name; the entry's is ""."""
  name: str | None = None
  lines: list[str] = []
  for line in text.splitlines():
    header = _COMPUTATION.match(line)
    if header:
      name, lines = "" if header[1] else header[2], []
    elif line.startswith("}") and name is not None:
      yield name, lines
      name = None
    else:
      lines.append(line)


def _executions(computations: Mapping[str, list[str]]) -> dict[str, int]:
  """Returns how often each computation that runs is executed."""
  counts: dict[str, int] = defaultdict(int)

  def visit(name: str, count: int) -> None:
    counts[name] += count
    for line in computations[name]:
      for callee, times in _calls(line, computations):
        visit(callee, count * times)

  visit("", 1)
  return counts


def _calls(
  line: str, computations: Mapping[str, list[str]]
) -> Iterator[tuple[str, int]]:
  """Yields the computations that an instruction runs, and how often."""
  times = 1
  if " while(" in line:
    times = _trip_count(line, computations)
  for group in _CALLED.findall(line):
    for name in re.findall(r"[\w.-]+", group):
      if name in computations:
        yield name, times


def _trip_count(line: str, computations: Mapping[str, list[str]]) -> int:
  """Returns a loop's count: XLA's own, or the constant of its condition."""
  known = _TRIP_COUNT.search(line)
  if known:
    return int(known[1])
  condition = re.search(r"condition=%?([\w.-]+)", line)
  lines = computations.get(condition[1], []) if condition else []
  constants = [int(n) for line in lines for n in _CONSTANT.findall(line)]
  return max(constants, default=1)


def _axes(line: str, mesh: Mapping[str, int]) -> tuple[tuple[str, ...], int]:
  """Returns the mesh axes along which a group's devices differ; its size."""
  groups = _groups(line, math.prod(mesh.values()))
  places = np.array(np.unravel_index(groups, tuple(mesh.values())))
  differs = (places != places[:, :, :1]).any(axis=(1, 2))
  return tuple(itertools.compress(mesh, differs)), groups.shape[1]


def _groups(line: str, devices: int) -> np.ndarray:
  """Returns int [groups, size]: devices that communicate with each other.

  XLA writes them in three ways: as a list, as a transposed range, or as axes
  of a mesh of its own.
  """
  ids = np.arange(devices)
  iota = re.search(
    r"replica_groups=\[(\d+),(\d+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", line
  )
  if iota:
    ids = ids.reshape(_integers(iota[3]))
    if iota[4]:
      ids = ids.transpose(_integers(iota[4]))
    return ids.reshape(-1, int(iota[2]))
  named = re.search(r"replica_groups=mesh\[(.*?)\] \{(.*?)\}", line)
  if named:
    sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
    talking = re.findall(r"'(\w+)'", named[2])
    ids = ids.reshape([int(size) for size in sizes.values()])
    last = [list(sizes).index(axis) for axis in talking]
    ids = np.moveaxis(ids, last, range(-len(last), 0))
    return ids.reshape(-1, math.prod(int(sizes[axis]) for axis in talking))
  listed = re.search(
    r"(?:replica_groups|source_target_pairs)=\{(\{.*?\})\}", line
  )
  if listed:
    rows = re.findall(r"\{([\d,]+)\}", listed[1])
    return np.array([_integers(row) for row in rows])
  return ids[None]


def _integers(text: str) -> list[int]:
  return [int(number) for number in text.split(",")]
