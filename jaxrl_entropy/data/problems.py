"""What is asked and how its answer is checked: problems and tasks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from jaxrl_entropy import named
from jaxrl_entropy.data.tokenizers import Tokenizer

TASKS = {
  "countdown": "jaxrl_entropy.data.countdown:Countdown",
  "programs": "jaxrl_entropy.data.programs:Programs",
  "arithmetic": "jaxrl_entropy.data.arithmetic:Arithmetic",
  "chain": "jaxrl_entropy.data.drills:Chain",
  "multiplication": "jaxrl_entropy.data.drills:Multiplication",
  "modular_equation": "jaxrl_entropy.data.drills:ModularEquation",
  "sorting": "jaxrl_entropy.data.drills:Sorting",
  "files": "jaxrl_entropy.data.files:Files",
  "tfds": "jaxrl_entropy.data.builders:Tfds",
  "human_eval": "jaxrl_entropy.data.packaged:HumanEval",
  "champ": "jaxrl_entropy.data.packaged:Champ",
  "gym": "jaxrl_entropy.data.gym:Gym",
  "mixture": "jaxrl_entropy.data.mixture:mixture",
}


@dataclass(frozen=True)
class Problem:
  """One question with the means to check an answer.

  Attributes:
    id: unique within its source.
    prompt: the question, before any chat template.
    answer: the reference answer; never shown to the policy.
    source: name that evaluation groups by.
    verifier: name of a verifier in `rewards.verify`, or an import path.
    difficulty: larger is harder, in the source's own unit; None if unknown.
    tests: test cases of a programming problem.
    extra: what else the verifier needs.
  """

  id: str
  prompt: str
  answer: str
  source: str
  verifier: str
  difficulty: float | None = None
  tests: tuple[Any, ...] = ()
  extra: Mapping[str, Any] = field(default_factory=dict)


Demonstration = tuple[Problem, str]
"""A problem and a response to it, for a supervised warm start."""


class Task(Protocol):
  """An indexed set of problems in two splits, "train" and "test".

  Attributes:
    tokenizer: the task's own symbols, or None where its prompts are text.
  """

  tokenizer: Tokenizer | None

  def size(self, split: str) -> int:
    """Number of problems in a split."""

  def problem(self, split: str, index: int) -> Problem:
    """The problem at an index: a pure function of its arguments."""

  def demonstrations(
    self, rng: np.random.Generator, count: int, wrong_share: float
  ) -> list[Demonstration]:
    """Fresh training problems with responses, some of them wrong.

    Raises:
      ValueError: the task has no demonstrations.
    """


def resolve(name: str, args: Mapping[str, Any] | None = None) -> Task:
  """The task of a name in `TASKS`, or of an import path (`my_lab.tasks:mine`).

  Raises:
    UserError: the name is unknown or its factory does not take `args`.
  """
  return named.call("task", name, args, TASKS)
