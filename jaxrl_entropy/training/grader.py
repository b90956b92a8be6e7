"""Requests for groups of responses, and the verdicts on them."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from ml_collections import ConfigDict

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards.pool import RewardPool
from jaxrl_entropy.rewards.shaping import Shape
from jaxrl_entropy.sampling.request import Completion, Request, Uniform
from jaxrl_entropy.training import build, rollout as rollout_lib
from jaxrl_entropy.training.policy import Policy
from jaxrl_entropy.training.rollout import PartialGroup, Rollout


@dataclasses.dataclass(frozen=True)
class Collection:
  """Settings of how the responses of one step are collected.

  Attributes:
    prompts: sampled in each round, by all processes together.
    mixed_groups: groups with right and wrong answers to collect; 0: one round,
      whatever its answers.
    rounds: of sampling, at most.
    partial_tokens: new tokens of a response per step; 0: no limit.
    response_length: tokens of a response, at most.
    baseline: whether each prompt gets a greedy response too.
    request: sampling settings of every request.
    prompt_length: tokens of a prompt, at most.
  """

  prompts: int
  mixed_groups: int
  rounds: int
  partial_tokens: int
  response_length: int
  baseline: bool
  request: Mapping[str, Any]
  prompt_length: int


def make_collection(config: ConfigDict, baseline: bool) -> Collection:
  """Returns the settings of a config.

  Args:
    config: of the run.
    baseline: whether each prompt gets a greedy response too.
  """
  rollout = config.rollout
  filtered = rollout.group_filter == "mixed"
  return Collection(
    prompts=rollout.prompts_per_step,
    mixed_groups=rollout.train_groups if filtered else 0,
    rounds=rollout.max_generation_rounds,
    partial_tokens=rollout.partial_tokens,
    response_length=rollout.max_response_length,
    baseline=baseline,
    request=build.request_settings(rollout),
    prompt_length=rollout.max_prompt_length,
  )


class Grader:
  """Makes the requests of groups, and verifies what they are answered with.

  Attributes:
    settings: how responses are collected.
  """

  def __init__(
    self,
    settings: Collection,
    policy: Policy,
    pool: RewardPool,
    shape: Shape,
  ) -> None:
    self.settings = settings
    self._policy, self._pool, self._shape = policy, pool, shape

  def requests(self, groups: Sequence[PartialGroup]) -> list[Request]:
    """Returns requests that begin the groups' responses or continue them."""
    pairs = zip(self._requests(groups), groups, strict=True)
    return [
      dataclasses.replace(request, partial=group.completions)
      for request, group in pairs
    ]

  def greedy_requests(self, groups: Sequence[PartialGroup]) -> list[Request]:
    """Returns requests for one greedy response to each problem."""
    return self._requests(groups, n=1, temperature=0.0, uniform=Uniform())

  def start(
    self, problem: Problem, request: Request, answer: Completion
  ) -> None:
    """Sends a response to its verifier; returns at once.

    Args:
      problem: what is answered.
      request: the one that was answered; the end of its prompt may open a tag.
      answer: a finished response.
    """
    tokenizer = self._policy.tokenizer
    text = rollout_lib.response_text(request, answer, tokenizer)
    self._pool.start(problem, text)

  def verify(
    self,
    groups: Sequence[PartialGroup],
    greedy: Sequence[Sequence[Completion]] | None = None,
  ) -> Rollout:
    """Returns the verified responses of complete groups.

    Args:
      groups: whose responses are complete.
      greedy: the greedy response to each problem, where there is a baseline.
    """
    rollout = self._judge(groups, [group.completions for group in groups])
    if greedy is not None:
      best = self._judge(groups, greedy)
      rollout.outcomes["baseline_rewards"] = best.rewards[rollout.groups]
    return rollout

  def _requests(
    self, groups: Sequence[PartialGroup], **overrides: Any
  ) -> list[Request]:
    return build.make_requests(
      [group.problem for group in groups],
      self._policy,
      self.settings.prompt_length,
      [group.seed for group in groups],
      **{**self.settings.request, **overrides},
    )

  def _judge(
    self,
    groups: Sequence[PartialGroup],
    completions: Sequence[Sequence[Completion]],
  ) -> Rollout:
    return rollout_lib.from_completions(
      [group.problem for group in groups],
      self._requests(groups),
      completions,
      self._pool.score,
      self._shape,
      self._policy.tokenizer,
      self.settings.response_length,
    )
