"""Exact comparison of integers: parses nothing, so it is safe anywhere."""

import re

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tasks.boxed import last_boxed

_DIGITS = r"(?:[1-9]\d{0,2}(?:,\d{3})+(?![\d,])|\d+)"
_INTEGER = re.compile(rf"([+-]?)\s*({_DIGITS})(?:\.0*)?", re.ASCII)
# A sign directly behind a digit or a word is a dash: `3-5`.
_IN_TEXT = re.compile(
  rf"\\[dt]?frac\s*\{{[^{{}}]*\}}\s*\{{[^{{}}]*\}}"
  rf"|(?:(?<![\w)}}])[+-]\s?)?{_DIGITS}(?:\.\d+)?(?:\s*/\s*\d+)?",
  re.ASCII,
)
_LOOKS = re.compile(r"\\[()\[\],!;: ]|\$|~|[{}](?=,)|(?<=,)[{}]")
_MINUS = str.maketrans("−–﹣－", "----")


def verify(problem: Problem, response: str) -> float:
  """Returns 1.0 if the last complete box holds the answer's integer alone.

  Leading zeros, a sign, thousands' commas, `$` and `.0` are harmless.

  Args:
    problem: its answer is the integer.
    response: one without a complete box scores 0.
  """
  boxed = last_boxed(response)
  if boxed is None:
    return 0.0
  return float(_canonical(boxed) == _canonical(problem.answer) is not None)


def verify_last(problem: Problem, response: str) -> float:
  """Returns 1.0 if the last number of the response is the answer's integer.

  For models too small to put it in a box. A fraction or a decimal counts as
  one number.

  Args:
    problem: its answer is the integer.
    response: one without a number scores 0.
  """
  numbers = _IN_TEXT.findall(_plain(response))
  return float(
    bool(numbers)
    and _canonical(numbers[-1]) == _canonical(problem.answer) is not None
  )


def gradable(reference: str) -> str | None:
  """Returns why no answer can equal a reference; None where one can."""
  return None if _canonical(reference) else "it is no integer"


def _plain(text: str) -> str:
  return _LOOKS.sub("", text.translate(_MINUS))


def _canonical(text: str) -> str | None:
  """Returns sign and digits without leading zeros: text of any length."""
  match = _INTEGER.fullmatch(_plain(text).strip().strip("{}"))
  if match is None:
    return None
  sign, digits = match.groups()
  digits = digits.replace(",", "").lstrip("0") or "0"
  return ("-" if sign == "-" and digits != "0" else "") + digits
