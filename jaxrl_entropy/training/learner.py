"""Rollouts in, updated models out: the policy and the models beside it."""

from collections.abc import Callable, Mapping, Sequence
import functools
import operator
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from jaxrl_entropy import sharding
from jaxrl_entropy.training import rollout as rollout_lib, state as state_lib
from jaxrl_entropy.training.algorithm import Algorithm
from jaxrl_entropy.training.auxiliary.base import Role, copied
from jaxrl_entropy.training.forward import ForwardPass
from jaxrl_entropy.training.layout import Layout
from jaxrl_entropy.training.packed_batch import Rows
from jaxrl_entropy.training.rollout import Rollout
from jaxrl_entropy.training.state import TrainState, host_seeds
from jaxrl_entropy.training.update import make_update
from jaxrl_entropy.types import Metrics, Params

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

# What scoring a rollout leaves on it of the policy's forward pass.
SCORED = {"logp", "entropy"}
MOMENTS = {"sum_p2", "sum_p2_logp"}

Update = Callable[[TrainState, Rows], tuple[TrainState, Metrics]]


class Learner:
  """The compiled updates of a run; its state is passed in and out.

  Attributes:
    schedule: learning rate of the policy by optimiser update.
    responses: of a mini-batch, at most.
    signals: of a rollout that the policy's mini-batches carry.
  """

  def __init__(
    self,
    config: ConfigDict,
    algorithm: Algorithm,
    roles: Sequence[Role],
    forward: ForwardPass,
    layout: Layout,
  ) -> None:
    self._config, self._algorithm, self._roles = config, algorithm, roles
    self._forward, self._layout = forward, layout
    updates = config.steps * config.rollout.num_minibatches
    self.schedule = state_lib.learning_rate(config.optimizer, updates)
    self._optimizer = state_lib.make_optimizer(config.optimizer, self.schedule)
    groups = -(-config.rollout.train_groups // config.rollout.num_minibatches)
    self.responses = groups * config.rollout.group_size
    self.signals = ({"advantages", "old_logp"} | algorithm.needs) & CARRIED
    # A rollout's only update sees the policy that scored it.
    if (
      config.rollout.num_minibatches == 1 and config.optimizer.micro_batches > 1
    ):
      self.signals |= SCORED | (MOMENTS if algorithm.moments else set())
    self._updates: dict[str, Update] = {}

  def init(self, params: Params) -> TrainState:
    """A fresh state; every other model that is needed starts from `params`."""
    seed, mesh = self._config.seed, self._layout.mesh
    roles: dict[str, Any] = {
      role.name: role.init(params, seed, mesh) for role in self._roles
    }
    if "ref_logp" in self._algorithm.needs:
      roles["reference"] = copied(params)
    return state_lib.init_state(
      params,
      self._optimizer,
      seed,
      mesh,
      roles=roles,
      controller=self._algorithm.controllers.init(),
    )

  def learn(
    self, state: TrainState, kept: Rollout, step: int
  ) -> tuple[TrainState, dict[str, float]]:
    """All optimiser updates of one rollout, and their metrics as one."""
    rng = np.random.default_rng(host_seeds(state.key, "minibatches", step))
    found: list[Metrics] = []
    for part in rollout_lib.split_minibatches(
      kept, self._config.rollout.num_minibatches, rng
    ):
      rows = self._layout.minibatch(part, self.signals, self.responses)
      state, metrics = self.policy_update(state)(state, rows)
      state, taught = self._teach(state, part)
      found.append(metrics | taught)
    return state, _means(found)

  def coefficients(self, state: TrainState) -> dict[str, float]:
    """`control/*`: what the controllers set at the next update."""
    controllers = self._algorithm.controllers
    values = controllers.coefficients(state.controller, state.update)
    return {f"control/{name}": float(v) for name, v in values.items()}

  def steer(self, state: TrainState, record: Mapping[str, float]) -> TrainState:
    """Feeds a step's record to the controllers."""
    moved = self._algorithm.controllers.update(state.controller, record)
    return state.replace(controller=moved)

  def policy_update(self, state: TrainState) -> Update:
    """The jitted update of the policy; `state` may be shapes."""
    if "policy" not in self._updates:
      self._updates["policy"] = make_update(
        self._algorithm.objective,
        self._optimizer,
        self._forward,
        sharding.param_shardings(state, self._layout.mesh),
        statistics=self._config.loss.statistics,
        num_responses=self.responses,
        max_length=self._layout.response_length,
      )
    return self._updates["policy"]

  def _teach(
    self, state: TrainState, part: Rollout
  ) -> tuple[TrainState, Metrics]:
    """One update of each model beside the policy, on the same mini-batch."""
    metrics: Metrics = {}
    for role in self._roles:
      own = state.roles[role.name]
      if role.name not in self._updates:
        self._updates[role.name] = role.make_update(
          own,
          self._layout.mesh,
          num_responses=self.responses,
          max_length=self._layout.response_length,
        )
      lesson = role.lesson(part)
      rows = self._layout.minibatch(lesson, role.reads, self.responses)
      own, found = self._updates[role.name](own, rows)
      state = state.replace(roles=state.roles | {role.name: own})
      metrics |= found
    return state, metrics


def _means(parts: Sequence[Metrics]) -> dict[str, float]:
  """The metrics over all parts.

  One transfer and sums on the host: on the device each of these hundreds of
  scalar operations would be a program of its own.
  """
  host = jax.device_get(parts)
  with np.errstate(all="ignore"):  # What is not finite stays so.
    totals = {
      name: functools.reduce(operator.add, (part[name] for part in host))
      for name in (host[0] if host else ())
    }
    return {
      name: float(mean.total / mean.count) if mean.count else 0.0
      for name, mean in totals.items()
    }
