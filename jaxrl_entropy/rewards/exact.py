"""Exact match of an answer as text."""

from jaxrl_entropy.data.boxed import last_boxed
from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.rewards.extract import last_tagged


def verify(problem: Problem, response: str) -> float:
  """1.0 if the last complete box holds the answer, spaces aside."""
  boxed = last_boxed(response)
  if boxed is None:
    return 0.0
  return float(boxed.split() == problem.answer.split())


def verify_tagged(problem: Problem, response: str) -> float:
  """1.0 if the last `<answer>` holds the answer, space around it aside."""
  return float(last_tagged(response) == problem.answer.strip())
