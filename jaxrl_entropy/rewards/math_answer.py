"""Rewards for mathematical answers in a box."""

import re

from jaxrl_entropy.data.boxed import last_boxed
from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.rewards.maths import compare

_BOX = re.compile(r"\\(?:boxed|fbox)(?=\s*\{)")
_LOOKS = re.compile(r"\s|\$|\\[,;:!> ]|\\(?:left|right)(?![A-Za-z])|\\(?=%)")
_FRACTION = re.compile(
  r"\\[dtc]?frac(?:(\d)|\{(\d+)\})(?:(\d)|\{(\d+)\})", re.ASCII
)


class UndecidedError(Exception):
  """Only computer algebra can tell."""


def decide(problem: Problem, response: str) -> float | None:
  """As `reward`, where plain comparison can tell; else None. Safe anywhere."""
  try:
    return reward(problem, response, _undecided)
  except UndecidedError:
    return None


def _undecided(gold: compare.Tokens, answer: compare.Tokens) -> bool:
  raise UndecidedError


def reward(
  problem: Problem, response: str, symbolic: compare.Symbolic
) -> float:
  """1.0 if the last complete box equals the reference answer, else 0.0.

  Args:
    problem: its answer may itself be in a box.
    response: one without a complete box scores 0.
    symbolic: decides on two expressions that are no literal numbers.
  """
  boxed = last_boxed(response)
  if boxed is None:
    return 0.0
  boxed = _BOX.sub("", boxed)  # a box in a box leaves its braces
  gold = last_boxed(problem.answer) or problem.answer
  asked = _squeeze(problem.prompt)

  def restates(given: compare.Tokens) -> bool:
    formula = _squeeze(" ".join(map(str, given)))
    return not formula.isdigit() and _contains(asked, formula)

  return float(compare.equal(gold, boxed, symbolic, restates))


def _contains(text: str, formula: str) -> bool:
  """Whether a formula stands in a text, and not as part of a number."""
  start, end = r"(?<![\d.])", r"(?!\.?\d)"
  return re.search(start + re.escape(formula) + end, text) is not None


def _squeeze(text: str) -> str:
  """A text without spaces, in one spelling of fractions."""
  text = _LOOKS.sub("", text)
  return _FRACTION.sub(r"\1\2/\3\4", text)
