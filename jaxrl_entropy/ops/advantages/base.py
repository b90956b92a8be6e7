"""What every advantage estimator takes and gives, and their shared maths."""

from collections.abc import Callable
import dataclasses
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


@struct.dataclass
class AdvantageInputs:
  """Everything known of a whole rollout: one response a row.

  A row without valid tokens gets advantage 0. To be in no statistic either, a
  padding row has reward 0 and a group of its own. Masked positions may hold
  anything, NaN included.

  Attributes:
    rewards: outcome reward of each response; for `baseline`-type estimators it
      is earned at the last valid token.
    mask: True at response tokens.
    groups: id of the prompt each response answers, in [0, N); groups may have
      different sizes and their rows need not be neighbours.
    token_rewards: reward of each token, added to the outcome (KL in the reward,
      say).
    process_rewards: implicit process reward of each token (PRIME).
    values: value head's prediction when the rollout was made.
    old_logp: log-prob under the policy that made the rollout, nats.
    sum_p2: sum over the vocabulary of p^2 under that policy.
    sampler_weights: importance weight of the trainer against the sampler.
    baseline_rewards: reward of the prompt's greedy response (ReMax).
    components: reward of each of K reward functions; NaN where a function has
      nothing to say of the response.
  """

  rewards: Float[Array, "N"]
  mask: Bool[Array, "N T"]
  groups: Int[Array, "N"]
  token_rewards: Float[Array, "N T"] | None = None
  process_rewards: Float[Array, "N T"] | None = None
  values: Float[Array, "N T"] | None = None
  old_logp: Float[Array, "N T"] | None = None
  sum_p2: Float[Array, "N T"] | None = None
  sampler_weights: Float[Array, "N T"] | None = None
  baseline_rewards: Float[Array, "N"] | None = None
  components: Float[Array, "K N"] | None = None


@struct.dataclass
class Advantages:
  """An estimator's result; both are 0 at masked positions.

  Attributes:
    advantages: advantage of each token.
    returns: what a value head regresses on; the advantages themselves for
      estimators without a notion of return.
  """

  advantages: Float[Array, "N T"]
  returns: Float[Array, "N T"]


@dataclasses.dataclass(frozen=True)
class Estimator:
  """A function of AdvantageInputs that says which optional fields it reads."""

  estimate: Callable[[AdvantageInputs], Advantages]
  needs: frozenset[str] = frozenset()

  def __call__(self, inputs: AdvantageInputs) -> Advantages:
    """Estimates in float32; no gradient passes.

    Raises:
      ValueError: if a field in `needs` is missing.
    """
    for field in sorted(self.needs):
      if getattr(inputs, field) is None:
        raise ValueError(
          f"this advantage estimator needs AdvantageInputs.{field}, which is "
          "None: provide it, or choose another config.advantage.name"
        )
    inputs = jax.tree.map(_as_constant, inputs)
    result = self.estimate(inputs)
    keep = inputs.mask
    return jax.tree.map(lambda x: jnp.where(keep, x, 0.0), result)


def _as_constant(x: Any) -> jax.Array:
  x = jax.lax.stop_gradient(jnp.asarray(x))
  return x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x


def clean(x: jax.Array, mask: jax.Array) -> jax.Array:
  """`x` with 0 at masked positions, whatever was there."""
  return jnp.where(mask, x, 0.0)


def scores(inputs: AdvantageInputs) -> Float[Array, "N"]:
  """Total reward of each response: the outcome and its tokens' rewards."""
  if inputs.token_rewards is None:
    return inputs.rewards
  return inputs.rewards + clean(inputs.token_rewards, inputs.mask).sum(1)


def last_token(mask: Bool[Array, "N T"]) -> Bool[Array, "N T"]:
  """True at the last valid token of each row that has one."""
  later = jnp.cumsum(mask[:, ::-1], axis=1)[:, ::-1]
  return mask & (later == 1)


def dense_rewards(inputs: AdvantageInputs) -> Float[Array, "N T"]:
  """Rewards where they are earned: the outcome's at the last valid token."""
  rewards = clean(inputs.rewards[:, None], last_token(inputs.mask))
  if inputs.token_rewards is not None:
    rewards = rewards + clean(inputs.token_rewards, inputs.mask)
  return rewards


def spread(per_response: jax.Array, inputs: AdvantageInputs) -> Advantages:
  """One number a response, given to each of its tokens."""
  tokens = jnp.broadcast_to(per_response[:, None], inputs.mask.shape)
  return Advantages(tokens, tokens)


def group_sum(x: Float[Array, "N *rest"], groups: Int[Array, "N"]) -> jax.Array:
  """For each row, the sum of `x` over the rows of its group."""
  return jax.ops.segment_sum(x, groups, len(groups))[groups]


def group_size(groups: Int[Array, "N"]) -> Float[Array, "N"]:
  return group_sum(jnp.ones(groups.shape, jnp.float32), groups)


def group_centered(
  x: Float[Array, "N"], groups: Int[Array, "N"]
) -> Float[Array, "N"]:
  """`x` less the mean of its group; a group of one keeps its `x`.

  Measured from the group's largest value first: a group whose values are all
  equal comes out as exact zeros, where rounding of the mean would leave dust
  for a division by a tiny deviation to blow up.
  """
  size = group_size(groups)
  top = jax.ops.segment_max(x, groups, len(groups))[groups]
  below = x - top
  centered = below - group_sum(below, groups) / size
  return jnp.where(size > 1, centered, x)


def group_std(
  centered: Float[Array, "N"], groups: Int[Array, "N"]
) -> Float[Array, "N"]:
  """Sample standard deviation of each row's group; 1 for a group of one."""
  size = group_size(groups)
  squares = group_sum(centered * centered, groups)
  deviation = jnp.sqrt(squares / jnp.maximum(size - 1, 1))
  return jnp.where(size > 1, deviation, 1.0)


def whiten(
  x: Float[Array, "N T"], mask: Bool[Array, "N T"], eps: float = 1e-8
) -> Float[Array, "N T"]:
  """Zero mean and unit (sample) variance over the valid tokens.

  Fewer than two valid tokens have no variance: the result is centred only.
  """
  count = jnp.maximum(mask.sum().astype(jnp.float32), 1.0)
  x = clean(x, mask)
  centered = clean(x - x.sum() / count, mask)
  variance = (centered * centered).sum() / jnp.maximum(count - 1.0, 1.0)
  return centered * jax.lax.rsqrt(variance + eps)
