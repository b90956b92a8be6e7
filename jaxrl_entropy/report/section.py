"""A section of the report: panels, their table, and what they show."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import itertools
from typing import TypeVar

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy.analysis import runs, stats, studies
from jaxrl_entropy.report import plots, style

Cell = str | float | int | None
Row = Sequence[Cell]
Members = Sequence[runs.Run]


@dataclasses.dataclass(frozen=True)
class Table:
  """The numbers of a section; a NaN or None cell was not measured."""

  columns: Sequence[str]
  rows: Sequence[Row]


def without_empty(columns: Sequence[str], rows: Sequence[Row]) -> Table:
  """A table without the columns in which nothing was measured."""
  kept = [
    index
    for index in range(len(columns))
    if any(row[index] is not None and row[index] == row[index] for row in rows)
  ]
  return Table(
    [columns[index] for index in kept],
    [[row[index] for index in kept] for row in rows],
  )


@dataclasses.dataclass(frozen=True)
class Section:
  """One figure of the report.

  Attributes:
    name: identifier, and the prefix of its files.
    title: heading.
    sentence: what it shows in this study, from the data.
    panels: the plots, by name.
    table: the numbers behind them.
  """

  name: str
  title: str
  sentence: str
  panels: Mapping[str, Figure]
  table: Table


FEW = 4
"""More variants than this are summed up in a sentence, and do not share a
panel."""

Item = TypeVar("Item")

Builder = Callable[[studies.Study], Section | None]
"""Makes a section, or None where the study lacks its data."""


def over_seeds(
  members: Members, measure: Callable[[runs.Run], float]
) -> stats.Estimate:
  """A number of each run, over the runs that have it."""
  return stats.estimate([measure(run) for run in members])


def curve(
  label: str, members: Members, key: str, color: str
) -> plots.Line | None:
  """The mean over seeds at the steps they share, with their range around it.

  A metric of every step is smoothed over a fortieth of the run.
  """
  found = [series for run in members if len(series := run.series(key))]
  if not found:
    return None
  steps = found[0].steps
  for series in found[1:]:
    steps = np.intersect1d(steps, series.steps)
  values = np.array([_smooth(s.values[np.isin(s.steps, steps)]) for s in found])
  band = (values.min(axis=0), values.max(axis=0)) if len(found) > 1 else None
  return plots.Line(label, steps, values.mean(axis=0), color, band)


def curves(study: studies.Study, key: str) -> dict[str, list[plots.Line]]:
  """A curve for every variant that records `key`, by `groups`."""
  variants = study.variants
  palette = style.colors(list(variants))
  lines = {
    label: line
    for label, members in variants.items()
    if (line := curve(label, members, key, palette[label]))
  }
  return {
    name: [lines[label] for label in labels]
    for name, labels in groups(study, lines).items()
  }


def panels(
  study: studies.Study, key: str, name: str, title: str
) -> dict[str, Figure]:
  """The `curves` of a metric, drawn on one scale."""
  grouped = curves(study, key)
  every = [line for lines in grouped.values() for line in lines]
  return {
    f"{name}{group}": plots.lines(title, lines, beside=every)
    for group, lines in grouped.items()
  }


def groups(study: studies.Study, labels: Iterable[str]) -> dict[str, list[str]]:
  """The variants that share a panel, under a suffix for its name.

  All of them where they are few; else those of each method, with the baseline.
  """
  labels = list(labels)
  if len(labels) <= FEW:
    return {"": labels} if labels else {}
  first = [study.baseline[0]] if study.baseline else []
  first = [label for label in first if label in labels]
  by_method: dict[str, list[str]] = {}
  for label in labels:
    if label not in first:
      method = study.variants[label][0].method
      by_method.setdefault(method, [*first]).append(label)
  return {f"_{i}": found for i, found in enumerate(by_method.values())}


def _smooth(values: np.ndarray) -> np.ndarray:
  """Centred moving average; the window shrinks at the ends."""
  half = len(values) // 80
  window = np.ones(2 * half + 1)
  weight = np.convolve(np.ones_like(values), window, "same")
  return np.convolve(values, window, "same") / weight


def few(study: studies.Study, of: Mapping[str, Item]) -> dict[str, Item]:
  """For a plot without room for more than `FEW`: the first of each method."""
  if len(of) <= FEW:
    return dict(of)
  by_method: dict[str, str] = {}
  for label in of:
    by_method.setdefault(study.variants[label][0].method, label)
  return {
    label: of[label] for label in itertools.islice(by_method.values(), FEW)
  }


def as_text(cell: Cell) -> str:
  """A cell for a reader: three digits or decimals; a dash for no value."""
  if cell is None or cell != cell:
    return "–"
  if isinstance(cell, float):
    return f"{cell:.3g}" if abs(cell) < 0.1 else f"{cell:.3f}"
  return str(cell)


def plural(count: int, noun: str) -> str:
  """`1 run`, `2 runs`."""
  return f"{count} {noun}{'s' * (count != 1)}"


def listing(parts: Sequence[str]) -> str:
  """`a, b and c`."""
  if len(parts) < 2:
    return "".join(parts)
  return f"{', '.join(parts[:-1])} and {parts[-1]}"
