"""The critic: a decoder with a value head, in place of the LM head."""

import dataclasses

from flax import struct
import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict
import optax

from jaxrl_entropy import losses
from jaxrl_entropy.models import lora, prefix
from jaxrl_entropy.training import state as state_lib
from jaxrl_entropy.training.auxiliary.base import Role, copied
from jaxrl_entropy.training.forward import Forward
from jaxrl_entropy.training.packed_batch import Rows
from jaxrl_entropy.training.rollout import Rollout
from jaxrl_entropy.types import Params


@struct.dataclass
class TokenValues:
  """The value of the state that each token is chosen in.

  Attributes:
    values: expected return, float32, in units of the reward.
  """

  values: Float[Array, "R L"]


@dataclasses.dataclass(frozen=True)
class ValueForward:
  """The critic's forward pass.

  Attributes:
    decoder: says how the decoder is run.
  """

  decoder: Forward

  def __call__(self, params: Params, rows: Rows) -> TokenValues:
    """Values at every token; column t sees the tokens before t."""
    hidden = self.decoder.hidden(params["decoder"], rows)
    kernel = params["value_head"]["kernel"].astype(hidden.dtype)
    values = jnp.matmul(hidden, kernel, preferred_element_type=jnp.float32)
    return TokenValues(jnp.roll(values, 1, axis=-1))


def start(params: Params) -> Params:
  """Returns the policy's decoder with a head that predicts 0 everywhere.

  Adapters are merged, and a soft prefix becomes rows of the embedding: the
  critic is trained in full.

  Args:
    params: the policy's.
  """
  width = params["final_norm"]["scale"].shape[0]
  decoder = {k: v for k, v in params.items() if k != "lm_head"}
  return {
    "decoder": copied(prefix.folded(lora.merged(decoder))),
    "value_head": {"kernel": jnp.zeros(width, jnp.float32)},
  }


def _targets(rollout: Rollout) -> Rollout:
  signals = rollout.signals
  return rollout.with_signals(
    old_values=signals["values"], logp=signals["old_logp"]
  )


def critic(config: ConfigDict, forward: Forward) -> Role:
  """Returns the critic of `config.critic`.

  It gives a rollout the signal `values` before its first update, and regresses
  on the estimator's `returns` with the clipped loss of PPO.

  Args:
    config: the whole configuration.
    forward: how the policy's decoder is run.
  """
  return Role(
    name="critic",
    forward=ValueForward(forward),
    objective=losses.objective(
      losses.add_value_loss(config.critic.clip), aggregate=losses.token_mean()
    ),
    optimizer=state_lib.make_optimizer(
      config.optimizer, optax.constant_schedule(config.critic.learning_rate)
    ),
    start=start,
    signals=lambda statistics: statistics,
    summarize=lambda rollout: rollout,
    targets=_targets,
    inputs=("old_values", "returns", "logp", "old_logp", "advantages"),
    reports=("value/error", "value/clip_share"),
  )
