"""Compares what a program printed or returned with what a test expects.

A program's values are compared as `wire.encode` wrote them. They are not
decoded: a dict whose keys were chosen so that their hashes collide would take
this process minutes to build.
"""

from collections.abc import Iterable
import json
import math
import re
from typing import Any

from jaxrl_entropy.rewards.sandbox import wire

TOLERANCE = 1e-9
"""Tolerance of floats that a function returns, relative and absolute."""

_SPACES = " \t\r\n"
_INTEGER = re.compile(r"[+-]?\d{1,400}", re.ASCII)
_DECIMAL = re.compile(
  r"[+-]?(?:\d{1,400}\.?\d{0,400}|\.\d{1,400})(?:[eE][+-]?\d{1,3})?", re.ASCII
)


def printed(text: str, expected: str, tolerance: float = 0.0) -> bool:
  """Returns whether two texts have the same lines, but for spaces at their end.

  With a tolerance, the words of a line may also be decimal numbers that are
  close to those expected. Integers are compared as text.

  Args:
    text: what the program printed.
    expected: what the test expects.
    tolerance: of decimal numbers, relative and absolute; 0: the same text.
  """
  lines, wanted = _lines(text), _lines(expected)
  return len(lines) == len(wanted) and all(
    line == want or (tolerance > 0 and _close(line, want, tolerance))
    for line, want in zip(lines, wanted, strict=True)
  )


def _lines(text: str) -> list[str]:
  return [line.rstrip(_SPACES) for line in text.rstrip(_SPACES).split("\n")]


def _close(line: str, wanted: str, tolerance: float) -> bool:
  words, numbers = line.split(), wanted.split()
  return len(words) == len(numbers) and all(
    word == number or _close_number(word, number, tolerance)
    for word, number in zip(words, numbers, strict=True)
  )


def _close_number(word: str, wanted: str, tolerance: float) -> bool:
  if _INTEGER.fullmatch(wanted):
    return False
  if not (_DECIMAL.fullmatch(word) and _DECIMAL.fullmatch(wanted)):
    return False
  return _is_close(float(word), float(wanted), tolerance)


def returned(
  reply: bytes, expected: Iterable[Any], tolerance: float = TOLERANCE
) -> bool:
  """Returns whether a reply of the model's process holds an expected value.

  Args:
    reply: JSON text with the `value`, as `wire.encode` wrote it; anything else
      holds none.
    expected: the values that are right.
    tolerance: of floats, relative and absolute.
  """
  try:
    value = json.loads(reply)["value"]
    return any(_equal(value, wire.encode(e), tolerance) for e in expected)
  except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
    return False


def _equal(value: Any, expected: Any, tolerance: float) -> bool:
  if isinstance(expected, dict):
    return isinstance(value, dict) and _same(value, expected, tolerance)
  if isinstance(value, bool) != isinstance(expected, bool):
    return False
  if isinstance(expected, float) and isinstance(value, int | float):
    return _is_close(value, expected, tolerance)
  return value == expected


def _is_close(value: float, expected: float, tolerance: float) -> bool:
  return math.isclose(value, expected, rel_tol=tolerance, abs_tol=tolerance)


def _same(
  value: dict[str, Any], expected: dict[str, list[Any]], tolerance: float
) -> bool:
  """Whether two containers are equal."""
  ((kind, items),) = expected.items()
  if kind in ("list", "tuple"):
    actual = value.get("list", value.get("tuple"))
    return (
      isinstance(actual, list)
      and len(actual) == len(items)
      and all(
        _equal(g, i, tolerance) for g, i in zip(actual, items, strict=True)
      )
    )
  if kind == "dict" == next(iter(value), None):
    return _same_pairs(value[kind], items, tolerance)
  if kind in ("set", "frozenset"):
    actual = value.get("set", value.get("frozenset"))
    return sorted(map(json.dumps, actual or ())) == sorted(
      map(json.dumps, items)
    )
  return value == expected


def _same_pairs(
  pairs: list[Any], expected: list[Any], tolerance: float
) -> bool:
  """Whether pairs of key and value make equal dicts."""
  actual, wanted = _by_text(pairs), _by_text(expected)
  if actual.keys() != wanted.keys() and all(
    isinstance(key, str) for key, _ in expected
  ):
    # JSON made texts of the keys of the test.
    actual = _by_text([[_as_json_key(key), value] for key, value in pairs])
  return (
    len(pairs) == len(expected)
    and actual.keys() == wanted.keys()
    and all(_equal(actual[key], wanted[key], tolerance) for key in wanted)
  )


def _by_text(pairs: list[Any]) -> dict[str, Any]:
  """Pairs of key and value as a dict; the hashes of texts are secret."""
  return {json.dumps(key): value for key, value in pairs}


def _as_json_key(key: Any) -> Any:
  """The text that JSON makes of a number as a key of an object."""
  return key if isinstance(key, str | dict) else json.dumps(key)
