"""Rewards of reasoning-gym tasks, by their own scoring. For the sandbox."""

from functools import lru_cache
import json
from typing import Any

from jaxrl_entropy.data import gym
from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.rewards.extract import last_tagged

_FULL_MARKS = 1.0 - 1e-6


def verify(problem: Problem, response: str) -> float:
  """1.0 for full marks, else 0.0: garbage may earn up to 0.25."""
  answer = last_tagged(response)
  if answer is None:
    return 0.0
  made = problem.extra
  data = _dataset(made["name"], made["seed"], json.dumps(made["settings"]))
  score = data.score_answer(answer, data[made["index"]])
  return float(score >= _FULL_MARKS)


def warm_up() -> None:
  """Imports reasoning-gym before the server forks."""
  gym.make("chain_sum", 0, {})


@lru_cache
def _dataset(name: str, seed: int, settings: str) -> Any:
  return gym.make(name, seed, json.loads(settings))
