"""Tasks with a fixed list of problems whose prompts are text."""

from collections.abc import Mapping, Sequence
import warnings
import zlib

import numpy as np

from jaxrl_entropy.data.problems import Demonstration, Problem, Task
from jaxrl_entropy.data.tokenizers import Tokenizer


class Listed:
  """A task made of one sequence of problems for each split."""

  tokenizer = None

  def __init__(self, splits: Mapping[str, Sequence[Problem]]):
    self._splits = splits

  def size(self, split: str) -> int:
    return len(self._splits[split])

  def problem(self, split: str, index: int) -> Problem:
    return self._splits[split][index]

  def demonstrations(
    self, rng: np.random.Generator, count: int, wrong_share: float
  ) -> list[Demonstration]:
    del rng, count, wrong_share
    raise ValueError(
      "this task has no demonstrations: start from trained weights, with "
      "pretrain.steps at 0"
    )

  def within(self, tokenizer: Tokenizer, limit: int) -> "Listed":
    """This task without the prompts of more than `limit` tokens.

    Warns how many those are.
    """
    kept = {
      split: [p for p in problems if len(tokenizer.render(p.prompt)) <= limit]
      for split, problems in self._splits.items()
    }
    for split, problems in self._splits.items():
      dropped = len(problems) - len(kept[split])
      if dropped:
        warnings.warn(
          f"{dropped} of {len(problems)} {split} prompts are longer than "
          f"{limit} tokens and are left out",
          stacklevel=2,
        )
    return Listed(kept)


def fit(task: Task, tokenizer: Tokenizer, limit: int) -> Task:
  """A task without too long prompts, where it has a list to choose from."""
  within = getattr(task, "within", None)
  return within(tokenizer, limit) if within else task


def hold_out(
  problems: Sequence[Problem], test_size: int
) -> dict[str, list[Problem]]:
  """The problems in two splits; the choice depends on nothing but prompts."""
  order = sorted(problems, key=lambda p: zlib.crc32(p.prompt.encode()))
  count = min(test_size, len(order) // 2)
  chosen = {problem.prompt for problem in order[:count]}
  return {
    "train": [p for p in problems if p.prompt not in chosen],
    "test": [p for p in problems if p.prompt in chosen],
  }
