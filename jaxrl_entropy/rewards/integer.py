"""Exact comparison of a boxed integer: parses nothing, so it is safe."""

import re

from jaxrl_entropy.data.boxed import last_boxed
from jaxrl_entropy.data.problems import Problem

_INTEGER = re.compile(
  r"\s*([+-]?)\s*(\d+|[1-9]\d{0,2}(?:,\d{3})+)\s*", re.ASCII
)

_IN_TEXT = re.compile(r"[+-]?\d+", re.ASCII)


def verify(problem: Problem, response: str) -> float:
  """1.0 if the last complete box holds the answer's integer and nothing else.

  Leading zeros, a sign and thousands' commas are harmless.
  """
  boxed = last_boxed(response)
  if boxed is None:
    return 0.0
  return float(_canonical(boxed) == _canonical(problem.answer) is not None)


def verify_last(problem: Problem, response: str) -> float:
  """1.0 if the last integer of the response is the answer's.

  For models too small to put it in a box.
  """
  found = _IN_TEXT.findall(response)
  return float(
    bool(found) and _canonical(found[-1]) == _canonical(problem.answer)
  )


def _canonical(text: str) -> str | None:
  """Sign and digits without leading zeros, compared as text: any length."""
  match = _INTEGER.fullmatch(text)
  if match is None:
    return None
  sign, digits = match.groups()
  digits = digits.replace(",", "").lstrip("0") or "0"
  return ("-" if sign == "-" and digits != "0" else "") + digits
