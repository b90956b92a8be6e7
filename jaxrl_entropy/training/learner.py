"""Updates of the policy and of the auxiliary models from a rollout."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import operator
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from jaxrl_entropy import run_files, sharding
from jaxrl_entropy.training import rollout as rollout_lib, state as state_lib
from jaxrl_entropy.training.algorithm import Algorithm
from jaxrl_entropy.training.auxiliary.base import Role, copied
from jaxrl_entropy.training.forward import MOMENTS, OPTIONAL, ForwardPass
from jaxrl_entropy.training.layout import Layout
from jaxrl_entropy.training.lookahead import make_lookahead
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
  "old_entropy",
  "teacher_logp",
  "correct",
  "group",
  "group_accuracy",
  "embedding",
}

# Signals of the policy's forward pass that scoring always adds to a rollout.
SCORED = {"logp", "entropy"}

Update = Callable[[TrainState, Rows], tuple[TrainState, Metrics]]


@dataclasses.dataclass(frozen=True)
class LearnerSettings:
  """Sizes and choices of a run's updates.

  Attributes:
    seed: of the run.
    steps: of the run.
    num_minibatches: optimizer updates per rollout.
    micro_batches: slices of a mini-batch.
    groups: trained on per step, at most.
    group_size: responses of a group.
    statistics: tokens that the loss's means are over, see `loss_and_gradient`.
    optimizer: the `optimizer` section of the config.
  """

  seed: int
  steps: int
  num_minibatches: int
  micro_batches: int
  groups: int
  group_size: int
  statistics: str
  optimizer: ConfigDict


def learner_settings(config: ConfigDict) -> LearnerSettings:
  """Returns the settings of a config."""
  rollout = config.rollout
  return LearnerSettings(
    seed=config.seed,
    steps=config.steps,
    num_minibatches=rollout.num_minibatches,
    micro_batches=config.optimizer.micro_batches,
    groups=rollout.train_groups,
    group_size=rollout.group_size,
    statistics=config.loss.statistics,
    optimizer=config.optimizer,
  )


class Learner:
  """The compiled updates of a run; its state is passed in and out.

  Attributes:
    schedule: learning rate of the policy by optimizer update.
    responses: of a mini-batch, at most.
    signals: of a rollout that the policy's mini-batches carry.
  """

  def __init__(
    self,
    settings: LearnerSettings,
    algorithm: Algorithm,
    roles: Sequence[Role],
    forward: ForwardPass,
    layout: Layout,
  ) -> None:
    """Compiles nothing yet.

    Args:
      settings: sizes and choices.
      algorithm: of the run.
      roles: models that learn beside the policy.
      forward: the policy's forward pass.
      layout: of the rows.
    """
    self._settings, self._algorithm, self._roles = settings, algorithm, roles
    self._forward, self._layout = forward, layout
    optimizer, count = settings.optimizer, settings.num_minibatches
    self.schedule = state_lib.learning_rate(optimizer, settings.steps * count)
    self._optimizer = state_lib.make_optimizer(optimizer, self.schedule)
    self.responses = -(-settings.groups // count) * settings.group_size
    self.signals = ({"advantages", "old_logp"} | algorithm.needs) & CARRIED
    self._lookahead = make_lookahead(optimizer)
    # A rollout's only update sees the policy that scored it.
    only = count == 1 and self._lookahead is None
    if only and settings.micro_batches > 1:
      moments = MOMENTS if MOMENTS & algorithm.needs else set()
      self.signals |= SCORED | moments | (algorithm.needs & OPTIONAL)
    self._updates: dict[str, Update] = {}

  def init(self, params: Params, teacher: Params | None = None) -> TrainState:
    """Returns a fresh state whose auxiliary models start from `params`.

    Args:
      params: the policy's, which the state holds as they are; models that
        start from them get copies.
      teacher: parameters of a model that the policy is drawn toward; they too
        become the state's, which is donated to its updates.
    """
    seed, mesh = self._settings.seed, self._layout.mesh
    roles: dict[str, Any] = {
      role.name: role.init(params, seed, mesh) for role in self._roles
    }
    if "ref_logp" in self._algorithm.needs:
      roles["reference"] = copied(params)
    state = state_lib.init_state(
      params,
      self._optimizer,
      seed,
      mesh,
      roles=roles,
      controller=self._algorithm.controllers.init(),
      lookahead=self._lookahead.init() if self._lookahead else (),
    )
    if teacher is None:
      return state
    return state.replace(roles=state.roles | {state_lib.TEACHER: teacher})

  def update(
    self, state: TrainState, kept: Rollout, step: int
  ) -> tuple[TrainState, dict[str, float]]:
    """Makes all updates of one rollout.

    Args:
      state: donated.
      kept: the responses to learn from, with the signals of the objective.
      step: of the rollout; the mini-batches are drawn by it.

    Returns:
      The state after the updates, and the means of their metrics.
    """
    rng = np.random.default_rng(host_seeds(state.key, "minibatches", step))
    updates: list[Metrics] = []
    for minibatch in rollout_lib.split_minibatches(
      kept, self._settings.num_minibatches, rng
    ):
      rows = self._layout.minibatch(minibatch, self.signals, self.responses)
      state, metrics = self.policy_update(state)(state, rows)
      state, auxiliary = self._update_auxiliary(state, minibatch)
      updates.append(metrics | auxiliary)
    return state, _means(updates)

  def coefficients(self, state: TrainState) -> dict[str, float]:
    """Returns `control/*`, the arguments that controllers set next."""
    controllers = self._algorithm.controllers
    values = controllers.coefficients(state.controller, state.update)
    return {
      f"{run_files.CONTROL}{name}": float(v) for name, v in values.items()
    }

  def update_controllers(
    self, state: TrainState, record: Mapping[str, float]
  ) -> TrainState:
    """Returns the state with its controllers fed the record of a step.

    Args:
      state: after the updates of the step.
      record: metrics of the step by name.
    """
    moved = self._algorithm.controllers.update(state.controller, record)
    return state.replace(controller=moved)

  def policy_update(self, state: TrainState) -> Update:
    """Returns the jitted update of the policy; `state` may be shapes."""
    if "policy" not in self._updates:
      self._updates["policy"] = make_update(
        self._algorithm.objective,
        self._optimizer,
        self._forward,
        sharding.param_shardings(state, self._layout.mesh),
        statistics=self._settings.statistics,
        lookahead=self._lookahead,
        num_responses=self.responses,
        max_length=self._layout.response_length,
      )
    return self._updates["policy"]

  def _update_auxiliary(
    self, state: TrainState, minibatch: Rollout
  ) -> tuple[TrainState, Metrics]:
    """Updates each auxiliary model on the same mini-batch."""
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
      targets = role.targets(minibatch)
      rows = self._layout.minibatch(targets, role.inputs, self.responses)
      own, role_metrics = self._updates[role.name](own, rows)
      state = state.replace(roles=state.roles | {role.name: own})
      metrics |= role_metrics
    return state, metrics


def _means(updates: Sequence[Metrics]) -> dict[str, float]:
  """Returns each metric's mean over all updates of a step.

  One transfer and sums on the host: on the device each of these hundreds of
  scalar operations would be a program of its own.
  """
  host = jax.device_get(updates)
  with np.errstate(all="ignore"):  # Keeps non-finite values.
    totals = {
      name: functools.reduce(operator.add, (update[name] for update in host))
      for name in (host[0] if host else ())
    }
    return {
      name: float(mean.total / mean.count) if mean.count else 0.0
      for name, mean in totals.items()
    }
