"""Removes what stands around an answer in a box: introductions and Markdown."""

import re
from typing import NamedTuple

_BOLD = re.compile(r"(?<![\w)}\]])(\*{2,3})(?=\S)([^*]+)(?<=\S)\1(?![\w({\\])")
_QUOTED = re.compile(r"([`\"'])([^`\"']+)\1")
_INTRODUCTION = re.compile(
  r"\s*(?:\\text(?:bf|it|rm)?\s*\{)?\s*(?:(?:the|my|our|so|thus|hence|final)\s+)*"
  r"(?:answer|ans|result|solution)\}?\s*(?:is\b|:|=)+\s*:?[\s~]*(\})?",
  re.IGNORECASE,
)
_UPRIGHT = r"\\(?:text(?:bf|rm)?|mathrm|mathbf|bf|rm)\s*\{?"
_LABELLED = re.compile(
  rf"\s*(?:{_UPRIGHT})?\s*(?:\(([A-J])\)|([A-J])(?:[).:]|\}}\s*:))"
  r"(?:[\s~:}]|\\[ ,;])*(?<![.\w])(?![=+*/^_<>!,]|\\(?:cdot|times|c[au]p))"
  r"(\S.*)",
  re.DOTALL,
)
_AROUND = r"[\s\\$*(){}.:]*"
_LABEL = re.compile(
  rf"{_AROUND}(?:(?:text|math)(?:bf|rm)?)?{_AROUND}([A-J]){_AROUND}"
)
_BETWEEN = re.compile(r"\\(?:text|math)(?:bf|rm)?|and|[\s,;(){}$&.\\]")
_TIME = re.compile(
  r"(?<![\d.:])(1[0-2]|0?[1-9])(?:(?::|\{:\})([0-5]\d))?((?:\s|~|\\[ ,;])*"
  r"(\\(?:text|mathrm)\s*\{)?[\s~]*)([ap])(\.?)\s?m\6"
  r"(?![A-Za-z])(?(4)\s*\})",
  re.IGNORECASE,
)
_HOUR = re.compile(
  r"(?:\\text\{)?\s*(?:(?:12\s*)?(noon|midnight)|0(\d:[0-5]\d))\s*\}?",
  re.IGNORECASE,
)
_NAMED_HOURS = {"noon": "12:00", "midnight": "0:00"}
_CHOSEN = re.compile(
  r"(?<![\w)}])(?:\{\s*\})?\s*[_^]\s*(?:\{(\w+)\}|(\w))\s*"
  r"(?:\\(?:mathrm|text)\s*\{)?([CP])\}?\s*_\s*(?:\{(\w+)\}|(\w))",
  re.ASCII,
)


class Choice(NamedTuple):
  r"""A labeled choice: `\textbf{(C) } 12`.

  Attributes:
    label: the letter, "A" to "J".
    answer: the text behind it.
  """

  label: str
  answer: str


def labeled(text: str) -> Choice | None:
  r"""Returns the label and the answer of a choice; None for other answers.

  As `\textbf{(C) } 12`, `\text{C) 12}`, `(C) 12` and `C. 12`.
  """
  match = _LABELLED.fullmatch(text)
  if match is None or is_label(text):
    return None
  answer = match[3]
  if answer.count("}") > answer.count("{"):
    answer = answer.rstrip().removesuffix("}")
  return Choice(match[1] or match[2], answer)


def unlabeled(gold: str, answer: str) -> tuple[str, str]:
  """Returns the labels of both, or else what stands behind them.

  Args:
    gold: the reference, with a label or not.
    answer: the answer, with a label or not.
  """
  if "," in gold + answer and (chosen := _choices(gold)):
    return chosen, _choices(answer) or answer
  if (letter := _LABEL.fullmatch(gold)) and (other := _LABEL.fullmatch(answer)):
    return letter[1], other[1]
  wanted, actual = labeled(gold), labeled(answer)
  if wanted and actual and wanted.label != actual.label:
    return wanted.label, actual.label
  if wanted:
    gold = wanted.label if is_label(answer) else wanted.answer
  if actual:
    answer = actual.label if is_label(gold) else actual.answer
  return gold, answer


def _choices(text: str) -> str:
  """Returns several letters in order: `A, C` as `AC`; nothing for others."""
  letters = _BETWEEN.sub("", text)
  several = len(letters) > 1 and set(letters) <= set("ABCDEFGHIJ")
  return "".join(sorted(letters)) if several else ""


def is_label(text: str) -> bool:
  r"""Returns whether this is the label of a choice alone: `\text{(C)}`."""
  return _LABEL.fullmatch(text) is not None


def bare(text: str) -> str:
  """Returns an answer without Markdown or `Answer:`; times in 24 hours."""
  text = _TIME.sub(_in_24_hours, text.strip())
  if hour := _HOUR.fullmatch(text):
    text = hour[2] or _NAMED_HOURS[hour[1].lower()]
  text = _CHOSEN.sub(_chosen, text)
  text = _BOLD.sub(r"\2", text)
  if match := _QUOTED.fullmatch(text):
    text = match[2]
  match = _INTRODUCTION.match(text)
  if match is None:
    return text
  rest = text[match.end() :]
  opened = match[0].count("{") > match[0].count("}")
  return rest.replace("}", "", 1) if opened else rest


def _chosen(match: re.Match[str]) -> str:
  r"""`\binom{7}{3}` for `{}_7C_3`, `3! \cdot \binom{7}{3}` for `{}_7P_3`."""
  n, k = match[1] or match[2], match[4] or match[5]
  orders = rf"{k}! \cdot " if match[3] == "P" else ""
  return rf"{orders}\binom{{{n}}}{{{k}}}"


def _in_24_hours(match: re.Match[str]) -> str:
  r"""`15:45` for `3:45 \text{ p.m.}`; `7am` may be a product."""
  hour, minute, gap, _, half, dot = match.groups()
  if not (minute or gap or dot):
    return match[0]
  afternoon = 12 * (half.lower() == "p")
  return f"{int(hour) % 12 + afternoon}:{minute or '00'}"
