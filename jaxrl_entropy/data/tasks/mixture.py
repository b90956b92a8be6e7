"""Several tasks as one, in given proportions."""

from collections.abc import Mapping, Sequence
from functools import cached_property
import math
from typing import Any

import grain
import numpy as np

from jaxrl_entropy.data.stream import source
from jaxrl_entropy.data.task import Demonstration, Problem, Task, resolve
from jaxrl_entropy.data.tasks.listed import Render, fit, fixed


def mixture(
  tasks: Sequence[Mapping[str, Any]], test: int = 256, seed: int = 0
) -> "Mixture":
  """Returns a mixture of tasks by their names.

  Args:
    tasks: `name`, `args` and `weight` (default 1) of each.
    test: test problems of each task, as far as it has them.
    seed: of the order.

  Raises:
    ValueError: a task has no name, another field, or a weight that is not
      above 0.
  """
  if not tasks:
    raise ValueError("a mixture needs tasks")
  weights = [_weight(task) for task in tasks]
  resolved = [resolve(task["name"], task.get("args")) for task in tasks]
  return Mixture(resolved, weights, test, seed)


def _weight(task: Mapping[str, Any]) -> float:
  """Returns the weight of a task whose fields are valid."""
  if "name" not in task or not set(task) <= {"name", "args", "weight"}:
    raise ValueError(
      f"a task of a mixture has name, args and weight, not {sorted(task)}"
    )
  weight = task.get("weight", 1)
  if not isinstance(weight, int | float) or not 0 < weight < math.inf:
    raise ValueError(
      f"the weight of {task['name']!r} is {weight!r}, not a number above 0"
    )
  return float(weight)


class Mixture:
  """Training problems of several tasks by weight, and test problems of each.

  Every task is shuffled and repeated on its own, so that a small one does not
  run out before a large one.

  Args:
    tasks: to mix; with more than one, their prompts are text.
    weights: of the tasks in the training split.
    test: test problems of each task, as far as it has them.
    seed: of the order.
  """

  shuffled = True

  def __init__(
    self, tasks: Sequence[Task], weights: list[float], test: int, seed: int
  ):
    self.tokenizer = tasks[0].tokenizer
    if len(tasks) > 1 and any(task.tokenizer for task in tasks):
      raise ValueError("only tasks whose prompts are text can be mixed")
    self._tasks, self._weights = tasks, weights
    self._held_out, self._seed = test, seed

  @cached_property
  def _test(self) -> list[tuple[Task, int]]:
    """The task of each test problem, and its index there."""
    return [
      (task, i)
      for task in self._tasks
      for i in range(min(self._held_out, task.size("test")))
    ]

  @cached_property
  def _train(self) -> grain.MapDataset:
    return grain.MapDataset.mix(
      [
        source(task, "train").seed(self._seed + i).shuffle().repeat()
        for i, task in enumerate(self._tasks)
      ],
      weights=self._weights,
    )

  def fixed(self, split: str) -> list[Sequence[Problem]]:
    """Returns the lists of the tasks that have a fixed one."""
    return [problems for task in self._tasks for problems in fixed(task, split)]

  def within(self, render: Render, limit: int) -> "Mixture":
    """Returns the mixture of the tasks without their too long prompts.

    Args:
      render: returns the token ids of a problem's prompt.
      limit: longest prompt to keep, tokens.
    """
    tasks = [fit(task, render, limit) for task in self._tasks]
    return Mixture(tasks, self._weights, self._held_out, self._seed)

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
    raise ValueError("a mixture has no demonstrations: set sft.steps to 0")
