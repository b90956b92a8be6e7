"""The parts of a report: sections with plots, a table and a sentence."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses

from matplotlib.figure import Figure

from jaxrl_entropy.analysis import runs, studies
from jaxrl_entropy.report import wording

Cell = wording.Cell
Row = Sequence[Cell]
Members = Sequence[runs.Run]


@dataclasses.dataclass(frozen=True)
class Table:
  """The numbers of a section; a NaN or None cell was not measured.

  Attributes:
    columns: headings.
    rows: cells, as many in each row as there are columns.
  """

  columns: Sequence[str]
  rows: Sequence[Row]

  def as_text(self) -> list[list[str]]:
    """Formats the cells, one list per row; see `wording.column_text`."""
    columns = [wording.column_text(column) for column in zip(*self.rows)]  # noqa: B905
    return [list(row) for row in zip(*columns, strict=True)]


def without_empty(columns: Sequence[str], rows: Sequence[Row]) -> Table:
  """Returns a table without the columns in which nothing was measured.

  Args:
    columns: headings.
    rows: cells, as many in each row as there are columns; None or NaN where
      nothing was measured.
  """
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
  """One section of the report.

  Attributes:
    name: identifier, and the prefix of its files.
    title: heading.
    sentence: the result in words, computed from the data.
    panels: the plots, by name.
    table: the numbers behind them.
  """

  name: str
  title: str
  sentence: str
  panels: Mapping[str, Figure]
  table: Table


@dataclasses.dataclass(frozen=True)
class Absent:
  """A section that a study has no data for.

  Attributes:
    title: heading of the missing section.
    reason: why it is missing, as the end of a sentence.
  """

  title: str
  reason: str


Builder = Callable[[studies.Study], Section | Absent]
"""Builds a section from a study."""

NO_BASELINE = "there is no GRPO run to compare with"


def no_metric(*keys: str) -> str:
  """Returns the reason that no run records any of some metrics."""
  return f"no run records {' or '.join(keys)}"
