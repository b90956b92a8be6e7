"""Estimators that give every token of a response the same advantage.

`s` is a response's total reward, `mean_g` and `std_g` are over the responses to
the same prompt; a group of one has mean 0 and deviation 1.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxrl_entropy import arguments
from jaxrl_entropy.advantages.base import (
  AdvantageInputs,
  Advantages,
  Estimator,
  group_max,
  group_statistics,
  group_sum,
  scored_groups,
  scores,
  spread,
  whiten,
)
from jaxrl_entropy.ops import masked


def grpo(scale: str = "group", eps: float = 1e-6) -> Estimator:
  """(s - mean_g) / (std + eps): GRPO (Shao et al. 2024, arXiv 2402.03300).

  Args:
    scale: which standard deviation divides: that of the "group", of the whole
      "batch", or "none".
    eps: added to the deviation.

  Raises:
    ValueError: for another `scale`, or an `eps` below 0.
  """
  arguments.one_of("grpo", ("group", "batch", "none"), scale=scale)
  arguments.within("grpo", 0.0, eps=eps)

  def estimate(inputs: AdvantageInputs) -> Advantages:
    s, groups = scores(inputs), inputs.groups
    group = group_statistics(s, groups)
    if scale == "none":
      return spread(group.centered, inputs)
    std = group.std if scale == "group" else _batch_moments(s, groups)[1]
    return spread(group.centered / (std + eps), inputs)

  return Estimator(estimate)


def _batch_moments(
  x: Float[Array, "N"], groups: Int[Array, "N"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """Mean and sample deviation over the responses that have a score."""
  scored = (groups < len(groups)).astype(x.dtype)
  count = jnp.maximum(scored.sum(), 1.0)
  mean = (x * scored).sum() / count
  squares = (scored * (x - mean) ** 2).sum()
  return mean, jnp.sqrt(squares / jnp.maximum(count - 1.0, 1.0))


def dr_grpo() -> Estimator:
  """S - mean_g: Dr. GRPO (Liu et al. 2025, arXiv 2503.20783)."""
  return grpo(scale="none")


def grpo_passk(scale: bool = True, eps: float = 1e-6) -> Estimator:
  """The best of a group gets its lead over the second, the others 0.

  Pass@k training as verl has it (Tang et al. 2025, arXiv 2503.19595). A tie at
  the top leads by 0.

  Args:
    scale: divide by std_g + eps.
    eps: added to the deviation.

  Raises:
    ValueError: for an `eps` below 0; on use, if a group has one response
      (where group ids are traced it is not seen, and that response gets 0).
  """
  arguments.within("grpo_passk", 0.0, eps=eps)

  def estimate(inputs: AdvantageInputs) -> Advantages:
    s, groups = scores(inputs), inputs.groups
    group = group_statistics(s, groups)
    best = group_max(s, groups)
    leads = s == best
    second = group_max(jnp.where(leads, -jnp.inf, s), groups)
    ties = group_sum(leads.astype(s.dtype), groups)
    unique = leads & (ties == 1) & (group.size > 1)
    gap = jnp.where(unique, best - second, 0.0)
    return spread(gap / (group.std + eps) if scale else gap, inputs)

  return Estimator(estimate, smallest_group=2)


def rloo(single: str = "reward") -> Estimator:
  """S - mean of the group's others: RLOO (Ahmadian et al. 2024, 2402.14740).

  Args:
    single: what a group of one gets, having no others: its "reward", or "zero".

  Raises:
    ValueError: for another `single`.
  """
  arguments.one_of("rloo", ("reward", "zero"), single=single)

  def estimate(inputs: AdvantageInputs) -> Advantages:
    group = group_statistics(scores(inputs), inputs.groups)
    alone = 1.0 if single == "reward" else 0.0
    factor = group.size / jnp.maximum(group.size - 1.0, 1.0)
    factor = jnp.where(group.size > 1, factor, alone)
    return spread(group.centered * factor, inputs)

  return Estimator(estimate)


def opo() -> Estimator:
  """S - length-weighted mean of the group: OPO (Hao et al. 2025, 2505.23585).

  A group of one has baseline 0.
  """

  def estimate(inputs: AdvantageInputs) -> Advantages:
    s, groups = scores(inputs), inputs.groups
    length = inputs.mask.sum(1).astype(jnp.float32)
    below = s - group_max(s, groups)
    tokens = jnp.maximum(group_sum(length, groups), 1.0)
    centered = below - group_sum(length * below, groups) / tokens
    alone = group_sum(jnp.ones_like(s), groups) == 1
    return spread(jnp.where(alone, s, centered), inputs)

  return Estimator(estimate)


def gpg() -> Estimator:
  """(s - mean_g) N / #{s != 0}: GPG (Chu et al. 2025, arXiv 2504.02546)."""

  def estimate(inputs: AdvantageInputs) -> Advantages:
    s, groups = scores(inputs), inputs.groups
    scored = groups < len(groups)
    active = jnp.maximum((scored & (s != 0)).sum().astype(jnp.float32), 1.0)
    alpha = scored.sum().astype(jnp.float32) / active
    return spread(group_statistics(s, groups).centered * alpha, inputs)

  return Estimator(estimate)


