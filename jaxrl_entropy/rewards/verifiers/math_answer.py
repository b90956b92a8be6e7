"""Rewards for mathematical answers in a box."""

import re

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tasks.boxed import last_boxed
from jaxrl_entropy.rewards.verifiers.maths import compare
from jaxrl_entropy.rewards.verifiers.maths.leaves import (
  Proportional,
  Rules,
  Symbolic,
)
from jaxrl_entropy.rewards.verifiers.maths.lexer import Tokens, UnreadableError
from jaxrl_entropy.rewards.verifiers.maths.tree import count_words, parse

MAX_WORDS = 6  # of a reference that is no sentence

_BOX = re.compile(r"\\(?:boxed|fbox)(?=\s*\{)")
_LOOKS = re.compile(r"\s|\$|\\[,;:!> ]|\\(?:left|right)(?![A-Za-z])|\\(?=%)")
_FRACTION = re.compile(
  r"\\[dtc]?frac(?:(\d)|\{(\d+)\})(?:(\d)|\{(\d+)\})", re.ASCII
)


_BEFORE = re.compile(r"[\d.]")
_BEHIND = re.compile(r"\.?\d")


class UndecidedError(Exception):
  """Only computer algebra can tell."""


def decide(problem: Problem, response: str) -> float | None:
  """Returns `reward` where plain comparison can tell; else None.

  Evaluates nothing, so it is safe anywhere.

  Args:
    problem: its answer may itself be in a box.
    response: one without a complete box scores 0.
  """
  try:
    return reward(problem, response, _undecided, _undecided)
  except UndecidedError:
    return None


def decide_equal(problem: Problem, response: str) -> float | None:
  """Returns `reward_equal` where plain comparison can tell; else None.

  Evaluates nothing, so it is safe anywhere.

  Args:
    problem: its answer may itself be in a box.
    response: one without a complete box scores 0.
  """
  try:
    return reward_equal(problem, response, _undecided, _undecided)
  except UndecidedError:
    return None


def _undecided(gold: object, answer: object) -> bool:
  raise UndecidedError


def reward(
  problem: Problem,
  response: str,
  symbolic: Symbolic,
  proportional: Proportional,
) -> float:
  """Returns 1.0 if the last complete box has the worked-out answer, else 0.0.

  Args:
    problem: its answer may itself be in a box.
    response: one without a complete box scores 0.
    symbolic: decides on two expressions that are no literal numbers.
    proportional: decides whether two equations are multiples of each other.
  """
  asked = _squeeze(problem.prompt)

  def restates(tokens: Tokens) -> bool:
    formula = _squeeze(" ".join(map(str, tokens)))
    return not formula.isdigit() and _contains(asked, formula)

  return _compare(problem, response, Rules(symbolic, proportional, restates))


def reward_equal(
  problem: Problem,
  response: str,
  symbolic: Symbolic,
  proportional: Proportional,
) -> float:
  """Returns 1.0 if the last complete box has an equal answer, else 0.0.

  An answer that is not worked out counts as well.

  Args:
    problem: its answer may itself be in a box.
    response: one without a complete box scores 0.
    symbolic: decides on two expressions that are no literal numbers.
    proportional: decides whether two equations are multiples of each other.
  """
  rules = Rules(symbolic, proportional, strict=False)
  return _compare(problem, response, rules)


def gradable(reference: str) -> str | None:
  """Returns why only its own text can equal a reference; None otherwise.

  Cheap: parses the reference and evaluates nothing.
  """
  gold = last_boxed(reference) or reference
  if not gold.strip():
    return "it is empty"
  try:
    words = count_words(parse(gold))
  except UnreadableError as error:
    return f"it is no mathematical notation: {error}"
  if words > MAX_WORDS:
    return f"it is a text of {words} words, which only the same words equal"
  return None


def _compare(problem: Problem, response: str, rules: Rules) -> float:
  boxed = last_boxed(response)
  if boxed is None:
    return 0.0
  boxed = _BOX.sub("", boxed)  # a box in a box leaves its braces
  gold = last_boxed(problem.answer) or problem.answer
  return float(compare.equal(gold, boxed, rules))


def _contains(text: str, formula: str) -> bool:
  """Whether a formula stands in a text, and not as part of a number."""
  start = text.find(formula)
  while start >= 0:
    if not _BEFORE.search(text[:start][-1:]) and not _BEHIND.match(
      text, start + len(formula)
    ):
      return True
    start = text.find(formula, start + 1)
  return False


def _squeeze(text: str) -> str:
  """Returns a text without spaces, in one spelling of fractions."""
  text = _LOOKS.sub("", text)
  return _FRACTION.sub(r"\1\2/\3\4", text)
