"""Tasks with a fixed list of problems whose prompts are text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
import warnings

import numpy as np

from jaxrl_entropy.data.table import Chosen, brief, question_hash
from jaxrl_entropy.data.task import Demonstration, Problem, Task
from jaxrl_entropy.data.tokenizers import Tokenizer

Render = Callable[[Problem], Sequence[int]]
"""Returns the token ids of a problem's prompt, chat template included."""

FIRST = 16
"""Problems that `some` takes of a split in its own order."""


class OnUse(Mapping[str, Sequence[Problem]]):
  """Splits that are loaded when they are first asked for.

  `evaluate` and `generate` so never read training problems.
  """

  def __init__(self, loaders: Mapping[str, Callable[[], Sequence[Problem]]]):
    self._loaders = {name: cache(load) for name, load in loaders.items()}

  def __getitem__(self, split: str) -> Sequence[Problem]:
    return self._loaders[split]()

  def __iter__(self) -> Iterator[str]:
    return iter(self._loaders)

  def __len__(self) -> int:
    return len(self._loaders)


class Listed:
  """A task made of one sequence of problems for each split."""

  tokenizer: Tokenizer | None = None

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
      "sft.steps at 0"
    )

  def fixed(self, split: str) -> list[Sequence[Problem]]:
    """Returns the one list of a split's problems."""
    return [self._splits[split]]

  def within(self, render: Render, limit: int) -> "Listed":
    """Returns this task without the prompts of more than `limit` tokens.

    Args:
      render: called at most once for each problem, when its split is used.
      limit: tokens.
    """

    def load(split: str) -> Sequence[Problem]:
      return _within(self._splits[split], render, limit, split)

    return Listed(OnUse({name: partial(load, name) for name in self._splits}))


def fit(task: Task, render: Render, limit: int) -> Task:
  """Returns a task without too long prompts, where it has a fixed list.

  Args:
    task: any task; one whose problems are generated is returned as it is.
    render: returns the token ids of a problem's prompt.
    limit: longest prompt to keep, tokens.
  """
  within = getattr(task, "within", None)
  return within(render, limit) if within else task


def fixed(task: Task, split: str) -> list[Sequence[Problem]]:
  """Returns a task's lists of problems; none where they are without end.

  Args:
    task: any task.
    split: "train" or "test".
  """
  lists = getattr(task, "fixed", None)
  return lists(split) if lists else []


def some(task: Task, split: str, count: int) -> Iterator[Problem]:
  """Yields problems of every kind that a split has, without their tests.

  Args:
    task: to take them from.
    split: "train" or "test".
    count: of each fixed list, at equal distances. Generated problems, of which
      a task has few kinds, are the first `FIRST`.
  """
  for problems in fixed(task, split):
    step = -(-len(problems) // count) or 1
    yield from (brief(problems, i) for i in range(0, len(problems), step))
  for index in range(min(task.size(split), FIRST)):
    yield task.problem(split, index)


def hold_out(
  problems: Sequence[Problem], questions: np.ndarray, test_size: int
) -> dict[str, Sequence[Problem]]:
  """Splits problems by question: all that ask the same are on one side.

  Args:
    problems: to split.
    questions: `question_hash` of each; the least ones are held out.
    test_size: questions to hold out, at most half of them.

  Returns:
    The problems of "train" and "test", in their order.
  """
  different = np.unique(questions)
  held_out = different[: min(test_size, len(different) // 2)]
  is_test = np.isin(questions, held_out)
  return {
    "train": Chosen(problems, np.flatnonzero(~is_test)),
    "test": Chosen(problems, np.flatnonzero(is_test)),
  }


def hashes(problems: Sequence[Problem]) -> np.ndarray:
  """Returns the `question_hash` of each problem, uint64."""
  return np.array([question_hash(p) for p in problems], np.uint64)


def _within(
  problems: Sequence[Problem], render: Render, limit: int, split: str
) -> Sequence[Problem]:
  """Returns the problems whose prompts fit; warns how many do not.

  Raises ValueError if none does.

  A token stands for at least one byte, so that a prompt with fewer bytes than
  `limit`, less what the template adds, fits without being tokenized.
  """
  template: dict[str, int] = {}

  def fits(problem: Problem) -> bool:
    if problem.system not in template:
      bare = Problem("", "", "", "", "", system=problem.system)
      template[problem.system] = len(render(bare))
    room = limit - template[problem.system]
    return len(problem.prompt.encode()) <= room or len(render(problem)) <= limit

  positions = np.flatnonzero(
    [fits(brief(problems, i)) for i in range(len(problems))]
  )
  dropped = len(problems) - len(positions)
  if dropped and not len(positions):
    raise ValueError(
      f"all {dropped} {split} prompts are longer than {limit} tokens: raise "
      "rollout.max_prompt_length"
    )
  if dropped:
    warnings.warn(
      f"{dropped} of {len(problems)} {split} prompts are longer than "
      f"{limit} tokens and are left out",
      stacklevel=2,
    )
  return Chosen(problems, positions) if dropped else problems
