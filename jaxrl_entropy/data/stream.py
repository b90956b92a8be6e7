"""An endless stream of training problems that all processes share."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

import grain

from jaxrl_entropy.data.task import Problem, Task


class PromptStream:
  """Training problems in one shuffled order, the same for all processes.

  All processes take the same number of problems at a time: together the next
  window of the global order, each one block of it. The position counts problems
  of that order, so a run may resume on another number of processes and continue
  with exactly the problems that were not taken yet. A thread reads the next
  window ahead.

  Args:
    task: whose training problems are read.
    seed: of the order.
    process_index: of this process.
    process_count: number of processes.

  Raises:
    ValueError: the task has no training problems.
  """

  def __init__(
    self,
    task: Task,
    seed: int = 0,
    process_index: int = 0,
    process_count: int = 1,
  ):
    if task.size("train") < 1:
      raise ValueError("the task has no training problems")
    order = source(task, "train").seed(seed)
    if not getattr(task, "shuffled", False):
      order = order.shuffle()
    self._order = order.repeat()
    self._process = process_index, process_count
    self._next = 0
    self._thread = ThreadPoolExecutor(1, "prompts")
    self._ahead: dict[range, Future[list[Problem]]] = {}

  def take(self, count: int) -> list[Problem]:
    """Returns the next `count` problems of this process.

    Args:
      count: problems for this process, the same number on every process.
    """
    block = self._block(count)
    ready = self._ahead.pop(block, None)
    self._next += self._process[1] * count
    following = self._block(count)
    problems = ready.result() if ready else self._read(block)
    self._ahead = {following: self._thread.submit(self._read, following)}
    return problems

  def position(self) -> dict[str, int]:
    """Returns the position for a checkpoint, the same on every process."""
    return {"next": self._next}

  def restore(self, position: dict[str, int]) -> None:
    """Continues from a position that `position` returned."""
    self._next = int(position["next"])

  def _block(self, count: int) -> range:
    start = self._next + self._process[0] * count
    return range(start, start + count)

  def _read(self, block: range) -> list[Problem]:
    return [self._order[i] for i in block]


class _Split:
  """A split of a task as a random-access source for grain."""

  def __init__(self, task: Task, split: str):
    self._task, self._split = task, split

  def __len__(self) -> int:
    return self._task.size(self._split)

  def __getitem__(self, index: int) -> Problem:
    return self._task.problem(self._split, index)


def source(task: Task, split: str) -> grain.MapDataset:
  """Returns a split of a task as a grain dataset, in its own order.

  Args:
    task: whose problems are read, each when it is asked for.
    split: "train" or "test".
  """
  return grain.MapDataset.source(cast(Any, _Split(task, split)))
