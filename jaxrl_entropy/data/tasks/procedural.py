"""Tasks whose problems are generated, without end."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar
import zlib

import numpy as np

from jaxrl_entropy.data.task import Demonstration, Problem
from jaxrl_entropy.data.tokenizers import Tokenizer

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Draw:
  """A generated problem before it has a place in a split.

  Attributes:
    key: decides the split, so that no two splits share a key.
    prompt: the question.
    answer: the reference answer.
    difficulty: in the task's own unit.
    solution: a right response, if the task can demonstrate one.
  """

  key: str
  prompt: str
  answer: str
  difficulty: float
  solution: str = ""


def held_out(key: str) -> bool:
  """Returns whether a key belongs to the test split: one in five, by hash."""
  return zlib.crc32(key.encode()) % 5 == 0


class Procedural(ABC):
  """Problems that are a function of seed, split and index alone.

  Subclasses implement `draw`. Keys are held out by their hash, so that no seed
  ever trains on another's test problems.

  Args:
    seed: of the problems.
    train: size of the training split.
    test: size of the test split.
  """

  name: ClassVar[str]
  verifier: str
  tokenizer: Tokenizer | None = None

  def __init__(self, seed: int = 0, train: int = 2**31 - 1, test: int = 2**20):
    self._seed = seed
    self._sizes = {"train": train, "test": test}

  @abstractmethod
  def draw(self, rng: np.random.Generator) -> Draw:
    """Returns a random problem, of either split.

    Args:
      rng: the only source of randomness, so that equal states give equal
        problems.
    """

  def mistake(self, drawn: Draw, rng: np.random.Generator) -> str:
    """Returns a response of the right form that does not solve a problem.

    Args:
      drawn: a problem of `draw`.
      rng: decides which wrong response.

    Raises:
      ValueError: if the task has no wrong responses to show.
    """
    del drawn, rng
    raise ValueError(f"task {self.name!r} has no wrong demonstrations")

  def size(self, split: str) -> int:
    return self._sizes[split]

  def problem(self, split: str, index: int) -> Problem:
    rng = np.random.default_rng([self._seed, SPLITS.index(split), index])
    return self._problem(self._draw_from(split, rng), f"{split}/{index}")

  def demonstrations(
    self, rng: np.random.Generator, count: int, wrong_share: float
  ) -> list[Demonstration]:
    pairs = []
    for i in range(count):
      drawn = self._draw_from("train", rng)
      if not drawn.solution:
        raise ValueError(
          f"task {self.name!r} has no demonstrations: start from trained "
          "weights, with sft.steps at 0"
        )
      wrong = rng.random() < wrong_share
      response = self.mistake(drawn, rng) if wrong else drawn.solution
      pairs.append((self._problem(drawn, f"demonstration/{i}"), response))
    return pairs

  def _draw_from(self, split: str, rng: np.random.Generator) -> Draw:
    """Draws until a problem belongs to the split, and returns it."""
    for _ in range(10_000):
      drawn = self.draw(rng)
      if held_out(drawn.key) == (split == "test"):
        return drawn
    raise ValueError(
      f"task {self.name!r} has no {split} problem with these settings"
    )

  def _problem(self, drawn: Draw, identity: str) -> Problem:
    return Problem(
      id=f"{self.name}/{identity}",
      prompt=drawn.prompt,
      answer=drawn.answer,
      source=self.name,
      verifier=self.verifier,
      difficulty=drawn.difficulty,
    )
