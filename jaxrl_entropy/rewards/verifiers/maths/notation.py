"""Removes what stands around an answer in a box: introductions and Markdown."""

import re
from typing import NamedTuple

_BOLD = re.compile(r"\*\*(.+)\*\*", re.DOTALL)
_INTRODUCTION = re.compile(
  r"\s*(?:\\text(?:bf|it|rm)?\s*\{)?\s*(?:(?:the|my|our|so|thus|hence|final)\s+)*"
  r"(?:answer|ans|result|solution)\}?\s*(?:is\b|:|=)+\s*:?[\s~]*(\})?",
  re.IGNORECASE,
)


_LABELLED = re.compile(
  r"\s*\\(?:text(?:bf|rm)?|mathrm|mathbf)\s*\{\s*\(([A-H])\)[\s~:\\]*\}(.*\S.*)",
  re.DOTALL,
)
_LABEL = re.compile(r"\W*(?:text(?:bf|rm)?|mathrm)?\W*[A-H]\W*")
_HALF_DAY = re.compile(r"(?<![A-Za-z])([ap])\.?\s?m(?:\.|(?![A-Za-z]))", re.I)


class Choice(NamedTuple):
  r"""A labeled choice: `\textbf{(C) } 12`.

  Attributes:
    label: the letter, "A" to "H".
    answer: the text behind it.
  """

  label: str
  answer: str


def labeled(text: str) -> Choice | None:
  """Returns the label and the answer of a choice; None for other answers."""
  match = _LABELLED.fullmatch(text)
  return Choice(*match.groups()) if match else None


def is_label(text: str) -> bool:
  r"""Returns whether this is the label of a choice alone: `\text{(C)}`."""
  return _LABEL.fullmatch(text) is not None


def bare(text: str) -> str:
  """Returns an answer without `**` around it or `Answer:` in front of it."""
  text = text.strip()
  if ":" in text:
    text = _HALF_DAY.sub(lambda match: match[1].lower() + "m", text)
  if text.startswith("**") and (match := _BOLD.fullmatch(text)):
    text = match[1]
  match = _INTRODUCTION.match(text)
  if match is None:
    return text
  rest = text[match.end() :]
  opened = match[0].count("{") > match[0].count("}")
  return rest.replace("}", "", 1) if opened else rest
