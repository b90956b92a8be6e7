"""Exact match of a boxed answer as text."""

from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.rewards.extract import last_boxed


def verify(problem: Problem, response: str) -> float:
  """1.0 if the last complete box holds the answer, spaces aside."""
  boxed = last_boxed(response)
  if boxed is None:
    return 0.0
  return float(boxed.split() == problem.answer.split())
