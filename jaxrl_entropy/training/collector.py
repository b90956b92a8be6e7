"""Prompts in, rollouts with everything that the updates need out."""

from collections.abc import Sequence
import dataclasses
import time
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from jaxrl_entropy import distributed
from jaxrl_entropy.data.stream import PromptStream
from jaxrl_entropy.rewards.pool import RewardPool
from jaxrl_entropy.rewards.settings import make_shaping
from jaxrl_entropy.sampling.request import Completion, Request
from jaxrl_entropy.sampling.sampler import Sampler
from jaxrl_entropy.training import (
  build,
  filters,
  rollout as rollout_lib,
)
from jaxrl_entropy.training.algorithm import Algorithm
from jaxrl_entropy.training.auxiliary.base import Role
from jaxrl_entropy.training.build import Policy
from jaxrl_entropy.training.forward import ForwardPass
from jaxrl_entropy.training.layout import Layout, score_of
from jaxrl_entropy.training.rollout import PartialGroup, Rollout
from jaxrl_entropy.training.state import TrainState, host_seeds
from jaxrl_entropy.types import Params


class Stopwatch:
  """Seconds by stage, for `throughput/*`."""

  def __init__(self) -> None:
    self.seconds: dict[str, float] = {}
    self._last = time.perf_counter()

  def lap(self, stage: str) -> None:
    now = time.perf_counter()
    self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
    self._last = now


