"""What is put around a question, and which prompts are too long."""

import numpy as np

from jaxrl_entropy.data.problems import Demonstration, Problem, Task
from jaxrl_entropy.data.tokenizers import Tokenizer

BOXED = (
  "Please reason step by step, and put your final answer within \\boxed{}."
)
CODE = "Write the program in one Python code block."

# The wrapping of DAPO-Math-17k asks for an answer line that we do not read.
_DAPO_BEFORE = "Solve the following math problem step by step."
_DAPO_AFTER = 'Remember to put your answer on its own line after "Answer:".'


def instruct(question: str, instruction: str) -> str:
  """The question with an instruction, unless it asks for a box already."""
  if "\\boxed" in question or not instruction:
    return question
  return f"{question}\n\n{instruction}"


def bare_question(prompt: str) -> str:
  """A prompt of DAPO-Math-17k without its instructions; others as they are."""
  if not prompt.startswith(_DAPO_BEFORE) or _DAPO_AFTER not in prompt:
    return prompt
  _, _, question = prompt.partition("\n\n")
  return question.rpartition(_DAPO_AFTER)[0].strip()


class Fitting:
  """A task without the problems whose prompts are too long.

  Attributes:
    dropped: how many those are in each split.
  """

  def __init__(self, task: Task, tokenizer: Tokenizer, limit: int):
    self._task = task
    self.tokenizer = task.tokenizer
    self._kept: dict[str, list[int]] = {}
    self.dropped: dict[str, int] = {}
    for split in ("train", "test"):
      prompts = (task.problem(split, i).prompt for i in range(task.size(split)))
      fits = [len(tokenizer.render(prompt)) <= limit for prompt in prompts]
      self._kept[split] = np.flatnonzero(fits).tolist()
      self.dropped[split] = fits.count(False)

  def size(self, split: str) -> int:
    return len(self._kept[split])

  def problem(self, split: str, index: int) -> Problem:
    return self._task.problem(split, self._kept[split][index])

  def demonstrations(
    self, rng: np.random.Generator, count: int, wrong_share: float
  ) -> list[Demonstration]:
    return self._task.demonstrations(rng, count, wrong_share)
