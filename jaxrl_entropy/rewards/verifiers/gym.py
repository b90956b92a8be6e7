"""Scores answers of reasoning-gym tasks by their own rules, in the sandbox."""

from functools import lru_cache
import json
import re
from typing import Any

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tasks import gym
from jaxrl_entropy.rewards.verifiers.extract import last_tagged

_FULL_MARKS = 1.0 - 1e-6

# Some data sets evaluate an answer as Python, in the process that reports its
# score. An answer without calls cannot report one itself.
_CALL = re.compile(r"""__|[\w\])}'"\\]\s*\(|\#.*\(""", re.DOTALL)
_FUNCTION = re.compile(
  r"\b(?:a?(?:sin|cos|tan)h?|exp|log|sqrt|erfi?|Integral)\("
)
# Sympy evaluates texts, and a name that the answer binds may be any function.
_OPAQUE = re.compile(r"""\b(?:for|lambda)\b|:=|['"]""")


def verify(problem: Problem, response: str) -> float:
  """Returns 1.0 for a full score, else 0.0: garbage may score up to 0.25.

  Args:
    problem: its `extra` has the data set's name, seed and settings, and the
      index.
    response: one without `<answer>`, or whose answer calls functions, scores 0.
  """
  answer = last_tagged(response)
  if answer is None or calls(answer):
    return 0.0
  made = problem.extra
  data = _dataset(made["name"], made["seed"], json.dumps(made["settings"]))
  score = data.score_answer(answer, data[made["index"]])
  return float(score >= _FULL_MARKS)


def calls(answer: str) -> bool:
  """Returns whether an answer would call more than functions of numbers."""
  unnamed = answer if _OPAQUE.search(answer) else _FUNCTION.sub("+(", answer)
  return _CALL.search(unnamed) is not None


def warm_up() -> None:
  """Imports reasoning-gym before the server forks."""
  gym.make("chain_sum", 0, {})


@lru_cache
def _dataset(name: str, seed: int, settings: str) -> Any:
  return gym.make(name, seed, json.loads(settings))
