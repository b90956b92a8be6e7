"""Declaration of a config field: its default, range and meaning."""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import math
from typing import Any

from ml_collections import ConfigDict

from jaxrl_entropy.errors import UserError, nearest


@dataclasses.dataclass(frozen=True)
class Field:
  """One setting: its default value, what it means and what it may be.

  The type of the default is the type of the field. A tuple's bounds and choices
  apply to each of its elements.

  Attributes:
    default: value where a config does not set the field.
    doc: meaning, with the unit, for `--help` and docs/config.md.
    choices: all allowed values; empty: any within the bounds.
    low: smallest allowed number.
    high: largest allowed number.
    above: number that the value must exceed.
    extra: values allowed outside of the bounds, such as -1 for "the rest".
  """

  default: Any
  doc: str
  choices: Sequence[Any] = ()
  low: float | None = None
  high: float | None = None
  above: float | None = None
  extra: Sequence[Any] = ()

  def allowed(self) -> str:
    """Returns the allowed values in words; "" where any value will do."""
    if self.choices:
      return ", ".join(repr(choice) for choice in self.choices)
    bounds = [
      *([f">= {self.low:g}"] if self.low is not None else []),
      *([f"> {self.above:g}"] if self.above is not None else []),
      *([f"<= {self.high:g}"] if self.high is not None else []),
    ]
    return " or ".join([" and ".join(bounds), *map(repr, self.extra)]).strip()

  def check(self, name: str, value: Any) -> None:
    """Checks a value of this field.

    Args:
      name: dotted name of the field, for the message.
      value: of the field's type.

    Raises:
      UserError: naming the field, the value and what is allowed.
    """
    for item in value if isinstance(value, tuple) else (value,):
      if not self._admits(item):
        hint = (
          nearest(item, self.choices)
          if self.choices and isinstance(item, str)
          else f"it must be {self._bounds(item)}"
        )
        raise UserError(f"config.{name} is {item!r}: {hint}")

  def _bounds(self, value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
      return " and ".join(filter(None, ("a finite number", self.allowed())))
    return self.allowed()

  def _admits(self, value: Any) -> bool:
    if value in self.extra or value in self.choices:
      return True
    if self.choices:
      return False
    if isinstance(value, bool) or not isinstance(value, int | float):
      return True
    return (
      math.isfinite(value)
      and (self.low is None or value >= self.low)
      and (self.above is None or value > self.above)
      and (self.high is None or value <= self.high)
    )


@dataclasses.dataclass(frozen=True)
class Open:
  """A section that takes any key: keyword arguments of a chosen function.

  Attributes:
    doc: which keys the section takes, for `--help` and docs/config.md.
  """

  doc: str


Section = Mapping[str, "Field | Open | Section"]


def make(section: Section) -> ConfigDict:
  """Returns the defaults of a section as a ConfigDict."""
  config = ConfigDict()
  for name, entry in section.items():
    if isinstance(entry, Field):
      config[name] = entry.default
    elif isinstance(entry, Open):
      config[name] = ConfigDict({}, type_safe=False)
    else:
      config[name] = make(entry)
  return config


def walk(
  section: Section, prefix: str = ""
) -> Iterator[tuple[str, Field | Open]]:
  """Yields the dotted name and the declaration of every field, in order.

  Args:
    section: declarations by name, such as `defaults.FIELDS`.
    prefix: dotted name of the section with a dot behind it; "" at the top.
  """
  for name, entry in section.items():
    if isinstance(entry, Field | Open):
      yield prefix + name, entry
    else:
      yield from walk(entry, f"{prefix}{name}.")
