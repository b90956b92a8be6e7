"""Exact match of an answer as text."""

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tasks.boxed import last_boxed
from jaxrl_entropy.rewards.verifiers.extract import last_tagged


def verify(problem: Problem, response: str) -> float:
  """Returns 1.0 if the last complete box holds the answer, spaces aside.

  Args:
    problem: its answer is compared word by word.
    response: one without a complete box scores 0.
  """
  boxed = last_boxed(response)
  if boxed is None:
    return 0.0
  return float(boxed.split() == problem.answer.split())


def verify_tagged(problem: Problem, response: str) -> float:
  """Returns 1.0 if the last `<answer>` holds the answer, else 0.0.

  Space around it does not count.

  Args:
    problem: its answer is compared as text.
    response: one without a complete tag scores 0.
  """
  return float(last_tagged(response) == problem.answer.strip())


def gradable(reference: str) -> str | None:
  """Returns why no answer can equal a reference; None where one can."""
  return None if reference.strip() else "it is empty"
