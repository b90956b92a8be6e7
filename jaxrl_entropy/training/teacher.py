"""The informed teacher: the policy with the reference answer in its prompt.

It scores the policy's own responses. What it finds likelier than the policy
does is what the answer explains: losses may weigh tokens by that.
"""

from collections.abc import Sequence
import dataclasses

from ml_collections import ConfigDict
import numpy as np

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tokenizers import Tokenizer
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.training.layout import Layout
from jaxrl_entropy.training.rollout import Rollout


@dataclasses.dataclass(frozen=True)
class Teacher:
  """Puts a rollout's responses behind prompts that hold the answers.

  Attributes:
    tokenizer: renders the prompts.
    template: text with `{prompt}` and `{answer}`.
    max_prompt_length: tokens of a prompt, at most.
    layout: rows that are long enough.
  """

  tokenizer: Tokenizer
  template: str
  max_prompt_length: int
  layout: Layout

  def informed(self, rollout: Rollout) -> Rollout:
    """Returns the rollout with prompts that hold the answers.

    Raises:
      UserError: if a prompt is too long, or its problem has no answer.
    """
    prompts = self._prompts(rollout.problems)
    return dataclasses.replace(rollout, prompts=prompts, routes=None)

  def _prompts(self, problems: Sequence[Problem]) -> list[np.ndarray]:
    rendered: dict[str, np.ndarray] = {}
    for problem in problems:
      if problem.id not in rendered:
        rendered[problem.id] = self._prompt(problem)
    return [rendered[problem.id] for problem in problems]

  def _prompt(self, problem: Problem) -> np.ndarray:
    if not problem.answer:
      raise UserError(
        f"the loss reads `teacher_logp`, and problem {problem.id} has no answer"
        " to show to the teacher: choose another loss, or a task with answers"
      )
    # Not str.format: questions and answers may hold braces.
    text = self.template.replace("{answer}", problem.answer)
    text = text.replace("{prompt}", problem.prompt)
    ids = self.tokenizer.render(text, problem.system or None)
    if len(ids) > self.max_prompt_length:
      raise UserError(
        f"the teacher's prompt of problem {problem.id} has {len(ids)} tokens; "
        f"raise teacher.max_prompt_length above {self.max_prompt_length}"
      )
    return np.asarray(ids, np.int32)


def make_teacher(
  config: ConfigDict, tokenizer: Tokenizer, layout: Layout
) -> Teacher:
  """Returns the teacher of a config.

  Args:
    config: the whole configuration.
    tokenizer: of the policy.
    layout: rows of the policy's scoring pass.

  Raises:
    UserError: if the template lacks the prompt or the answer.
  """
  template = config.teacher.template
  for field in ("{prompt}", "{answer}"):
    if field not in template:
      raise UserError(f"teacher.template is {template!r}: it lacks {field}")
  longest = config.teacher.max_prompt_length
  longest = longest or config.rollout.max_prompt_length + 128
  length = longest + layout.response_length
  return Teacher(
    tokenizer,
    template,
    longest,
    dataclasses.replace(layout, row_length=length),
  )
