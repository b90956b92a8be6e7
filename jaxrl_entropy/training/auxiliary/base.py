"""Models that learn beside the policy, from the same rollouts.

A role has parameters, an optimizer and an objective of its own; it goes through
the same update as the policy (`training.step`), mini-batch by mini-batch. What
it measures on a rollout becomes signals of it, for the advantage estimator.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
from jax.sharding import Mesh
import numpy as np
import optax

from jaxrl_entropy import sharding
from jaxrl_entropy.training import state as state_lib
from jaxrl_entropy.training.packed_batch import Rows
from jaxrl_entropy.training.rollout import Rollout
from jaxrl_entropy.training.state import TrainState
from jaxrl_entropy.training.update import Objective, make_update
from jaxrl_entropy.types import Metrics, Params


@dataclasses.dataclass(frozen=True)
class Role:
  """A model that is trained beside the policy, with its objective.

  Attributes:
    name: key of its state in `TrainState.roles`, and prefix of its metrics.
    forward: (params, rows of one micro-batch) -> statistics, arrays [R, L]
      named as the fields of TokenBatch.
    objective: what it minimizes.
    optimizer: its gradient transformation.
    start: (parameters of the policy) -> its own first ones.
    signals: (its statistics on a rollout, [N, T] by name) -> signals.
    summarize: adds the signals that depend on the whole rollout.
    targets: puts the inputs of its objective among the rollout's signals.
    inputs: names of those inputs.
    reports: metrics of its objective worth keeping.
  """

  name: str
  forward: Callable[[Params, Rows], Any]
  objective: Objective
  optimizer: optax.GradientTransformation
  start: Callable[[Params], Params]
  signals: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
  summarize: Callable[[Rollout], Rollout]
  targets: Callable[[Rollout], Rollout]
  inputs: tuple[str, ...]
  reports: tuple[str, ...]

  def init(self, params: Params, seed: int, mesh: Mesh) -> TrainState:
    """Returns a fresh state, made from the policy's parameters.

    Args:
      params: the policy's parameters, on `mesh`.
      seed: root of the role's random draws.
      mesh: devices that the state is laid out on.
    """
    return state_lib.init_state(self.start(params), self.optimizer, seed, mesh)

  def make_update(
    self,
    state: TrainState,
    mesh: Mesh,
    *,
    num_responses: int,
    max_length: int,
  ) -> Callable[[TrainState, Rows], tuple[TrainState, Metrics]]:
    """Returns the jitted update of the state, which it donates.

    Args:
      state: a state of the role, for its shapes alone.
      mesh: devices that hold the state.
      num_responses: most responses of a mini-batch, static.
      max_length: most tokens of a response, static.

    Returns:
      (state, rows of one mini-batch) -> the next state and the metrics of
      `reports`, the loss and the gradient norm, prefixed by the role's name.
    """
    update = make_update(
      lambda _: self.objective,
      self.optimizer,
      self.forward,
      sharding.param_shardings(state, mesh),
      num_responses=num_responses,
      max_length=max_length,
    )
    kept = (*self.reports, "loss", "grad_norm")

    def named(state: TrainState, rows: Rows) -> tuple[TrainState, Metrics]:
      state, metrics = update(state, rows)
      return state, {f"{self.name}/{key}": metrics[key] for key in kept}

    return named


def copied(params: Params) -> Params:
  """Buffers of their own: a state is donated to its update."""
  return jax.tree.map(lambda x: x.copy(), params)
