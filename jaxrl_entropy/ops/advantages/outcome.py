"""Estimators that give every token of a response the same advantage."""

from jaxrl_entropy.ops.advantages.base import (
  AdvantageInputs,
  Advantages,
  Estimator,
  group_centered,
  group_size,
  group_std,
  scores,
  spread,
  whiten,
)


def grpo(normalize: bool = True, eps: float = 1e-6) -> Estimator:
  """(s - mean_g) / (std_g + eps): GRPO (Shao et al. 2024).

  A group of one has mean 0 and deviation 1.

  Args:
    normalize: divide by the group's standard deviation.
    eps: added to the deviation.
  """

  def estimate(inputs: AdvantageInputs) -> Advantages:
    centered = group_centered(scores(inputs), inputs.groups)
    if normalize:
      centered = centered / (group_std(centered, inputs.groups) + eps)
    return spread(centered, inputs)

  return Estimator(estimate)


def dr_grpo() -> Estimator:
  """s - mean_g: Dr. GRPO (Liu et al. 2025), GRPO without the deviation."""
  return grpo(normalize=False)


def rloo() -> Estimator:
  """s - mean of the group's others: RLOO (Ahmadian et al. 2024).

  A group of one has no others: its advantage is its reward.
  """

  def estimate(inputs: AdvantageInputs) -> Advantages:
    size = group_size(inputs.groups)
    centered = group_centered(scores(inputs), inputs.groups)
    others = (size - 1.0).clip(1.0)
    return spread(centered * (size / others), inputs)

  return Estimator(estimate)


def reinforce_plus_plus_baseline() -> Estimator:
  """s - mean_g, whitened over the batch's tokens (Hu et al. 2025)."""

  def estimate(inputs: AdvantageInputs) -> Advantages:
    centered = spread(group_centered(scores(inputs), inputs.groups), inputs)
    tokens = whiten(centered.advantages, inputs.mask)
    return Advantages(tokens, tokens)

  return Estimator(estimate)