class Collector:
  """Samples, scores, estimates and filters; the policy is passed in.

  Attributes:
    stream: the training problems; its position belongs in a checkpoint.
  """

  def __init__(
    self,
    config: ConfigDict,
    policy: Policy,
    algorithm: Algorithm,
    roles: Sequence[Role],
    forward: ForwardPass,
    layout: Layout,
    sampler: Sampler,
    pool: RewardPool,
  ) -> None:
    self._config, self._policy, self._algorithm = config, policy, algorithm
    self._roles, self._layout = roles, layout
    self._sampler, self._pool = sampler, pool
    self._shape = make_shaping(config.reward, layout.response_length)
    self._score = score_of(forward)
    self._role_scores = {r.name: score_of(r.forward) for r in roles}
    accept = config.rollout.accept
    self._accept = filters.resolve(accept.name, accept.args)
    self._held: list[PartialGroup] = []
    self.stream = PromptStream(
      policy.task,
      config.seed,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )

  def sample(self, state: TrainState, step: int) -> Rollout:
    """Scored responses for a step, until enough groups are informative."""
    settings = self._config.rollout
    parts: list[Rollout] = []
    found = 0
    while not parts or (
      found < settings.train_groups
      and len(parts) < settings.max_generation_rounds
    ):
      seeds = host_seeds(
        state.key, "prompts", step, len(parts), count=settings.prompts_per_step
      )
      mine = self._batch(state.params, seeds)
      part = rollout_lib.concatenate(distributed.all_gather(mine))
      parts.append(part)
      found += len(rollout_lib.informative(part))
      if not settings.filter_groups:
        break
    return rollout_lib.concatenate(parts)

  def prepare(
    self, state: TrainState, rollout: Rollout, step: int
  ) -> tuple[Rollout, Rollout, int]:
    """Adds statistics and advantages, by the policy of `state`.

    Returns:
      All sampled responses, those that the updates will see (the first
      `rollout.train_groups` groups that pass the filter), and the number of
      informative groups.
    """
    reward = self._config.reward
    everything = self._with_statistics(state, rollout)
    for role in self._roles:
      everything = role.summarize(everything)
    everything = rollout_lib.estimate_advantages(
      everything,
      self._algorithm.estimator,
      kl_coefficient=reward.kl_coefficient,
      kl_kind=reward.kl_kind,
    )
    found = len(rollout_lib.informative(everything))
    return everything, self._filtered(everything, step), found

  def carried(self) -> list[PartialGroup]:
    """The groups of all processes that are not complete, for a checkpoint."""
    return [
      held for mine in distributed.all_gather(self._held) for held in mine
    ]

  def resume_pending(self, held: Sequence[PartialGroup]) -> None:
    """Takes this process's part of the groups that `carried` gave."""
    self._held = list(held[jax.process_index() :: jax.process_count()])

  def _filtered(self, everything: Rollout, step: int) -> Rollout:
    """The responses that will be learned from."""
    settings = self._config.rollout
    if settings.filter_groups:
      passing = rollout_lib.informative(everything)
    else:
      passing = np.unique(everything.groups)
    kept = np.isin(everything.groups, passing[: settings.train_groups])
    kept &= self._accept(
      everything.row_means("advantages"),
      everything.signals["entropy"][everything.mask].mean(),
      step / self._config.steps,
    )
    return everything.select(np.flatnonzero(kept))

  def _batch(self, params: Params, seeds: Sequence[int]) -> Rollout:
    """This process's share of one generation batch, complete groups alone."""
    mine = seeds[distributed.host_slice(len(seeds))]
    fresh = len(mine) - max(distributed.all_gather(len(self._held)))
    problems = self.stream.take(fresh)
    groups = self._held + [
      PartialGroup(problem, seed, ())
      for problem, seed in zip(problems, mine, strict=False)
    ]
    complete: list[PartialGroup] = []
    while not all(distributed.all_gather(bool(complete))):
      grown = self._grow(params, groups)
      limit = self._layout.response_length
      self._held = [group for group in grown if group.unfinished(limit)]
      complete += [group for group in grown if not group.unfinished(limit)]
      groups = self._held
    return self._scored(params, complete)

  def _grow(
    self, params: Params, groups: Sequence[PartialGroup]
  ) -> list[PartialGroup]:
    """The groups, with responses begun or continued."""
    answers = self._sampler.generate(params, self._requests(groups))
    return [
      dataclasses.replace(group, completions=tuple(answer))
      for group, answer in zip(groups, answers, strict=True)
    ]

  def _requests(
    self, groups: Sequence[PartialGroup], **overrides: Any
  ) -> list[Request]:
    budget = self._config.rollout.partial_tokens
    limit = self._layout.response_length
    plain = build.make_requests(
      [group.problem for group in groups],
      self._policy,
      self._config,
      [group.seed for group in groups],
      **overrides,
    )
    if not budget or overrides:
      return plain

    def capped(request: Request, group: PartialGroup) -> Request:
      done = [len(c.tokens) for c in group.completions] or [0] * request.n
      return dataclasses.replace(
        request,
        partial=group.completions,
        max_tokens=tuple(min(limit, n + budget) for n in done),
      )

    pairs = zip(plain, groups, strict=True)
    return [capped(request, group) for request, group in pairs]

  def _scored(self, params: Params, groups: Sequence[PartialGroup]) -> Rollout:
    """The rewards of complete groups."""
    part = self._judge(groups, [group.completions for group in groups])
    if "baseline_rewards" in self._algorithm.needs:
      requests = self._requests(groups, n=1, temperature=0.0)
      best = self._judge(groups, self._sampler.generate(params, requests))
      part.outcomes["baseline_rewards"] = best.rewards[part.groups]
    return part

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
      self._layout.response_length,
    )

  def _with_statistics(self, state: TrainState, rollout: Rollout) -> Rollout:
    """Adds what the models say of the tokens, before any update."""
    size, total = self._layout.capacity, len(rollout.responses)
    parts = [
      self._statistics(
        state, rollout.select(np.arange(i, min(i + size, total)))
      )
      for i in range(0, total, size)
    ]
    signals = {
      name: np.concatenate([part[name] for part in parts]) for name in parts[0]
    }
    recompute = self._config.rollout.recompute_old_logp
    signals["old_logp"] = (
      signals["logp"] if recompute else rollout.signals["sampler_logp"]
    )
    return rollout.with_signals(**signals)

  def _statistics(
    self, state: TrainState, part: Rollout
  ) -> dict[str, np.ndarray]:
    """`logp`, `entropy`, and what else the algorithm asks for, [N, T].

    The first two, and moments, are those of the policy before any update.
    """
    signals = self._layout.score(self._score, state.params, part)
    if "ref_logp" in self._algorithm.needs:
      frozen = state.roles["reference"]
      reference = self._layout.score(self._score, frozen, part)
      signals["ref_logp"] = reference["logp"]
    for role in self._roles:
      params = state.roles[role.name].params
      score = self._role_scores[role.name]
      signals |= role.observe(self._layout.score(score, params, part))
    return signals
