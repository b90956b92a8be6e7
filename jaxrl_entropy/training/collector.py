"""Sampling and verification: prompts in, verified rollouts out."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import jax
from ml_collections import ConfigDict

from jaxrl_entropy import distributed
from jaxrl_entropy.data.stream import PromptStream
from jaxrl_entropy.rewards.pool import RewardPool
from jaxrl_entropy.rewards.shaping import Shape
from jaxrl_entropy.sampling.request import Completion, Request, Uniform
from jaxrl_entropy.sampling.sampler import Sampler
from jaxrl_entropy.training import build, rollout as rollout_lib
from jaxrl_entropy.training.policy import Policy
from jaxrl_entropy.training.rollout import PartialGroup, Rollout
from jaxrl_entropy.training.state import TrainState, host_seeds
from jaxrl_entropy.training.stopwatch import Stopwatch
from jaxrl_entropy.types import Params


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
    baseline: whether each prompt gets a greedy response too (ReMax).
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
  """Returns the settings of a config; `baseline` asks for greedy responses."""
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


class Collector:
  """Samples and verifies the responses of a step; the policy is passed in.

  Attributes:
    stream: the training problems; its position belongs in a checkpoint.
  """

  def __init__(
    self,
    settings: Collection,
    policy: Policy,
    stream: PromptStream,
    sampler: Sampler,
    pool: RewardPool,
    shape: Shape,
  ) -> None:
    self._settings, self._policy = settings, policy
    self._sampler, self._pool = sampler, pool
    self._shape = shape
    self._pending: list[PartialGroup] = []
    self.stream = stream

  def collect(self, state: TrainState, step: int, watch: Stopwatch) -> Rollout:
    """Returns verified responses: rounds of sampling until enough are mixed.

    Args:
      state: of the policy that samples.
      step: names the random numbers.
      watch: gets the laps `sample`, which includes the judging of responses
        that end before others, and `verify`, the wait for the rest.
    """
    settings = self._settings
    rounds: list[Rollout] = []
    mixed = 0
    while not rounds or (
      mixed < settings.mixed_groups and len(rounds) < settings.rounds
    ):
      seeds = host_seeds(
        state.key, "prompts", step, len(rounds), count=settings.prompts
      )
      groups = self._complete_groups(state.params, seeds)
      watch.lap("sample")
      verified = self._verify(state.params, groups)
      rounds.append(rollout_lib.concatenate(distributed.all_gather(verified)))
      mixed += len(rollout_lib.mixed_groups(rounds[-1]))
      watch.lap("verify")
    return rollout_lib.concatenate(rounds)

  def pending(self) -> list[PartialGroup]:
    """Returns the unfinished groups of all processes, for a checkpoint."""
    return [
      group for mine in distributed.all_gather(self._pending) for group in mine
    ]

  def resume_pending(self, groups: Sequence[PartialGroup]) -> None:
    """Takes this process's share of the groups that `pending` returned."""
    self._pending = list(groups[jax.process_index() :: jax.process_count()])

  def _complete_groups(
    self, params: Params, seeds: Sequence[int]
  ) -> list[PartialGroup]:
    """Samples this process's share of a round; returns its complete groups."""
    mine = seeds[distributed.host_slice(len(seeds))]
    fresh = len(mine) - max(distributed.all_gather(len(self._pending)))
    problems = self.stream.take(fresh)
    groups = self._pending + [
      PartialGroup(problem, seed, ())
      for problem, seed in zip(problems, mine, strict=False)
    ]
    limit = self._settings.response_length
    complete: list[PartialGroup] = []
    while not all(distributed.all_gather(bool(complete))):
      grown = self._continue(params, groups)
      self._pending = [group for group in grown if group.unfinished(limit)]
      complete += [group for group in grown if not group.unfinished(limit)]
      groups = self._pending
    return complete

  def _continue(
    self, params: Params, groups: Sequence[PartialGroup]
  ) -> list[PartialGroup]:
    """Returns the groups with their responses begun or continued.

    A response is sent to its verifier as soon as it ends, while others are
    still sampled.
    """
    requests, grown = self._requests(groups), list(groups)
    for event in self._sampler.stream(params, requests):
      index, completion = event.request, event.completion
      if completion is not None and self._has_ended(completion):
        text = rollout_lib.response_text(
          requests[index], completion, self._policy.tokenizer
        )
        self._pool.start(groups[index].problem, text)
      if event.group is not None:
        grown[index] = dataclasses.replace(
          groups[index], completions=event.group
        )
    return grown

  def _has_ended(self, completion: Completion) -> bool:
    length = len(completion.tokens)
    return completion.finish == "stop" or (
      length == self._settings.response_length
    )

  def _requests(
    self, groups: Sequence[PartialGroup], **overrides: Any
  ) -> list[Request]:
    settings = self._settings
    plain = build.make_requests(
      [group.problem for group in groups],
      self._policy,
      settings.prompt_length,
      [group.seed for group in groups],
      **{**settings.request, **overrides},
    )
    if not settings.partial_tokens or overrides:
      return plain

    def capped(request: Request, group: PartialGroup) -> Request:
      done = [len(c.tokens) for c in group.completions] or [0] * request.n
      budget, limit = settings.partial_tokens, settings.response_length
      return dataclasses.replace(
        request,
        partial=group.completions,
        max_tokens=tuple(min(limit, n + budget) for n in done),
      )

    pairs = zip(plain, groups, strict=True)
    return [capped(request, group) for request, group in pairs]

  def _verify(self, params: Params, groups: Sequence[PartialGroup]) -> Rollout:
    """Returns the verified responses of complete groups."""
    rollout = self._judge(groups, [group.completions for group in groups])
    if self._settings.baseline:
      requests = self._requests(groups, n=1, temperature=0.0, uniform=Uniform())
      best = self._judge(groups, self._sampler.generate(params, requests))
      rollout.outcomes["baseline_rewards"] = best.rewards[rollout.groups]
    return rollout

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
      self._settings.response_length,
    )
