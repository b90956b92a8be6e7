"""Objectives that act on the covariance of log-probs and advantages."""

from typing import Any

from jaxrl_entropy import arguments, losses
from jaxrl_entropy.losses import (
  Aggregation,
  LossTransform,
  Objective,
  Scalar,
)


def _ratio(owner: str, ratio_limit: float | None) -> LossTransform:
  """Returns the ratio of each token, its limit checked under its own name."""
  if ratio_limit is not None:
    arguments.above(owner, 0.0, ratio_limit=ratio_limit)
  return losses.token_ratio(ratio_limit)


def clip_cov(
  fraction: Scalar = 2e-4,
  cov_low: float = 1.0,
  cov_high: float = 5.0,
  clip_low: float = 1.0,
  clip_high: float = 1.0,
  ratio_limit: float | None = 20.0,
  aggregate: Aggregation = "token_mean",
  **options: Any,
) -> Objective:
  """Returns Clip-Cov: no gradient at random tokens of a band of covariance.

  Args:
    fraction: share of the mini-batch's tokens that get no gradient.
    cov_low: tokens are drawn from covariances above it.
    cov_high: and below it.
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    ratio_limit: log-ratios are held within plus and minus this; None: not at
      all.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.
    **options: of `losses.random_covariance`.

  References:
    arXiv 2505.22617, section 4.3.
  """
  band = losses.random_covariance(fraction, cov_low, cov_high, **options)
  return losses.objective(
    _ratio("clip_cov", ratio_limit),
    losses.ppo_clip(clip_low, clip_high),
    losses.masked(losses.set_to_zero(), band),
    aggregate=aggregate,
  )


POOLS = ("all", "rewarded", "punished", "likely", "unlikely")


def clip_random(
  among: str = "all",
  fraction: Scalar = 2e-4,
  cov_low: float = 1.0,
  cov_high: float = 5.0,
  clip_low: float = 1.0,
  clip_high: float = 1.0,
  ratio_limit: float | None = 20.0,
  aggregate: Aggregation = "token_mean",
  **options: Any,
) -> Objective:
  """Returns Clip-Cov's control: no gradient at as many other random tokens.

  Args:
    among: the tokens to draw from: "all"; those of A > 0 ("rewarded") or the
      others ("punished"); those of a probability of 0.5 or more ("likely") or
      the others ("unlikely").
    fraction: of `clip_cov`, as the other arguments: it would stop as many
      tokens of the same mini-batch.
    cov_low: lower bound of its band.
    cov_high: upper bound of its band.
    clip_low: of the ratio.
    clip_high: of the ratio.
    ratio_limit: bound of the log-ratio's exponential.
    aggregate: an aggregate or its name.
    **options: those of `losses.random_covariance`.

  Raises:
    ValueError: for an unknown pool.
  """
  arguments.one_of("clip_random", POOLS, among=among)
  rewarded, likely = losses.rewarded_tokens(), losses.likely_tokens()
  pools = {
    "all": None,
    "rewarded": rewarded,
    "punished": losses.complement(rewarded),
    "likely": likely,
    "unlikely": losses.complement(likely),
  }
  band = losses.random_covariance(fraction, cov_low, cov_high, **options)
  return losses.objective(
    _ratio("clip_random", ratio_limit),
    losses.ppo_clip(clip_low, clip_high),
    losses.masked(
      losses.set_to_zero(), losses.random_as_many(band, pools[among])
    ),
    aggregate=aggregate,
  )


def kl_cov(
  fraction: Scalar = 2e-3,
  coefficient: Scalar = 1.0,
  kind: str = "abs",
  ratio_limit: float | None = 20.0,
  aggregate: Aggregation = "token_mean",
  **options: Any,
) -> Objective:
  """Returns KL-Cov: a KL penalty at the tokens of highest covariance.

  Args:
    fraction: share of the mini-batch's tokens that are penalized.
    coefficient: of the penalty.
    kind: estimator of the KL, see `ops.kl`.
    ratio_limit: log-ratios are held within plus and minus this; None: not at
      all.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.
    **options: of `losses.top_covariance`.

  References:
    arXiv 2505.22617, section 4.3.
  """
  top = losses.top_covariance(fraction, **options)
  return losses.objective(
    _ratio("kl_cov", ratio_limit),
    losses.policy_gradient(),
    losses.masked(losses.add_kl(coefficient, kind), top),
    aggregate=aggregate,
  )


def cw_grpo(
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  width: float = 1.0,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns CW-GRPO: extreme covariances weigh less.

  Args:
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    width: of the kernel, in standard deviations of the covariance.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    arXiv 2605.11538.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.covariance_kernel(width),
    aggregate=aggregate,
  )
