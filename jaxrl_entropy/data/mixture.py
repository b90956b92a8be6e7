"""Several tasks as one, in given proportions."""

from collections.abc import Mapping, Sequence
from typing import Any

import grain
import numpy as np

from jaxrl_entropy.data.problems import Demonstration, Problem, resolve
from jaxrl_entropy.data.sources import source


class Mixture:
  """Training problems of several tasks, by weight; test problems of each.

  Every task is shuffled and repeated on its own, so that a small one does not
  run out before a large one.

  Args:
    parts: for each task `name`, `args` and `weight` (default 1).
    test: problems of each task in the test split, as far as it has them.
    seed: of the order.
  """

  shuffled = True

  def __init__(
    self, parts: Sequence[Mapping[str, Any]], test: int = 256, seed: int = 0
  ):
    if not parts:
      raise ValueError("a mixture needs parts")
    tasks = [resolve(part["name"], part.get("args")) for part in parts]
    self.tokenizer = tasks[0].tokenizer
    if any(task.tokenizer is not self.tokenizer for task in tasks):
      raise ValueError("only tasks whose prompts are text can be mixed")
    self._test = [
      (task, i) for task in tasks for i in range(min(test, task.size("test")))
    ]
    self._train = grain.MapDataset.mix(
      [
        source(task, "train").seed(seed + i).shuffle().repeat()
        for i, task in enumerate(tasks)
      ],
      weights=[float(part.get("weight", 1)) for part in parts],
    )

  def size(self, split: str) -> int:
    return len(self._test) if split == "test" else 2**31 - 1

  def problem(self, split: str, index: int) -> Problem:
    if split == "train":
      return self._train[index]
    task, own_index = self._test[index]
    return task.problem("test", own_index)

  def demonstrations(
    self, rng: np.random.Generator, count: int, wrong_share: float
  ) -> list[Demonstration]:
    del rng, count, wrong_share
    raise ValueError("a mixture has no demonstrations: set pretrain.steps to 0")
