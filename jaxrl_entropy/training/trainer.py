"""The moving parts of a run: collect a rollout, learn from it, evaluate."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
import time
from typing import Any
import zlib

import jax
from ml_collections import ConfigDict
import numpy as np

from jaxrl_entropy import sharding
from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.data.sources import PromptStream
from jaxrl_entropy.evaluation import evaluate, summarise
from jaxrl_entropy.rewards.verify import RewardPool
from jaxrl_entropy.sampling.request import Completion, Request
from jaxrl_entropy.training import (
  build,
  filters,
  minibatches,
  multihost,
  probe,
  rollout as rollout_lib,
  rows as rows_lib,
  state as state_lib,
)
from jaxrl_entropy.training.build import Policy
from jaxrl_entropy.training.method import Method
from jaxrl_entropy.training.rollout import Rollout
from jaxrl_entropy.training.state import TrainState
from jaxrl_entropy.training.step import (
  ForwardPass,
  Rows,
  make_update,
)
from jaxrl_entropy.types import Metrics, Params

HELD_OUT = "held_out"
# Inputs of an objective that come with the rollout; the others are computed by
# the update's own forward pass.
CARRIED = {
  "advantages",
  "old_logp",
  "ref_logp",
  "sampler_logp",
  "old_values",
  "returns",
}


class Stopwatch:
  """Seconds by stage, for `throughput/*`."""

  def __init__(self) -> None:
    self.seconds: dict[str, float] = {}
    self._last = time.perf_counter()

  def lap(self, stage: str) -> None:
    now = time.perf_counter()
    self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
    self._last = now


class Trainer:
  """Compiled functions and data sources of one run; its state is passed in.

  Attributes:
    forward: the policy's training forward pass.
    optimizer: gradient transformation of the policy.
    schedule: learning rate by optimiser update.
    stream: the training problems; its position belongs in a checkpoint.
  """

  def __init__(
    self,
    config: ConfigDict,
    policy: Policy,
    method: Method,
    pool: RewardPool,
  ) -> None:
    self._config, self._policy, self._pool = config, policy, pool
    self._method = method
    self._sampler = build.build_sampler(config, policy.model, policy.mesh)
    self.stream = PromptStream(
      policy.task,
      config.seed,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )
    moments = bool(method.needs & {"sum_p2", "sum_p2_logp"})
    self.forward = build.build_forward(config, policy.model, moments)
    updates = config.steps * config.optimizer.updates
    self.schedule = state_lib.learning_rate(config.optimizer, updates)
    self.optimizer = state_lib.make_optimizer(config.optimizer, self.schedule)
    self._score = make_score(self.forward)
    self._roles = build.build_roles(config, self.forward, method.needs)
    self._role_scores = {r.name: make_score(r.forward) for r in self._roles}
    self._role_updates: dict[str, Any] = {}
    self._accept = filters.resolve(
      config.rollout.accept.name, config.rollout.accept.args
    )
    self._update: Any = None
    self._observe: probe.Observe | None = None

  @property
  def _length(self) -> int:
    return self._config.rollout.max_response_length

  def init(self, params: Params) -> TrainState:
    """A fresh state; every other model that is needed starts from `params`."""
    seed, mesh = self._config.seed, self._policy.mesh
    roles: dict[str, Any] = {
      role.name: role.init(params, seed, mesh) for role in self._roles
    }
    if "ref_logp" in self._method.needs:
      roles["reference"] = params
    return state_lib.init_state(
      params,
      self.optimizer,
      seed,
      mesh,
      roles=roles,
      controller=self._method.controllers.init(),
    )

  def steer(
    self, state: TrainState, record: Mapping[str, float]
  ) -> tuple[TrainState, dict[str, float]]:
    """Feeds a step's record to the controllers; `control/*` are their values
    during that step."""
    controllers = self._method.controllers
    values = controllers.coefficients(state.controller, state.update)
    used = {f"control/{name}": float(v) for name, v in values.items()}
    moved = controllers.update(state.controller, record)
    return state.replace(controller=moved), used

  def collect(
    self, state: TrainState, step: int, watch: Stopwatch
  ) -> tuple[Rollout, Rollout, int]:
    """Samples until enough groups are informative.

    Returns:
      All sampled responses, those that the updates will see (the first
      `rollout.groups` groups that pass the filter), and the number of
      informative groups.
    """
    settings = self._config.rollout
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
      kl_coefficient=self._config.reward.kl_coefficient,
      kl_kind=self._config.reward.kl_kind,
    )
    passing = rollout_lib.informative(everything)
    if not settings.filter_groups:
      passing = np.unique(everything.groups)
    kept = np.isin(everything.groups, passing[: settings.groups])
    kept &= self._accept(
      everything.row_means("advantages"),
      everything.signals["entropy"][everything.mask].mean(),
      step / self._config.steps,
    )
    return everything, everything.select(np.flatnonzero(kept)), found

  def learn(
    self, state: TrainState, kept: Rollout, step: int
  ) -> tuple[TrainState, Metrics]:
    """All optimiser updates of one rollout; metrics are summed over them."""
    config = self._config
    responses = -(-config.rollout.groups // config.optimizer.updates)
    responses *= config.rollout.responses
    if self._update is None:
      self._update = make_update(
        self._method.objective,
        self.optimizer,
        self.forward,
        sharding.param_shardings(state, self._policy.mesh),
        scope=config.loss.scope,
        num_responses=responses,
        max_length=self._length,
      )
    rng = np.random.default_rng(self._seeds(state, step, 1, stream=1))
    total: Metrics = {}
    for part in minibatches.deal(kept, config.optimizer.updates, rng):
      names = {"advantages", "old_logp"} | self._method.needs
      rows = self._put(part, names & CARRIED, responses)
      state, metrics = self._update(state, rows)
      state, taught = self._teach(state, part, responses)
      metrics |= taught
      total = {k: total[k] + v if total else v for k, v in metrics.items()}
    return state, total

  def _teach(
    self, state: TrainState, part: Rollout, responses: int
  ) -> tuple[TrainState, Metrics]:
    """One update of each model beside the policy, on the same mini-batch."""
    metrics: Metrics = {}
    for role in self._roles:
      own = state.roles[role.name]
      if role.name not in self._role_updates:
        self._role_updates[role.name] = role.make_update(
          own,
          self._policy.mesh,
          num_responses=responses,
          max_length=self._length,
        )
      rows = self._put(role.lesson(part), role.reads, responses)
      own, found = self._role_updates[role.name](own, rows)
      state = state.replace(roles=state.roles | {role.name: own})
      metrics |= found
    return state, metrics

  def evaluate(self, params: Params) -> dict[str, float]:
    """`eval/held_out/*` on the first problems of the test split."""
    settings, task = self._config.eval, self._policy.task
    count = min(settings.problems, task.size("test"))

    def generate(
      prompts: Sequence[Sequence[int]], samples: int, temperature: float
    ) -> list[list[Completion]]:
      requests = [
        Request(
          prompt=tuple(prompt),
          n=samples,
          max_tokens=self._length,
          temperature=temperature,
          stop_ids=(self._policy.tokenizer.eos_id,),
          # A problem's random numbers depend on nothing but the problem.
          seed=zlib.crc32(np.asarray(prompt, np.int32).tobytes()),
        )
        for prompt in prompts
      ]
      return self._sampler.generate(params, requests)

    mine = range(count)[jax.process_index() :: jax.process_count()]
    result = evaluate(
      generate,
      self._policy.tokenizer,
      [task.problem("test", i) for i in mine],
      self._pool.score,
      samples=settings.samples,
      temperature=settings.temperature,
      greedy=settings.greedy,
    )
    parts = multihost.share(result.records)
    records = [record for part in parts for record in part]
    return {f"eval/{HELD_OUT}/{k}": v for k, v in summarise(records).items()}

  def observe(
    self, path: Path, count: int, state: TrainState, rollout: Rollout
  ) -> probe.Observe:
    """The probe on the states kept at `path`, taken from `rollout` if new."""
    if self._observe is None:
      self._observe = probe.make_observe(
        self._states(path, count, state, rollout),
        build.row_length(self._config),
        self.forward,
        self._policy.mesh,
      )
    return self._observe

  def _states(
    self, path: Path, count: int, state: TrainState, rollout: Rollout
  ) -> list[np.ndarray]:
    if multihost.share(path.exists())[0]:
      return probe.load_states(path)
    rng = np.random.default_rng(self._seeds(state, 0, 1, stream=0))
    states = probe.choose_states(rollout.prompts, rollout.responses, count, rng)
    if multihost.is_writer():
      probe.save_states(path, states)
    return states

  def _sample(self, state: TrainState, step: int, batch: int) -> Rollout:
    """This process's share of one generation batch."""
    total = self._config.rollout.prompts
    seeds = self._seeds(state, step, total, stream=2 + batch)
    mine = multihost.share_of(total)
    seeds = seeds[mine]
    problems = self.stream.take(len(seeds))
    part = self._respond(state.params, problems, seeds)
    reward = self._config.reward
    if reward.overlong_buffer:
      part = rollout_lib.with_overlong_penalty(
        part, reward.overlong_buffer, reward.overlong_penalty
      )
    if "baseline_rewards" in self._method.needs:
      greedy = self._respond(
        state.params, problems, seeds, n=1, temperature=0.0
      )
      part.outcomes["baseline_rewards"] = greedy.rewards[part.groups]
    return part

  def _respond(
    self,
    params: Params,
    problems: Sequence[Problem],
    seeds: Sequence[int],
    **overrides: Any,
  ) -> Rollout:
    """Scored responses to `problems`, sampled by `rollout` and `overrides`."""
    requests = build.make_requests(
      problems, self._policy, self._config, seeds, **overrides
    )
    return rollout_lib.sample(
      problems,
      requests,
      params,
      self._sampler.generate,
      self._pool.score,
      self._policy.tokenizer,
      self._length,
    )

  def _with_statistics(self, state: TrainState, part: Rollout) -> Rollout:
    """Adds what the trainer computes before any update: `old_logp`, `entropy`,
    and the moments and the reference's log-probs where they are asked for."""
    rollout = self._config.rollout
    stats = self._statistics(self._score, state.params, part)
    signals = stats | {"old_logp": stats.pop("logp")}
    if rollout.old_logp == "sampler":
      signals["old_logp"] = part.signals["sampler_logp"]
    if "ref_logp" in self._method.needs:
      frozen = state.roles["reference"]
      reference = self._statistics(self._score, frozen, part)
      signals["ref_logp"] = reference["logp"]
    for role in self._roles:
      params = state.roles[role.name].params
      seen = self._statistics(self._role_scores[role.name], params, part)
      signals |= role.observe(seen)
    return part.with_signals(**signals)

  def _statistics(
    self, score: ForwardPass, params: Params, part: Rollout
  ) -> dict[str, np.ndarray]:
    """What `score` gives for each token, by name: [responses, tokens]."""
    config, mesh = self._config, self._policy.mesh
    count = len(part.responses)
    slices = config.optimizer.updates * config.optimizer.micro_batches
    capacity = rows_lib.row_capacity(count, slices, mesh)
    rows = self._lay_out(part, (), capacity)
    stats = score(params, rows_lib.put(rows, slices, mesh))
    return {
      name: rows_lib.gather(multihost.fetch(values), rows, count, self._length)
      for name, values in vars(stats).items()
      if values is not None
    }

  def _put(self, part: Rollout, names: Iterable[str], responses: int) -> Rows:
    """A mini-batch on the mesh."""
    micro = self._config.optimizer.micro_batches
    rows = self._lay_out(part, names, responses)
    return rows_lib.put(rows, micro, self._policy.mesh)

  def _lay_out(
    self, part: Rollout, names: Iterable[str], responses: int
  ) -> Rows:
    config, mesh = self._config, self._policy.mesh
    micro = config.optimizer.micro_batches
    return minibatches.lay_out(
      part,
      names,
      capacity=rows_lib.row_capacity(responses, micro, mesh),
      length=build.row_length(config),
    )

  def _seeds(
    self, state: TrainState, step: int, count: int, stream: int
  ) -> list[int]:
    """Host seeds drawn from the state's key; `stream` keeps uses apart."""
    key = jax.random.fold_in(jax.random.fold_in(state.key, step), stream)
    return [int(x) >> 1 for x in np.asarray(jax.random.bits(key, (count,)))]


def make_score(forward: ForwardPass) -> ForwardPass:
  """A jitted forward pass over rows [M, R, L]; the statistics are [M * R, L].

  Rows come out in the order they had on the host.
  """

  @jax.jit
  def score(params: Params, rows: Rows) -> Any:
    stats = jax.lax.map(lambda part: forward(params, part), rows)
    return jax.tree.map(lambda x: x.reshape(-1, x.shape[-1]), stats)

  return score
