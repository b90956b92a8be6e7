"""Prompts in, rollouts with everything that the updates need out."""

from collections.abc import Mapping, Sequence
import time
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.data.sources import PromptStream
from jaxrl_entropy.rewards.verify import RewardPool
from jaxrl_entropy.sampling.sampler import Sampler
from jaxrl_entropy.training import (
  build,
  filters,
  multihost,
  rollout as rollout_lib,
)
from jaxrl_entropy.training.build import Policy
from jaxrl_entropy.training.layout import Layout, score_of
from jaxrl_entropy.training.method import Method
from jaxrl_entropy.training.roles import Role
from jaxrl_entropy.training.rollout import Rollout
from jaxrl_entropy.training.state import TrainState, host_seeds
from jaxrl_entropy.training.step import ForwardPass
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
    method: Method,
    roles: Sequence[Role],
    forward: ForwardPass,
    layout: Layout,
    sampler: Sampler,
    pool: RewardPool,
  ) -> None:
    self._config, self._policy, self._method = config, policy, method
    self._roles, self._layout = roles, layout
    self._sampler, self._pool = sampler, pool
    self._score = score_of(forward)
    self._role_scores = {r.name: score_of(r.forward) for r in roles}
    accept = config.rollout.accept
    self._accept = filters.resolve(accept.name, accept.args)
    self.stream = PromptStream(
      policy.task,
      config.seed,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )

  def collect(
    self, state: TrainState, step: int, watch: Stopwatch
  ) -> tuple[Rollout, Rollout, int]:
    """Samples until enough groups are informative.

    Returns:
      All sampled responses, those that the updates will see (the first
      `rollout.groups` groups that pass the filter), and the number of
      informative groups.
    """
    settings, reward = self._config.rollout, self._config.reward
    parts: list[Rollout] = []
    found = 0
    while not parts or (
      found < settings.groups and len(parts) < settings.max_batches
    ):
      mine = self._sample(state, step, len(parts))
      part = rollout_lib.concatenate(multihost.share(mine))
      watch.lap("rollout")
      parts.append(self._with_statistics(state, part))
      watch.lap("score")
      found += len(rollout_lib.informative(part))
      if not settings.filter_groups:
        break
    everything = rollout_lib.concatenate(parts)
    for role in self._roles:
      everything = role.summarize(everything)
    everything = rollout_lib.estimate_advantages(
      everything,
      self._method.estimator,
      kl_coefficient=reward.kl_coefficient,
      kl_kind=reward.kl_kind,
    )
    return everything, self._filtered(everything, step), found

  def _filtered(self, everything: Rollout, step: int) -> Rollout:
    """The responses that will be learned from."""
    settings = self._config.rollout
    if settings.filter_groups:
      passing = rollout_lib.informative(everything)
    else:
      passing = np.unique(everything.groups)
    kept = np.isin(everything.groups, passing[: settings.groups])
    kept &= self._accept(
      everything.row_means("advantages"),
      everything.signals["entropy"][everything.mask].mean(),
      step / self._config.steps,
    )
    return everything.select(np.flatnonzero(kept))

  def _sample(self, state: TrainState, step: int, batch: int) -> Rollout:
    """This process's share of one generation batch."""
    total = self._config.rollout.prompts
    seeds = host_seeds(state.key, step, 2 + batch, count=total)
    seeds = seeds[multihost.share_of(total)]
    problems = self.stream.take(len(seeds))
    part = self._respond(state.params, problems, seeds)
    reward = self._config.reward
    if reward.overlong_buffer:
      part = rollout_lib.with_overlong_penalty(
        part, reward.overlong_buffer, reward.overlong_penalty
      )
    if "baseline_rewards" in self._method.needs:
      greedy = {"n": 1, "temperature": 0.0}
      best = self._respond(state.params, problems, seeds, greedy)
      part.outcomes["baseline_rewards"] = best.rewards[part.groups]
    return part

  def _respond(
    self,
    params: Params,
    problems: Sequence[Problem],
    seeds: Sequence[int],
    overrides: Mapping[str, Any] | None = None,
  ) -> Rollout:
    """Scored responses to `problems`, sampled by `rollout` and `overrides`."""
    requests = build.make_requests(
      problems, self._policy, self._config, seeds, **(overrides or {})
    )
    return rollout_lib.sample(
      problems,
      requests,
      params,
      self._sampler.generate,
      self._pool.score,
      self._policy.tokenizer,
      self._layout.response_length,
    )

  def _with_statistics(self, state: TrainState, part: Rollout) -> Rollout:
    """Adds what the trainer computes before any update: `old_logp`, `entropy`,
    and the moments and the reference's log-probs where they are asked for."""
    signals = self._layout.score(self._score, state.params, part)
    signals["old_logp"] = signals.pop("logp")
    if self._config.rollout.old_logp == "sampler":
      signals["old_logp"] = part.signals["sampler_logp"]
    if "ref_logp" in self._method.needs:
      frozen = state.roles["reference"]
      reference = self._layout.score(self._score, frozen, part)
      signals["ref_logp"] = reference["logp"]
    for role in self._roles:
      params = state.roles[role.name].params
      score = self._role_scores[role.name]
      signals |= role.observe(self._layout.score(score, params, part))
    return part.with_signals(**signals)
