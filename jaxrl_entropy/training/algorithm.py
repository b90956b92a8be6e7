"""The method of a run: its objective, estimator and controllers, by config."""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxrl_entropy import advantages, losses, objectives
from jaxrl_entropy.advantages import AdvantageInputs, Estimator
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.training import controllers as controllers_lib
from jaxrl_entropy.training.controllers import Controllers
from jaxrl_entropy.training.state import TrainState
from jaxrl_entropy.training.update import Objective


@dataclasses.dataclass(frozen=True)
class Algorithm:
  """An objective with the settings and batch fields that it needs.

  Attributes:
    loss: the `loss` section of the config.
    estimator: of the advantages.
    controllers: of the loss's arguments.
    tis_cap: of the weights that correct off-policy rollouts; None where
      rollouts are on policy, or the loss has such weights itself.
    router: coefficients of `losses.add_router_losses`, if any is above 0.
    needs: optional fields of a TokenBatch or of AdvantageInputs that are read.
  """

  loss: ConfigDict
  estimator: Estimator
  controllers: Controllers
  tis_cap: float | None = None
  router: tuple[float, float] | None = None
  needs: frozenset[str] = frozenset()

  def objective(self, state: TrainState) -> Objective:
    """Returns the objective at a state; controlled arguments may be traced.

    Args:
      state: its controllers and its number of updates set the coefficients.
    """
    driven = self.controllers.coefficients(state.controller, state.update)
    return self.build(driven)

  def build(self, driven: Mapping[str, Any]) -> losses.Objective:
    """Builds the objective with values for its controlled arguments.

    Args:
      driven: values of the loss arguments that controllers set, by name; they
        replace those of the config.
    """
    plain = objectives.resolve(self.loss.name, {**self.loss.args, **driven})
    added = []
    if self.tis_cap is not None:
      added.append(losses.importance_weight(self.tis_cap))
    if self.router is not None:
      added.append(losses.add_router_losses(*self.router))
    if not added:
      return plain
    return losses.objective(
      *plain.transforms, *added, aggregate=plain.aggregate
    )


def resolve(config: ConfigDict) -> Algorithm:
  """Returns the algorithm that a config names.

  Raises:
    ValueError: for a name or an argument that is not known.
  """
  rollout = config.rollout
  stale = (
    rollout.max_staleness or rollout.partial_tokens or rollout.weight_dtype
  )
  estimator = advantages.resolve(
    config.advantage.name, config.advantage.args.to_dict()
  )
  _check_group_size(config, estimator)
  controllers = controllers_lib.resolve(config.loss.controllers)
  router = config.model.router_balance, config.model.router_z
  method = Algorithm(
    config.loss, estimator, controllers, router=router if any(router) else None
  )
  start = controllers.coefficients(controllers.init(), jnp.int32(0))
  needs = _needs(method.build(start), config)
  # A loss that reads the sampler's log-probs corrects for it by itself.
  if stale and "sampler_logp" not in needs:
    cap = rollout.tis_cap
    method = dataclasses.replace(method, tis_cap=cap)
    needs |= {"sampler_logp"}
  needs |= estimator.needs
  if config.reward.kl_coefficient or "process_rewards" in needs:
    needs |= {"ref_logp"}
  return dataclasses.replace(method, needs=needs)


def _check_group_size(config: ConfigDict, estimator: Estimator) -> None:
  """Refuses groups of one response where responses to a prompt are compared.

  An estimator compares them if it gives 0 to groups of equal rewards that
  differ from group to group.

  Raises:
    UserError: if there is nothing to compare a response with.
  """
  if config.rollout.group_size > 1 or estimator.needs:
    return
  groups = jnp.array([0, 0, 1, 1])
  inputs = AdvantageInputs(
    groups.astype(jnp.float32), jnp.ones((4, 1), bool), groups
  )
  if not jnp.any(estimator(inputs).advantages):
    raise UserError(
      "config.rollout.group_size is 1, and the advantage estimator "
      f"{config.advantage.name!r} compares the responses to a prompt: raise it "
      "to 2 or more, or set advantage.name='reinforce_plus_plus'"
    )


def _needs(objective: losses.Objective, config: ConfigDict) -> frozenset[str]:
  """Returns the batch fields that the objective reads, found by tracing it.

  Raises:
    UserError: if it cannot run, as with an argument of the wrong type.
  """
  try:
    return objective.needs
  except TypeError as error:
    args = dict(config.loss.args)
    raise UserError(
      f"loss {config.loss.name!r} cannot run with loss.args {args}: {error}"
    ) from error
