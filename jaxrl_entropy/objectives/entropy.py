"""Objectives that act on the entropy of tokens or responses."""

from jaxrl_entropy import arguments, losses
from jaxrl_entropy.losses import Aggregation, Objective, Scalar


def entropy_bonus(
  coefficient: Scalar,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns the clipped surrogate less `coefficient` times the entropy.

  Args:
    coefficient: nats of loss per nat of entropy.
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.add_entropy(coefficient),
    aggregate=aggregate,
  )


def entropy_tokens(
  fraction: float = 0.2,
  clip_low: float = 0.2,
  clip_high: float = 0.28,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns the surrogate on the tokens of highest entropy, 0 elsewhere.

  Args:
    fraction: share of the tokens that learn.
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    arXiv 2506.01939.
  """
  low = losses.complement(losses.top_entropy(fraction))
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.masked(losses.set_to_zero(), low, "low_entropy"),
    aggregate=aggregate,
  )


def opefo(
  strength: Scalar = 1.0,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns OPEFO: entropy flows up and down in balance.

  Args:
    strength: 1 balances the flows, 0 changes nothing.
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    arXiv 2605.11491.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.balance_entropy_flow(strength),
    aggregate=aggregate,
  )


def papo(
  balance: Scalar = 0.2,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns PAPO: advantages reweighed by entropy polarity.

  Args:
    balance: above 0 favors tokens that raise the entropy, below 0 the others.
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    arXiv 2605.11775.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.polarity_weight(balance),
    aggregate=aggregate,
  )


def steer(
  least: float = 0.8,
  exact: bool = False,
  clip_low: float = 0.2,
  clip_high: float = 0.28,
  limit: float = 10.0,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns STEER: tokens that move the entropy much weigh less.

  Args:
    least: smallest weight.
    exact: whether to use the exact flow in place of the paper's.
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    limit: the loss of tokens of A < 0 is at most `-A limit`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    arXiv 2510.10150.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.dual_clip(limit),
    losses.entropy_change_weight(least, exact=exact),
    aggregate=aggregate,
  )


def archer(
  fraction: float = 0.2,
  clip: float = 0.2,
  wide_clip: float = 0.5,
  coefficient: Scalar = 1e-3,
  limit: float = 10.0,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns Archer: a wide clip where a response is uncertain, a KL elsewhere.

  Args:
    fraction: share of a response's tokens that count as uncertain.
    clip: bound of the ratio at the other tokens, in both directions.
    wide_clip: bound at uncertain tokens.
    coefficient: of the reference KL at the other tokens.
    limit: the loss of tokens of A < 0 is at most `-A limit`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  Raises:
    ValueError: for a number outside its range.

  References:
    arXiv 2507.15778.
  """
  arguments.within("archer", 0.0, clip=clip, wide_clip=wide_clip)
  high = losses.top_entropy(fraction, within="response")
  return losses.objective(
    losses.ppo_clip(clip, clip),
    losses.masked(losses.ppo_clip(wide_clip, wide_clip), high, "high_entropy"),
    losses.dual_clip(limit),
    losses.masked(
      losses.add_reference_kl(coefficient),
      losses.complement(high),
      "low_entropy",
    ),
    aggregate=aggregate,
  )


def entropy_advantage(
  alpha: Scalar = 0.4,
  kappa: float = 2.0,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns the surrogate of advantages raised where tokens are uncertain.

  Args:
    alpha: advantage per nat of entropy.
    kappa: at most `|A| / kappa` is added.
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    Cheng et al., arXiv 2506.14758.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.scale_by_entropy_advantage(alpha, kappa),
    aggregate=aggregate,
  )


def eda(
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns EDGE-GRPO's entropy-driven advantage: confidence weighs more.

  Args:
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    arXiv 2507.21848.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.confident_response_weight(),
    aggregate=aggregate,
  )


def aem(
  rate: Scalar,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns AEM for responses of one turn: uncertain responses weigh less.

  Args:
    rate: how fast the weight falls with a response's entropy.
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    arXiv 2605.00425.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.uncertain_response_weight(rate),
    aggregate=aggregate,
  )


def siren(
  coefficient: float = 0.005,
  anchor: Scalar = -1.0,
  fraction: float = 0.2,
  clip_low: float = 0.2,
  clip_high: float = 0.28,
  nucleus: bool = True,
) -> Objective:
  """Returns SIREN: the entropy of uncertain tokens is held at an anchor.

  Drive `anchor` with the controller `first_value`.

  Args:
    coefficient: of the squared distance to the anchor.
    anchor: mean entropy of uncertain tokens to hold, nats; below 0: none yet.
    fraction: share of each response's tokens that count as uncertain.
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    nucleus: whether the entropy is that of the most likely tokens, which
      `config.loss.nucleus` bounds, instead of all.

  References:
    arXiv 2509.25133.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.add_entropy_anchor(coefficient, anchor, fraction, nucleus),
    aggregate="token_mean",
  )


def erc(
  entropy_low: float,
  entropy_high: float,
  clip_low: float = 0.2,
  clip_high: float = 0.28,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns ERC: no gradient where a token's entropy has moved too far.

  The paper's bounds are not known here: choose them.

  Args:
    entropy_low: a token learns where its entropy is at least `1 - entropy_low`
      times that of the rollout.
    entropy_high: and at most `1 + entropy_high` times.
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    arXiv 2512.05591.
  """
  outside = losses.entropy_ratio_outside(entropy_low, entropy_high)
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.masked(losses.set_to_zero(), outside, "entropy_ratio"),
    aggregate=aggregate,
  )


def sign_weighted(
  balance: Scalar = 0.0,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns the surrogate with weights 1 +- balance by the sign of A.

  EntroPIC's loss, if the controller `pi_entropy` drives `balance`.

  Args:
    balance: in [-1, 1]; above 0 favors tokens of A > 0.
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.sign_weight(balance),
    aggregate=aggregate,
  )
