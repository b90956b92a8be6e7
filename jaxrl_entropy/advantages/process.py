"""PRIME's estimator: leave-one-out over process and outcome rewards."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxrl_entropy import arguments
from jaxrl_entropy.advantages.base import (
  AdvantageInputs,
  Advantages,
  Estimator,
  group_sum,
  last_token,
  whiten,
)
from jaxrl_entropy.advantages.tokenwise import reward_to_go
from jaxrl_entropy.ops import masked


def prime(process: float = 5.0, outcome: float = 5.0) -> Estimator:
  """Reward-to-go of leave-one-out process and outcome rewards, whitened.

  PRIME (Cui et al. 2025, arXiv 2502.01456). Each source's token rewards lose
  the mean of the mean rewards of the group's other responses. The returns are
  the reward-to-go.

  Args:
    process: weight of the implicit process rewards; 0: not read.
    outcome: weight of the outcome reward, earned at the last valid token.

  Raises:
    ValueError: for a number outside its range.
  """
  arguments.finite("prime", process=process, outcome=outcome)

  def estimate(inputs: AdvantageInputs) -> Advantages:
    mask, groups = inputs.mask, inputs.groups
    last = last_token(mask)
    rewards = outcome * _leave_one_out(inputs.rewards[:, None], last, groups)
    if inputs.process_rewards is not None and process:
      source = inputs.process_rewards
      rewards = rewards + process * _leave_one_out(source, mask, groups)
    returns = reward_to_go(rewards, mask)
    return Advantages(whiten(returns, mask), returns)

  return Estimator(
    estimate, frozenset({"process_rewards"} if process else set())
  )


def _leave_one_out(
  rewards: Float[Array, "N #T"],
  where: Bool[Array, "N T"],
  groups: Int[Array, "N"],
) -> Float[Array, "N T"]:
  """R n/(n-1) - sum_j mean_j/(n-1) on `where`, 0 elsewhere; r if n is 1."""
  rewards = masked.guard(rewards, where)
  count = jnp.maximum(where.sum(1), 1).astype(rewards.dtype)
  mean = rewards.sum(1) / count
  size = group_sum(jnp.ones_like(mean), groups)
  others = jnp.maximum(size - 1.0, 1.0)
  alone = size == 1
  scale = jnp.where(alone, 1.0, size / others)
  shift = jnp.where(alone, 0.0, group_sum(mean, groups) / others)
  return masked.guard(rewards * scale[:, None] - shift[:, None], where)
