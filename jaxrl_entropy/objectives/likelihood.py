"""Objectives that weigh log-likelihoods."""

from jaxrl_entropy import arguments, losses
from jaxrl_entropy.losses import Aggregation, Objective, Scalar


def reinforce(aggregate: Aggregation = "token_mean") -> Objective:
  """Returns `-A logp`, REINFORCE's loss.

  Args:
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    Williams, 1992.
  """
  return losses.objective(losses.log_likelihood(), aggregate=aggregate)


def cispo(
  clip_low: float | None = None,
  clip_high: float = 4.0,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns CISPO: clipped importance weights, no clipped tokens.

  Args:
    clip_low: the weight is at least `1 - clip_low`; None: no bound.
    clip_high: it is at most `1 + clip_high`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    arXiv 2506.13585.
  """
  return losses.objective(
    losses.clipped_likelihood(clip_low, clip_high), aggregate=aggregate
  )


def dppo(
  kind: str = "tv",
  divergence_low: float = 0.2,
  divergence_high: float = 0.2,
  cap: float = 3.0,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns DPPO: a divergence trust region in place of the clip.

  As verl has it.

  Args:
    kind: divergence of the token's probability: "tv" or "kl".
    divergence_low: threshold for tokens of A <= 0.
    divergence_high: threshold for tokens of A > 0.
    cap: largest weight.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.
  """
  return losses.objective(
    losses.divergence_likelihood(kind, divergence_low, divergence_high, cap),
    aggregate=aggregate,
  )


def dro(beta: Scalar, aggregate: Aggregation = "token_mean") -> Objective:
  """Returns DRO: `-(A logp - beta / 2 d^2)`, d = logp - old_logp.

  Args:
    beta: strength of the quadratic penalty.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  Raises:
    ValueError: if `beta` is not above 0.

  References:
    arXiv 2405.19107.
  """
  arguments.above("dro", 0.0, beta=beta)
  return losses.objective(
    losses.log_likelihood(), losses.add_kl(beta, "k2"), aggregate=aggregate
  )


def vespo(
  positive: tuple[float, float] = (2.0, 3.0),
  negative: tuple[float, float] = (3.0, 2.0),
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns VESPO: soft weights of whole responses.

  As TRL computes them.

  Args:
    positive: (k, lambda) of `losses.response_likelihood` where A >= 0.
    negative: the same where A < 0.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.
  """
  return losses.objective(
    losses.response_likelihood(positive, negative), aggregate=aggregate
  )
