"""The endless stream of training problems, shared by all processes."""

from typing import Any, cast

import grain

from jaxrl_entropy.data.problems import Problem, Task


class PromptStream:
  """Training problems in a shuffled order that every process agrees on.

  All processes take the same number of problems at a time; together they take
  the next window of one global order. The position counts problems of that
  order, so a run may resume on another number of processes and go on with
  exactly the problems that were not yet taken.
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
    self._problems = (
      grain.MapDataset.source(cast(Any, _TrainSplit(task)))
      .seed(seed)
      .shuffle()
      .repeat()
    )
    self._process = process_index, process_count
    self._next = 0

  def take(self, count: int) -> list[Problem]:
    """The next `count` problems of this process."""
    index, processes = self._process
    start = self._next + index * count
    self._next += processes * count
    return [self._problems[i] for i in range(start, start + count)]

  def position(self) -> dict[str, int]:
    """Where the stream is, for a checkpoint: the same on every process."""
    return {"next": self._next}

  def restore(self, position: dict[str, int]) -> None:
    self._next = int(position["next"])


class _TrainSplit:
  """A task's training split as the random-access source that grain reads."""

  def __init__(self, task: Task):
    self._task = task

  def __len__(self) -> int:
    return self._task.size("train")

  def __getitem__(self, index: int) -> Problem:
    return self._task.problem("train", index)
