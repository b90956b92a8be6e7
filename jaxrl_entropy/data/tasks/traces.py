"""Reasoning traces in files of the user's, to imitate."""

import numpy as np

from jaxrl_entropy.data import files, reading
from jaxrl_entropy.data.table import Chosen
from jaxrl_entropy.data.task import Demonstration
from jaxrl_entropy.data.tasks.listed import Listed
from jaxrl_entropy.data.traces import RESPONSE, to_trace


class Traces(Listed):
  """Questions with a response each, read at first use.

  Args:
    path: of the training traces: a file, a pattern or several with commas.
    test_path: of the traces that the loss is measured on. Without it, those of
      `test_size` questions in `path` are held out.
    test_size: how many.
    instruction: put after each question that does not ask for a box.
    verifier: of the questions that have a reference answer.
    only_correct: whether rows with `correct` false are left out.
    per_question: traces kept for each question, the first ones; 0: all.
    max_bad: share of bad rows above which the run stops.
  """

  def __init__(
    self,
    path: str,
    test_path: str = "",
    test_size: int = 64,
    instruction: str = "",
    verifier: str = "math",
    only_correct: bool = True,
    per_question: int = 0,
    max_bad: float = 0.01,
  ):
    settings = {
      "instruction": instruction,
      "verifier": verifier,
      "only_correct": only_correct,
    }

    def read(where: str) -> tuple[Chosen, np.ndarray]:
      table = files.read_table(reading.expand(where), settings, to_trace)
      files.checked(table, max_bad, where)
      kept = first_of_each(table.questions, per_question or len(table))
      return Chosen(table, kept), table.questions[kept]

    super().__init__(files.splits(path, test_path, test_size, read))

  def demonstration(self, split: str, index: int) -> Demonstration:
    """Returns the question at an index with its response.

    Args:
      split: "train" or "test".
      index: below `size(split)`.
    """
    problem = self.problem(split, index)
    return problem, problem.extra[RESPONSE]


def first_of_each(keys: np.ndarray, count: int) -> np.ndarray:
  """Returns the positions of the first `count` of all that have equal keys.

  Args:
    keys: of each item, such as the hash of its question, [n].
    count: items to keep of each key.

  Returns:
    Positions of the kept items in increasing order, int64.
  """
  order = np.argsort(keys, kind="stable")
  _, starts, sizes = np.unique(
    keys[order], return_index=True, return_counts=True
  )
  rank = np.arange(len(keys)) - np.repeat(starts, sizes)
  return np.sort(order[rank < count])
