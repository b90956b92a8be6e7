"""Reference answers of data files as plain text."""

from collections.abc import Mapping
from decimal import Decimal
import json
import math
import re
from typing import Any

# GSM8K ends its working with a line `#### 72`.
_FINAL_LINE = re.compile(r"(?:\A|\n)####([^\n]*)\Z")
# NuminaMath-1.5 has these where a problem has no answer to compare with.
_NO_ANSWER = frozenset(("proof", "notfound"))


class RowError(ValueError):
  """A row that is not a problem; the message says why."""


def answer_text(value: Any) -> str:
  """Returns a reference answer as text.

  Args:
    value: text, a number, or the list of the parts of an answer. Of text that
      ends in GSM8K's `#### 72` that number is returned; JSON text of a list of
      one text, as in Skywork-OR1, stands for that text.

  Raises:
    RowError: the value holds no answer that could be compared.
  """
  if isinstance(value, list | tuple) and value:
    return ", ".join(map(answer_text, value))  # OlympiadBench lists the parts
  if isinstance(value, bool) or not isinstance(value, str | int | float):
    raise RowError(f"the answer is {type(value).__name__}, not text")
  if isinstance(value, float):
    return _decimal(value)
  text = _member(_final_line(str(value).strip()))
  if not text:
    raise RowError("the answer is empty")
  if text.lower() in _NO_ANSWER:
    raise RowError(f"the answer is {text!r}, which nothing can be compared to")
  return text


def _decimal(number: float) -> str:
  """Returns a number without an exponent, which no answer is written with."""
  if not math.isfinite(number):
    raise RowError(f"the answer is {number}")
  return format(Decimal(repr(number)), "f")


def _final_line(text: str) -> str:
  match = _FINAL_LINE.search(text)
  return match[1].replace(",", "").strip() if match else text


def _member(text: str) -> str:
  """Returns the text in JSON text of a list of texts; other text as it is.

  `[1, 2]` is an interval and stays; an object is an error.
  """
  if not text.startswith(("[", "{")):
    return text
  try:
    value = json.loads(text)
  except (ValueError, RecursionError):
    return text
  if isinstance(value, Mapping):
    raise RowError(f"the answer is a JSON object with {sorted(value)}")
  if not value or not all(isinstance(member, str) for member in value):
    return text
  if len(value) > 1:
    raise RowError(f"the answer is a JSON list of {len(value)}, not of one")
  return value[0].strip()
