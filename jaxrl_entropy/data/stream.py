"""The endless stream of training problems, shared by all processes."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

import grain

from jaxrl_entropy.data.task import Problem, Task


class PromptStream:
  """Training problems in a shuffled order that every process agrees on.

  All processes take the same number of problems at a time; together they take
  the next window of one global order, each a block of it. The position counts
  problems of that order, so a run may resume on another number of processes
  and go on with exactly the problems that were not yet taken. The next window
  is read ahead in a thread.
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
    """The next `count` problems of this process."""
    block = self._block(count)
    ready = self._ahead.pop(block, None)
    self._next += self._process[1] * count
    following = self._block(count)
    problems = ready.result() if ready else self._read(block)
    self._ahead = {following: self._thread.submit(self._read, following)}
    return problems

  def position(self) -> dict[str, int]:
    """Where the stream is, for a checkpoint: the same on every process."""
    return {"next": self._next}

  def restore(self, position: dict[str, int]) -> None:
    self._next = int(position["next"])

  def _block(self, count: int) -> range:
    start = self._next + self._process[0] * count
    return range(start, start + count)

  def _read(self, block: range) -> list[Problem]:
    return [self._order[i] for i in block]


class _Split:
  """One split of a task as the random-access source that grain reads."""

  def __init__(self, task: Task, split: str):
    self._task, self._split = task, split

  def __len__(self) -> int:
    return self._task.size(self._split)

  def __getitem__(self, index: int) -> Problem:
    return self._task.problem(self._split, index)


def source(task: Task, split: str) -> grain.MapDataset:
  """A split of a task as a grain dataset, in its own order."""
  return grain.MapDataset.source(cast(Any, _Split(task, split)))
