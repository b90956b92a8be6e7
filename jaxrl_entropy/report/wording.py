"""Numbers and lists as text."""

from collections.abc import Sequence
import math

Cell = str | float | int | None

MISSING = "–"
_DECIMALS = 3


def plural(count: int, noun: str) -> str:
  """Returns `1 run`, `2 runs`.

  Args:
    count: how many.
    noun: in the singular; its plural ends in "s".
  """
  return f"{count} {noun}{'s' * (count != 1)}"


def listing(items: Sequence[str]) -> str:
  """Returns `a, b and c`."""
  if len(items) < 2:
    return "".join(items)
  return f"{', '.join(items[:-1])} and {items[-1]}"


def value_range(values: Sequence[float], form: str = ".3f") -> str:
  """Returns `0.120 to 0.340`, or one value if both ends look the same.

  Args:
    values: numbers, at least one.
    form: format of both ends, as `format` takes it.
  """
  low, high = format(min(values), form), format(max(values), form)
  return low if low == high else f"{low} to {high}"


def capitalized(text: str) -> str:
  """Returns the text with its first letter in upper case."""
  return text[:1].upper() + text[1:]


def column_text(cells: Sequence[Cell]) -> list[str]:
  """Formats the cells of one column, with the same number of decimals.

  Floats get three decimals, more if all of them are below 0.1, and fewer if
  one of them is 100 or more. A missing value becomes a dash.
  """
  decimals = _decimals([cell for cell in cells if isinstance(cell, float)])
  return [_text(cell, decimals) for cell in cells]


def _decimals(values: Sequence[float]) -> int:
  sizes = [abs(v) for v in values if math.isfinite(v) and v]
  largest = max(sizes, default=1.0)
  if largest < 0.1:
    return min(8, _DECIMALS - 1 - math.floor(math.log10(largest)))
  return _DECIMALS if largest < 100 else 1 if largest < 1000 else 0


def _text(cell: Cell, decimals: int) -> str:
  if cell is None or cell != cell:
    return MISSING
  if isinstance(cell, float):
    return f"{cell:.{decimals}f}"
  return str(cell)
