"""Removes what stands around an answer in a box: introductions and Markdown."""

import re

_BOLD = re.compile(r"\*\*(.+)\*\*", re.DOTALL)
_INTRODUCTION = re.compile(
  r"\s*(?:\\text(?:bf|it|rm)?\s*\{)?\s*(?:(?:the|my|our|so|thus|hence|final)\s+)*"
  r"(?:answer|result|solution)\s*(?:is\b|:|=)+\s*:?[\s~]*(\})?",
  re.IGNORECASE,
)


def bare(text: str) -> str:
  """Returns an answer without `**` around it or `Answer:` in front of it."""
  text = text.strip()
  if text.startswith("**") and (match := _BOLD.fullmatch(text)):
    text = match[1]
  match = _INTRODUCTION.match(text)
  if match is None:
    return text
  rest = text[match.end() :]
  opened = match[0].count("{") > match[0].count("}")
  return rest.replace("}", "", 1) if opened else rest