def reinforce_plus_plus_baseline() -> Estimator:
  """S - mean_g, whitened over all tokens (Hu et al. 2025, arXiv 2501.03262)."""

  def estimate(inputs: AdvantageInputs) -> Advantages:
    group = group_statistics(scores(inputs), inputs.groups)
    tokens = whiten(spread(group.centered, inputs).advantages, inputs.mask)
    return Advantages(tokens, tokens)

  return Estimator(estimate)


def gdpo(
  weights: Mapping[str, float] | None = None,
  over: str = "tokens",
  eps: float = 1e-6,
) -> Estimator:
  """Sum of each reward's own GRPO advantage, normalized again over the batch.

  GDPO (Liu et al. 2026, arXiv 2601.05242). Without `components` the outcome is
  the only reward. Rewards of tokens (KL in the reward) are one more, by the
  name of `tokens`.

  Args:
    weights: of rewards by name; 1 for those left out.
    over: the last normalization is over all "tokens" (verl) or "responses"
      (TRL, whose eps is 1e-4).
    eps: added to each deviation.

  Raises:
    ValueError: for another `over`, or an `eps` below 0; on use, for a weight of
      a reward that there is not.
  """
  arguments.one_of("gdpo", ("tokens", "responses"), over=over)
  arguments.within("gdpo", 0.0, eps=eps)
  weight_of = dict(weights or {})

  def normalized(reward: jax.Array, groups: jax.Array) -> jax.Array:
    x, scored = scored_groups(reward, groups)
    group = group_statistics(x, scored)
    centered = jnp.where(scored < len(groups), group.centered, 0.0)
    return centered / (group.std + eps)

  def estimate(inputs: AdvantageInputs) -> Advantages:
    rewards = _rewards(inputs)
    if unknown := weight_of.keys() - rewards.keys():
      raise ValueError(
        f"gdpo has weights for {sorted(unknown)}, but the rewards are "
        f"{sorted(rewards)}: name those in config.advantage.args.weights"
      )
    terms = [
      weight_of.get(name, 1.0) * normalized(reward, inputs.groups)
      for name, reward in rewards.items()
    ]
    total = jnp.stack(terms).sum(0)
    if over == "tokens":
      tokens = whiten(spread(total, inputs).advantages, inputs.mask)
      return Advantages(tokens, tokens)
    mean, std = _batch_moments(total, inputs.groups)
    return spread((total - mean) / (std + eps), inputs)

  return Estimator(estimate)


def _rewards(inputs: AdvantageInputs) -> dict[str, Float[Array, "N"]]:
  """Every reward of a response, by name."""
  rewards = inputs.components or {"outcome": inputs.rewards}
  if inputs.token_rewards is None:
    return rewards
  by_response = masked.guard(inputs.token_rewards, inputs.mask).sum(1)
  return rewards | {"tokens": by_response}
