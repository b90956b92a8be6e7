"""Estimators that tell the tokens of a response apart."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxrl_entropy.ops.advantages.base import (
  AdvantageInputs,
  Advantages,
  Estimator,
  dense_rewards,
  whiten,
)


def reward_to_go(
  rewards: Float[Array, "N T"], mask: Bool[Array, "N T"], gamma: float = 1.0
) -> Float[Array, "N T"]:
  """Discounted sum of the rewards from each valid token on.

  `rewards` is 0 at masked positions, which take no step of discount.
  """

  def step(carry: jax.Array, now: tuple[jax.Array, jax.Array]):
    reward, valid = now
    carry = jnp.where(valid, reward + gamma * carry, carry)
    return carry, carry

  start = jnp.zeros(rewards.shape[0], rewards.dtype)
  _, returns = jax.lax.scan(step, start, (rewards.T, mask.T), reverse=True)
  return returns.T


def reinforce_plus_plus(gamma: float = 1.0) -> Estimator:
  """Reward-to-go, whitened over the batch's tokens: REINFORCE++.

  Hu et al. 2025. The returns are the reward-to-go.
  """

  def estimate(inputs: AdvantageInputs) -> Advantages:
    returns = reward_to_go(dense_rewards(inputs), inputs.mask, gamma)
    return Advantages(whiten(returns, inputs.mask), returns)

  return Estimator(estimate)
