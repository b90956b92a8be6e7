"""Estimators that tell the tokens of a response apart."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxrl_entropy import arguments
from jaxrl_entropy.advantages.base import (
  AdvantageInputs,
  Advantages,
  Estimator,
  dense_rewards,
  group_max,
  group_sum,
  whiten,
)
from jaxrl_entropy.ops import masked


def reward_to_go(
  rewards: Float[Array, "N T"], mask: Bool[Array, "N T"], gamma: float = 1.0
) -> Float[Array, "N T"]:
  """Discounted sum of the rewards from each valid token on.

  `rewards` is 0 at masked positions, which take no step of discount.

  Args:
    rewards: of each token; 0 at masked positions.
    mask: True at valid tokens, which alone take a step of discount.
    gamma: discount per token.
  """

  def step(later: jax.Array, now: tuple[jax.Array, jax.Array]):
    reward, valid = now
    later = jnp.where(valid, reward + gamma * later, later)
    return later, later

  end = jnp.zeros(rewards.shape[0], rewards.dtype)
  _, returns = jax.lax.scan(step, end, (rewards.T, mask.T), reverse=True)
  return returns.T


def reinforce_plus_plus(gamma: float = 1.0) -> Estimator:
  """Reward-to-go, whitened over all tokens (Hu et al. 2025, 2501.03262).

  The returns are the reward-to-go.

  Args:
    gamma: discount per token, in [0, 1].

  Raises:
    ValueError: for a number outside its range.
  """
  arguments.within("reinforce_plus_plus", 0.0, 1.0, gamma=gamma)

  def estimate(inputs: AdvantageInputs) -> Advantages:
    returns = reward_to_go(dense_rewards(inputs), inputs.mask, gamma)
    return Advantages(whiten(returns, inputs.mask), returns)

  return Estimator(estimate)


def remax() -> Estimator:
  """Reward-to-go less the reward of the prompt's greedy response.

  ReMax (Li et al. 2023, arXiv 2310.10505). The returns are the reward-to-go.
  """

  def estimate(inputs: AdvantageInputs) -> Advantages:
    returns = reward_to_go(dense_rewards(inputs), inputs.mask)
    assert inputs.baseline_rewards is not None
    return Advantages(returns - inputs.baseline_rewards[:, None], returns)

  return Estimator(estimate, frozenset({"baseline_rewards"}))


def gae(gamma: float = 1.0, lam: float = 1.0) -> Estimator:
  """Generalized advantage estimation (arXiv 1506.02438), whitened.

  delta_t = r_t + gamma V_{t+1} - V_t; A_t = sum_k (gamma lam)^k delta_{t+k},
  over the valid tokens. The returns are A + V, before whitening.

  Args:
    gamma: discount per token, in [0, 1].
    lam: decay of later errors of the critic, in [0, 1]; 1: none.

  Raises:
    ValueError: for a number outside its range.
  """
  arguments.within("gae", 0.0, 1.0, gamma=gamma, lam=lam)

  def estimate(inputs: AdvantageInputs) -> Advantages:
    assert inputs.values is not None
    values = masked.guard(inputs.values, inputs.mask)

    def step(later: tuple[jax.Array, jax.Array], now: tuple[jax.Array, ...]):
      next_value, carried = later
      reward, value, valid = now
      delta = reward + gamma * next_value - value
      carried = jnp.where(valid, delta + gamma * lam * carried, carried)
      return (jnp.where(valid, value, next_value), carried), carried

    end = jnp.zeros(values.shape[0], values.dtype)
    columns = (dense_rewards(inputs).T, values.T, inputs.mask.T)
    _, advantages = jax.lax.scan(step, (end, end), columns, reverse=True)
    return Advantages(whiten(advantages.T, inputs.mask), advantages.T + values)

  return Estimator(estimate, frozenset({"values"}))


def optimal_token_baseline(
  zero_tail: bool = True, weighted: bool = False, eps: float = 1e-8
) -> Estimator:
  """Reward-to-go less the variance-minimizing baseline of (group, position).

  B_t = sum_g G_t W_t / sum_g W_t, where W_t sums w = 1 - 2 p + sum_v p_v^2, the
  squared norm of the softmax score, over the tokens up to t. As verl has it;
  a group of one has baseline 0. Returns are the reward-to-go.

  Args:
    zero_tail: no baseline for the longest response of a group where no other
      reaches.
    weighted: multiply w by the squared importance weight of the policy against
      the sampler.
    eps: added to the denominator, at least 0.

  Raises:
    ValueError: for a number outside its range.
  """
  arguments.within("optimal_token_baseline", 0.0, eps=eps)

  def estimate(inputs: AdvantageInputs) -> Advantages:
    mask, groups = inputs.mask, inputs.groups
    returns = reward_to_go(dense_rewards(inputs), mask)
    assert inputs.old_logp is not None
    assert inputs.sum_p2 is not None
    w = 1.0 - 2.0 * jnp.exp(inputs.old_logp) + inputs.sum_p2
    if weighted:
      assert inputs.sampler_logp is not None
      w = w * jnp.exp(2.0 * (inputs.old_logp - inputs.sampler_logp))
    reach = masked.guard(jnp.cumsum(masked.guard(w, mask), axis=1), mask)
    weight = group_sum(reach, groups)
    baseline = group_sum(returns * reach, groups) / (weight + eps)
    alone = group_sum(jnp.ones(len(groups)), groups) == 1
    absent = alone[:, None]
    if zero_tail:
      absent = absent | _beyond_others(mask, groups)
    return Advantages(returns - jnp.where(absent, 0.0, baseline), returns)

  needs = {"old_logp", "sum_p2"} | ({"sampler_logp"} if weighted else set())
  return Estimator(estimate, frozenset(needs))


def _beyond_others(mask: jax.Array, groups: jax.Array) -> jax.Array:
  """Where a group's only longest row goes on after all its others ended."""
  length = mask.sum(1).astype(jnp.float32)
  longest = length == group_max(length, groups)
  only = longest & (group_sum(longest.astype(jnp.float32), groups) == 1)
  second = group_max(jnp.where(longest, 0.0, length), groups)
  column = jnp.arange(mask.shape[1], dtype=jnp.float32)
  return only[:, None] & (column[None] >= second[:, None])


def tir_optimal_token_baseline(**args: bool | float) -> Estimator:
  """`optimal_token_baseline` by order among valid tokens, not by column.

  For responses with masked tokens in between (tool results). A response with
  no valid token is no member of its group.

  Args:
    **args: those of `optimal_token_baseline`.
  """
  inner = optimal_token_baseline(**args)  # type: ignore[arg-type]

  def estimate(inputs: AdvantageInputs) -> Advantages:
    order = jnp.argsort(~inputs.mask, axis=1, stable=True)
    back = jnp.argsort(order, axis=1)

    def pack(x: jax.Array) -> jax.Array:
      return jnp.take_along_axis(x, order, axis=1) if x.ndim == 2 else x

    empty = ~inputs.mask.any(1)
    groups = jnp.where(empty, len(empty), inputs.groups)
    packed = jax.tree.map(pack, inputs)
    result = inner.estimate(packed.replace(groups=groups))
    return jax.tree.map(lambda x: jnp.take_along_axis(x, back, 1), result)

  return Estimator(estimate, inner.needs)
