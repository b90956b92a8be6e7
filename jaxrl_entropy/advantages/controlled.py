"""Outcome estimators whose baseline or scale keeps the entropy up.

A response's outcome is its reward with those of its tokens, as in `outcome`.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxrl_entropy import arguments
from jaxrl_entropy.advantages.base import (
  AdvantageInputs,
  Advantages,
  Estimator,
  group_statistics,
  group_sum,
  scores,
  spread,
)
from jaxrl_entropy.ops import masked


def qae(
  quantile: float = 0.4, interpolate: bool = False, eps: float = 1e-6
) -> Estimator:
  """Returns (s - Q_g) / (std_g + eps), Q_g a quantile of the group.

  Args:
    quantile: K of the paper, in (0, 1]; 0.6 counters an early collapse.
    interpolate: between neighbors, as in the authors' code (8 responses of
      which 3 are wrong have the baseline 0.8), or not, as in the paper: the
      smallest score that a share K of the group does not exceed.
    eps: added to the deviation, at least 0.

  Raises:
    ValueError: for a number outside its range.

  References:
    Quantile advantage estimation, arXiv 2509.22611.
  """
  arguments.above("qae", 0.0, quantile=quantile)
  arguments.within("qae", 0.0, 1.0, quantile=quantile)
  arguments.within("qae", 0.0, eps=eps)

  def estimate(inputs: AdvantageInputs) -> Advantages:
    s, groups = scores(inputs), inputs.groups
    baseline = _group_quantile(s, groups, quantile, interpolate)
    std = group_statistics(s, groups).std
    return spread((s - baseline) / (std + eps), inputs)

  return Estimator(estimate)


def _group_quantile(
  x: Float[Array, "N"], groups: Int[Array, "N"], share: float, between: bool
) -> Float[Array, "N"]:
  """For each row, a quantile of `x` over the rows of its group."""
  ordered = x[jnp.lexsort((x, groups))]
  size = group_sum(jnp.ones_like(x), groups)
  start = jnp.sum(groups[None] < groups[:, None], axis=1)
  if between:
    rank = share * (size - 1.0)
  else:  # Rounding must not lift 0.4 * 5 above 2.
    rank = jnp.ceil(share * size - 1e-5) - 1.0
  lower = jnp.floor(rank)
  upper = jnp.minimum(lower + 1.0, size - 1.0)
  low, high = (
    ordered[start + place.astype(jnp.int32)] for place in (lower, upper)
  )
  return low + (rank - lower) * (high - low)


def signed_outcome(positive: float = 1.0, negative: float = 1.0) -> Estimator:
  """Returns `positive` for a correct response and `-negative` for another.

  There is no baseline. `positive=0` learns from wrong responses alone (NSR),
  `positive=0.1` is W-REINFORCE.

  Args:
    positive: advantage of a correct response, at least 0.
    negative: minus that of a wrong one, at least 0.

  Raises:
    ValueError: for a number outside its range, or two zeros.

  References:
    Negative sample reinforcement, arXiv 2506.01347.
  """
  arguments.within("signed_outcome", 0.0, positive=positive, negative=negative)
  if positive == negative == 0:
    raise ValueError("signed_outcome: positive and negative are both 0")

  def estimate(inputs: AdvantageInputs) -> Advantages:
    assert inputs.correct is not None
    return spread(jnp.where(inputs.correct > 0.5, positive, -negative), inputs)

  return Estimator(estimate, frozenset({"correct"}))


def mcpo(eps: float = 1e-6) -> Estimator:
  """Returns (s - mean_g) / (std_g scale + eps), std_g the population's.

  `scale` is 1 for groups of which at most half are correct, and `2 sqrt(a (1 -
  a))` for an accuracy a above: easy prompts then weigh as much as those of
  accuracy 0.5.

  Args:
    eps: added to the denominator, above 0.

  Raises:
    ValueError: if `eps` is not above 0.

  References:
    MCPO, arXiv 2604.16972.
  """
  arguments.above("mcpo", 0.0, eps=eps)

  def estimate(inputs: AdvantageInputs) -> Advantages:
    assert inputs.correct is not None
    group = group_statistics(scores(inputs), inputs.groups)
    right = group_sum(inputs.correct, inputs.groups)
    accuracy = right / group.size
    spread_ = 2.0 * jnp.sqrt(accuracy * (1.0 - accuracy))
    scale = jnp.where(accuracy > 0.5, spread_, 1.0)
    std = group.std * jnp.sqrt((group.size - 1.0) / group.size)
    return spread(group.centered / (std * scale + eps), inputs)

  return Estimator(estimate, frozenset({"correct"}))


def entrocraft(
  lower: tuple[float, float] = (0.6, 0.4),
  upper: tuple[float, float] = (0.7, 0.5),
  schedule: str = "linear",
  eps: float = 1e-6,
) -> Estimator:
  """Returns GRPO's advantages inside a band of entropy, and one sign outside.

  With H the mean entropy of the rollout's tokens: below the band wrong
  responses get -1 and correct ones 0, which raises the entropy; above it
  correct ones get 1 and wrong ones 0. Groups that are all right or all wrong
  are learned from outside the band: let the group filter keep them.

  Args:
    lower: lower edge at the start and at the end of the run, nats per token.
    upper: upper edge likewise.
    schedule: "linear" or "cosine" between start and end.
    eps: added to GRPO's deviation, at least 0.

  Raises:
    ValueError: if the lower edge is above the upper one, or for an unknown
      schedule.

  References:
    Entrocraft, arXiv 2604.26326, as in the authors' code.
  """
  arguments.one_of("entrocraft", ("linear", "cosine"), schedule=schedule)
  arguments.within("entrocraft", 0.0, eps=eps)
  for low, high in zip(lower, upper, strict=True):
    arguments.ordered("entrocraft", lower=low, upper=high)

  def edge(ends: tuple[float, float], progress: Array) -> Array:
    if schedule == "cosine":
      progress = 0.5 * (1.0 - jnp.cos(jnp.pi * progress))
    return ends[0] + (ends[1] - ends[0]) * progress

  def estimate(inputs: AdvantageInputs) -> Advantages:
    assert inputs.correct is not None
    assert inputs.entropy is not None
    assert inputs.progress is not None
    group = group_statistics(scores(inputs), inputs.groups)
    inside = group.centered / (group.std + eps)
    entropy = masked.masked_mean(inputs.entropy, inputs.mask)
    right = inputs.correct > 0.5
    advantage = jnp.where(
      entropy < edge(lower, inputs.progress),
      jnp.where(right, 0.0, -1.0),
      jnp.where(
        entropy > edge(upper, inputs.progress),
        jnp.where(right, 1.0, 0.0),
        inside,
      ),
    )
    return spread(advantage, inputs)

  return Estimator(estimate, frozenset({"correct", "entropy", "progress"}))
