"""Tasks of reasoning-gym by name."""

from typing import Any

import numpy as np

from jaxrl_entropy.data.task import Demonstration, Problem
from jaxrl_entropy.errors import install_extra

# Data sets whose own reference answers do not score 1, or which have none.
BROKEN = frozenset(
  ["boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"]
)
_INSTRUCTION = "Put the final answer between <answer> and </answer>."
_TEST_SEED = 2**40  # beyond the seeds of any training problem


class Gym:
  """Problems of one reasoning-gym data set.

  Data sets that compare text are verified in this process. The others have a
  `score_answer` of their own, which may evaluate the answer: it runs in the
  sandbox, and only a full score counts.

  Args:
    name: of the data set, such as "chain_sum".
    seed: of the problems.
    train: size of the training split.
    test: size of the test split.
    **settings: of the data set.
  """

  tokenizer = None

  def __init__(
    self,
    name: str,
    seed: int = 0,
    train: int = 2**31 - 1,
    test: int = 2**20,
    **settings: Any,
  ):
    if name in BROKEN:
      raise ValueError(f"reasoning-gym's {name!r} fails its own answers")
    self._name, self._settings = name, settings
    self._seeds = {"train": seed, "test": seed + _TEST_SEED}
    self._sizes = {"train": train, "test": test}
    self._sets = {
      split: make(name, self._seeds[split], settings) for split in self._sizes
    }
    self._verifier = "tagged" if _compares_text(self._sets["train"]) else "gym"

  def size(self, split: str) -> int:
    return self._sizes[split]

  def problem(self, split: str, index: int) -> Problem:
    entry = self._sets[split][index]
    return Problem(
      id=f"{self._name}/{split}/{index}",
      prompt=f"{entry['question']}\n\n{_INSTRUCTION}",
      answer=str(entry["answer"]),
      source=self._name,
      verifier=self._verifier,
      extra={
        "name": self._name,
        "seed": self._seeds[split],
        "settings": self._settings,
        "index": index,
      },
    )

  def demonstrations(
    self, rng: np.random.Generator, count: int, wrong_share: float
  ) -> list[Demonstration]:
    del rng, count, wrong_share
    raise ValueError(f"{self._name} has no demonstrations")


def make(name: str, seed: int, settings: dict[str, Any]) -> Any:
  """Returns a reasoning-gym data set.

  Args:
    name: of the data set, such as "chain_sum".
    seed: of its problems.
    settings: keyword arguments of the data set's config.

  Raises:
    ValueError: reasoning-gym is missing, or refuses the name or a setting.
  """
  try:
    import reasoning_gym
  except ImportError as error:
    raise ValueError(
      f"the gym task needs reasoning-gym: {install_extra('gym')}"
    ) from error
  try:
    return reasoning_gym.create_dataset(name, seed=seed, **settings)
  except (AssertionError, ValueError) as error:
    raise ValueError(f"reasoning-gym's {name!r}: {error}") from error


def _compares_text(dataset: Any) -> bool:
  """Returns whether a data set scores by comparing strings."""
  from reasoning_gym.factory import ProceduralDataset

  return type(dataset).score_answer is ProceduralDataset.score_answer
