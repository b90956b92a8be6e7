"""A section of the report: panels, their table, and what they show."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import itertools
from typing import TypeVar

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy.analysis import plots, runs, stats, studies, style

Cell = str | float | int | None
Row = Sequence[Cell]
Members = Sequence[runs.Run]


@dataclasses.dataclass(frozen=True)
class Table:
  """The numbers of a section; a NaN or None cell was not measured."""

  columns: Sequence[str]
  rows: Sequence[Row]


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
"""More variants than this are summed up in a sentence, and not all drawn."""

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


def curves(study: studies.Study, key: str) -> list[plots.Line]:
  """A curve for every variant that records `key`."""
  variants = study.variants
  palette = style.colors(list(variants))
  lines = [
    curve(k, members, key, palette[k]) for k, members in variants.items()
  ]
  return [line for line in lines if line is not None]


def _smooth(values: np.ndarray) -> np.ndarray:
  """Centred moving average; the window shrinks at the ends."""
  half = len(values) // 80
  window = np.ones(2 * half + 1)
  weight = np.convolve(np.ones_like(values), window, "same")
  return np.convolve(values, window, "same") / weight


def few(of: Mapping[str, Item]) -> dict[str, Item]:
  """The first ones, for a plot that has no room for more."""
  return dict(itertools.islice(of.items(), FEW))


def as_text(cell: Cell) -> str:
  """A cell for a reader: three digits or decimals; a dash for no value."""
  if cell is None or cell != cell:
    return "–"
  if isinstance(cell, float):
    return f"{cell:.3g}" if abs(cell) < 0.1 else f"{cell:.3f}"
  return str(cell)


def listing(parts: Sequence[str]) -> str:
  """`a, b and c`."""
  if len(parts) < 2:
    return "".join(parts)
  return f"{', '.join(parts[:-1])} and {parts[-1]}"
