"""The method of a run: its objective, estimator and controllers, by config."""

import dataclasses

import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxrl_entropy.losses import alias
from jaxrl_entropy.ops import advantages
from jaxrl_entropy.ops.advantages import Estimator
from jaxrl_entropy.training import controllers as controllers_lib
from jaxrl_entropy.training.controllers import Controllers
from jaxrl_entropy.training.state import TrainState
from jaxrl_entropy.training.step import Objective


@dataclasses.dataclass(frozen=True)
class Method:
  """What is optimised, and what it has to be given.

  Attributes:
    config: the `loss` section.
    estimator: of the advantages.
    controllers: of the loss's arguments.
    needs: optional fields of a TokenBatch or of AdvantageInputs that are read.
  """

  config: ConfigDict
  estimator: Estimator
  controllers: Controllers
  needs: frozenset[str]

  @property
  def moments(self) -> bool:
    """Whether the second moments of the distributions are read."""
    return bool(self.needs & {"sum_p2", "sum_p2_logp"})

  def objective(self, state: TrainState) -> Objective:
    """The objective at a state; its controlled arguments may be traced."""
    driven = self.controllers.coefficients(state.controller, state.update)
    return alias.resolve(self.config.name, {**self.config.args, **driven})


def resolve(config: ConfigDict) -> Method:
  """The method of a config.

  Raises:
    ValueError: for a name or an argument that is not known.
  """
  controllers = controllers_lib.resolve(config.loss.controllers)
  start = controllers.coefficients(controllers.init(), jnp.int32(0))
  first = alias.resolve(config.loss.name, {**config.loss.args, **start})
  estimator = advantages.resolve(config.advantage.name, config.advantage.args)
  needs = first.needs | estimator.needs
  if config.reward.kl_coefficient or "process_rewards" in needs:
    needs |= {"ref_logp"}
  return Method(config.loss, estimator, controllers, frozenset(needs))
