"""Objectives whose surrogate is clipped, or has no clip at all."""

from jaxrl_entropy import losses
from jaxrl_entropy.losses import Aggregation, Objective


def grpo(
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns PPO's clipped surrogate over all tokens.

  Args:
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    PPO, arXiv 1707.06347; GRPO, 2402.03300.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high), aggregate=aggregate
  )


def clip_higher(
  clip_low: float = 0.2,
  clip_high: float = 0.28,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns the surrogate with DAPO's asymmetric clip.

  Reports, under `extra`, the tokens that a symmetric clip would have stopped.

  Args:
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    DAPO, arXiv 2503.14476.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.shadow(losses.rising_tokens(clip_low, clip_high), "extra"),
    aggregate=aggregate,
  )


def dual_clip_ppo(
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  limit: float = 3.0,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns PPO's clip with a second bound where A < 0.

  Args:
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    limit: the loss of tokens of A < 0 is at most `-A limit`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    Dual-clip PPO, arXiv 1912.09729.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.dual_clip(limit),
    aggregate=aggregate,
  )


def unclipped(aggregate: Aggregation = "token_mean") -> Objective:
  """Returns the importance-weighted policy gradient without a clip.

  Args:
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.
  """
  return losses.objective(losses.policy_gradient(), aggregate=aggregate)


def tis(
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  cap: float | None = 2.0,
  level: str = "token",
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns the clipped surrogate with importance weights against the sampler.

  The trainer adds those weights by itself to any loss, this one aside, where a
  setting makes rollouts off policy.

  Args:
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    cap: largest weight; None: not truncated.
    level: "token", or "response" for one weight per response.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    Truncated importance sampling, Yao et al., 2025.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.importance_weight(cap, level),
    aggregate=aggregate,
  )


def gspo(
  clip_low: float = 3e-4, clip_high: float = 4e-4, limit: float | None = 10.0
) -> Objective:
  """Returns GSPO: the response's ratio and clip, token by token.

  Args:
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    limit: cap of the log-ratio; None: none.

  References:
    arXiv 2507.18071.
  """
  return losses.objective(
    losses.sequence_token_ratio(limit),
    losses.ppo_clip(clip_low, clip_high),
    aggregate="seq_mean_token_mean",
  )


def luspo(clip_low: float = 3e-4, clip_high: float = 4e-4) -> Objective:
  """Returns sequence ratios, each response weighing as much as it is long.

  As TRL has it.

  Args:
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
  """
  return losses.objective(
    losses.sequence_ratio(),
    losses.ppo_clip(clip_low, clip_high),
    aggregate="seq_mean_token_sum",
  )


def gmpo(log_ratio_low: float = 0.4, log_ratio_high: float = 0.4) -> Objective:
  """Returns GMPO: the geometric mean of clipped token ratios.

  Args:
    log_ratio_low: how far below 0 a token's log-ratio may fall, nats.
    log_ratio_high: how far above 0 it may rise, nats.

  References:
    arXiv 2507.20673.
  """
  return losses.objective(
    losses.geo_mean(log_ratio_low, log_ratio_high),
    aggregate="seq_mean_token_mean",
  )


def sapo(
  positive_temperature: float = 1.0, negative_temperature: float = 1.05
) -> Objective:
  """Returns SAPO: a soft gate in place of the clip.

  Args:
    positive_temperature: t of the gate where A > 0.
    negative_temperature: the same where A < 0.

  References:
    arXiv 2511.20347.
  """
  return losses.objective(
    losses.soft_clip(positive_temperature, negative_temperature),
    aggregate="seq_mean_token_mean",
  )


def ce_gppo(
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  scale_low: float = 0.75,
  scale_high: float = 1.0,
  limit: float = 10.0,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns CE-GPPO: clipped tokens keep a bounded gradient.

  Args:
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    scale_low: factor of the gradient that is kept below the lower bound.
    scale_high: the same above the upper bound.
    limit: the loss of tokens of A < 0 is at most `-A limit`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    arXiv 2509.20712.
  """
  return losses.objective(
    losses.gradient_preserving_clip(clip_low, clip_high, scale_low, scale_high),
    losses.dual_clip(limit),
    aggregate=aggregate,
  )


def bapo(
  lower: tuple[float, float] = (0.6, 0.9),
  upper: tuple[float, float] = (1.2, 3.0),
  target: float = 0.5,
  limit: float = 3.0,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns BAPO: clip bounds that balance positive and negative tokens.

  Args:
    lower: least and largest lower bound of the ratio.
    upper: least and largest upper bound.
    target: positive part of the loss over the negative part, to be reached.
    limit: the loss of tokens of A < 0 is at most `-A limit`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    arXiv 2510.18927.
  """
  return losses.objective(
    losses.balanced_clip(lower, upper, target),
    losses.dual_clip(limit),
    aggregate=aggregate,
  )
