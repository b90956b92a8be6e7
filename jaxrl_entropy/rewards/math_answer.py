"""Rewards for mathematical answers in a box."""

import re

from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.rewards.extract import last_boxed
from jaxrl_entropy.rewards.maths import compare


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
  boxed = last_boxed(boxed) or boxed  # a box in a box
  gold = last_boxed(problem.answer) or problem.answer

  def algebra(wanted: compare.Tokens, given: compare.Tokens) -> bool:
    return not _restates(problem.prompt, boxed) and symbolic(wanted, given)

  return float(compare.equal(gold, boxed, algebra))


def _restates(prompt: str, answer: str) -> bool:
  """Whether the answer is a formula that the question itself has."""
  return _squeeze(answer) in _squeeze(prompt)


def _squeeze(text: str) -> str:
  return re.sub(r"\s|\$|\\[,;:! ]|\\(?:left|right)(?![A-Za-z])", "", text)
