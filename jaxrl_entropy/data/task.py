"""Problems, and tasks as indexed sets of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from jaxrl_entropy import registry
from jaxrl_entropy.data.tokenizers import Tokenizer

TASKS = {
  "countdown": "jaxrl_entropy.data.tasks.countdown:Countdown",
  "programs": "jaxrl_entropy.data.tasks.programs:Programs",
  "arithmetic": "jaxrl_entropy.data.tasks.arithmetic:Arithmetic",
  "chain": "jaxrl_entropy.data.tasks.drills:Chain",
  "multiplication": "jaxrl_entropy.data.tasks.drills:Multiplication",
  "modular_equation": "jaxrl_entropy.data.tasks.drills:ModularEquation",
  "sorting": "jaxrl_entropy.data.tasks.drills:Sorting",
  "files": "jaxrl_entropy.data.files:Files",
  "traces": "jaxrl_entropy.data.tasks.traces:Traces",
  "tfds": "jaxrl_entropy.data.tasks.tfds:Tfds",
  "human_eval": "jaxrl_entropy.data.tasks.packaged:HumanEval",
  "champ": "jaxrl_entropy.data.tasks.packaged:Champ",
  "gym": "jaxrl_entropy.data.tasks.gym:Gym",
  "mixture": "jaxrl_entropy.data.tasks.mixture:mixture",
}


@dataclass(frozen=True)
class Problem:
  """A question and the means to verify a response to it.

  Attributes:
    id: unique within its source; `file:line` where it was read from a file.
    prompt: the question, before any chat template.
    answer: the reference answer; never shown to the policy.
    source: name that evaluation groups by.
    verifier: name of a verifier in `rewards.pool`, or an import path.
    difficulty: larger is harder, in the source's own unit; None if unknown.
    tests: test cases of a programming problem.
    extra: further fields that the verifier reads.
    system: system message of the problem's own; "" if it has none.
  """

  id: str
  prompt: str
  answer: str
  source: str
  verifier: str
  difficulty: float | None = None
  tests: tuple[Any, ...] = ()
  extra: Mapping[str, Any] = field(default_factory=dict)
  system: str = ""


Demonstration = tuple[Problem, str]
"""A problem and a response to it, for supervised fine-tuning."""


class Task(Protocol):
  """An indexed set of problems in two splits, "train" and "test".

  Attributes:
    tokenizer: of the task's own symbols; None if its prompts are text.
  """

  tokenizer: Tokenizer | None

  def size(self, split: str) -> int:
    """Returns the number of problems in a split.

    Args:
      split: "train" or "test".
    """

  def problem(self, split: str, index: int) -> Problem:
    """Returns the problem at an index: a pure function of its arguments.

    Args:
      split: "train" or "test".
      index: below `size(split)`.
    """

  def demonstrations(
    self, rng: np.random.Generator, count: int, wrong_share: float
  ) -> list[Demonstration]:
    """Returns new training problems with responses.

    Args:
      rng: decides which problems.
      count: how many.
      wrong_share: share of them with a wrong response.

    Raises:
      ValueError: the task has no demonstrations.
    """


def resolve(name: str, args: Mapping[str, Any] | None = None) -> Task:
  """Returns the task of a name in `TASKS` or of an import path.

  Args:
    name: such as `files`, or `my_lab.tasks:mine`.
    args: keyword arguments of its factory.

  Raises:
    UserError: the name is unknown or its factory does not take `args`.
  """
  return registry.call("task", name, args, TASKS)
