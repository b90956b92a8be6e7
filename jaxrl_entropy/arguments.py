"""Checks of the arguments of a part when the part is made.

Values that are known at trace time only (a coefficient that a controller
drives) pass: their ranges cannot be seen.
"""

from collections.abc import Iterable
import math
from typing import Any


def _is_known(value: Any) -> bool:
  """Whether the value is no array, and so can be checked."""
  return not hasattr(value, "dtype")


def within(
  owner: str, low: float, high: float = math.inf, /, **values: Any
) -> None:
  """Raises unless each value is a number in [low, high].

  Args:
    owner: the function whose arguments these are, for the message.
    low: smallest allowed value.
    high: largest allowed value.
    **values: arguments by name; arrays pass.

  Raises:
    ValueError: names the argument, its value and the allowed range.
  """
  allowed = f"in [{low}, {high}]" if high < math.inf else f"at least {low}"
  for name, value in values.items():
    if _is_known(value) and not (_is_number(value) and low <= value <= high):
      raise ValueError(f"{owner}: {name} is {value!r}; it must be {allowed}")


def above(owner: str, low: float, /, **values: Any) -> None:
  """Raises unless each value is a finite number above `low`.

  Args:
    owner: the function whose arguments these are, for the message.
    low: largest value that is too small.
    **values: arguments by name; arrays pass.

  Raises:
    ValueError: names the argument, its value and the allowed range.
  """
  for name, value in values.items():
    if _is_known(value) and not (_is_number(value) and low < value < math.inf):
      raise ValueError(
        f"{owner}: {name} is {value!r}; it must be a number above {low}"
      )


def finite(owner: str, /, **values: Any) -> None:
  """Raises unless each value is a finite number.

  Args:
    owner: the function whose arguments these are, for the message.
    **values: arguments by name; arrays pass.

  Raises:
    ValueError: names the argument and its value.
  """
  for name, value in values.items():
    if _is_known(value) and not (_is_number(value) and math.isfinite(value)):
      raise ValueError(f"{owner}: {name} is {value!r}; it must be finite")


def ordered(owner: str, /, **values: Any) -> None:
  """Raises unless the first of two values is below the second.

  Args:
    owner: the function whose arguments these are, for the message.
    **values: two arguments by name, the lower bound first; arrays pass.

  Raises:
    ValueError: names both arguments and their values.
  """
  (low_name, low), (high_name, high) = values.items()
  if all(map(_is_known, (low, high))) and not (
    _is_number(low) and _is_number(high) and low < high
  ):
    raise ValueError(
      f"{owner}: {low_name}={low!r} is not below {high_name}={high!r}, so the "
      "range is empty"
    )


def one_of(owner: str, options: Iterable[Any], /, **values: Any) -> None:
  """Raises unless each value is among the options.

  Args:
    owner: the function whose arguments these are, for the message.
    options: the allowed values.
    **values: arguments by name.

  Raises:
    ValueError: names the argument, its value and the options.
  """
  options = tuple(options)
  for name, value in values.items():
    if value not in options:
      choices = " or ".join(map(repr, options))
      raise ValueError(f"{owner}: {name} is {value!r}; use {choices}")


def _is_number(value: Any) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)
