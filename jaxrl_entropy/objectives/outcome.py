"""Objectives that use verdicts, a reference or a teacher."""

from jaxrl_entropy import arguments, losses
from jaxrl_entropy.losses import Aggregation, Objective, Scalar


def reference_kl(
  coefficient: Scalar,
  kind: str = "k3",
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns the clipped surrogate with a KL penalty to the reference policy.

  Args:
    coefficient: of the penalty.
    kind: estimator of the KL, see `ops.kl`.
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    GRPO, arXiv 2402.03300.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.add_reference_kl(coefficient, kind),
    aggregate=aggregate,
  )


def mcpo(
  coefficient: Scalar = 1.0,
  width: float = 0.01,
  clip_low: float = 0.2,
  clip_high: float = 0.28,
) -> Objective:
  """Returns MCPO's loss: a hinge on the KL of mastered prompts.

  Args:
    coefficient: of the hinge.
    width: log-ratios that are left alone, nats.
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.

  References:
    arXiv 2604.16972.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.add_mastery_kl(coefficient, width),
    aggregate="seq_mean_token_mean",
  )


def htpo(
  fraction: float = 0.2,
  hard: float = 0.6,
  clip_low: float = 0.2,
  clip_high: float = 0.28,
  least_share: float = 0.006,
  most_share: float = 0.02,
  limit: float = 10.0,
) -> Objective:
  """Returns HTPO: losses by difficulty, verdict and entropy of a token.

  A group is hard if less than a share `hard` of its responses is correct, a
  token uncertain if it is among the `fraction` of highest entropy of its
  response. Uncertain tokens of wrong responses, and of correct ones to hard
  prompts, are pulled back where their ratio leaves its range. There is no
  gradient at the certain tokens of correct responses to hard prompts that are
  surer than the last of the surest `least_share`, and at the most uncertain
  `most_share` of the uncertain ones of correct responses to easy prompts.

  Args:
    fraction: share of a response's tokens that are uncertain, in [0, 1].
    hard: share of correct responses below which a group is hard, in [0, 1].
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    least_share: share of a response's certain tokens, the surest first, whose
      last one sets the bar for those without gradient.
    most_share: share of a response's uncertain tokens without gradient.
    limit: largest ratio that a token of negative advantage is punished by,
      above 1.

  Raises:
    ValueError: for a number outside its range.

  References:
    arXiv 2605.08283, as in the authors' code.
  """
  shares = {"hard": hard, "least_share": least_share, "most_share": most_share}
  arguments.within("htpo", 0.0, 1.0, **shares)
  high = losses.top_entropy(fraction, within="response")
  low = losses.complement(high)
  right = losses.correct_responses()
  wrong = losses.complement(right)
  difficult = losses.hard_groups(hard)
  easy = losses.complement(difficult)
  surest = losses.top_fraction(
    losses.certainty_score,
    least_share,
    within="response",
    among=losses.all_of(difficult, right, low),
    strict=True,
  )
  most_uncertain = losses.top_fraction(
    losses.entropy_score,
    most_share,
    within="response",
    among=losses.all_of(easy, right, high),
  )
  explore = losses.pull_back(clip_low, clip_high, inverse_below=True)
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.masked(explore, losses.all_of(difficult, right, high), "hard_right"),
    losses.masked(
      losses.pull_back(clip_low), losses.all_of(wrong, high), "wrong"
    ),
    losses.dual_clip(limit),
    losses.masked(losses.set_to_zero(), surest, "surest"),
    losses.masked(losses.set_to_zero(), most_uncertain, "most_uncertain"),
    aggregate="token_mean",
  )


def distillation(fraction: float = 1.0, coefficient: Scalar = 1.0) -> Objective:
  """Returns on-policy distillation: the KL from a teacher, and no reward.

  Over the vocabulary, at the `fraction` of the tokens that are the most
  uncertain or the farthest from the teacher (TIP), or at all of them.

  Args:
    fraction: share of the mini-batch's tokens that are taught, in [0, 1]; 1 is
      all of them.
    coefficient: multiplies the KL, at least 0; may be traced.

  Raises:
    ValueError: for a number outside its range.

  References:
    arXiv 2604.14084.
  """
  arguments.within("distillation", 0.0, 1.0, fraction=fraction)
  chain = [losses.add_teacher_kl(coefficient)]
  if fraction < 1:
    taught = losses.top_fraction(losses.teaching_score, fraction)
    chain.append(losses.restrict_to(taught))
  return losses.objective(*chain, aggregate="token_mean")


def rlsd(
  mix: Scalar = 0.5,
  clip: float = 0.2,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns RLSD: tokens that the informed teacher finds likelier weigh more.

  Anneal `mix` to 0 with the controller `linear`.

  Args:
    mix: share of the teacher's weight; 0 ignores it.
    clip: half-width of the range of the teacher's weight.
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    arXiv 2604.03128.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.teacher_weight(mix, clip),
    aggregate=aggregate,
  )


def rlrt(
  clip: float | None = None,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns RLRT: on correct responses, tokens the teacher doubts weigh more.

  The paper's clip of the weight is not known here.

  Args:
    clip: half-width of the range of the weight; None: it is free.
    clip_low: the ratio's lower bound is `1 - clip_low`.
    clip_high: its upper bound is `1 + clip_high`.
    aggregate: how token losses become one number: a name of
      `losses.aggregates`, or a function.

  References:
    arXiv 2605.10781.
  """
  weight = losses.teacher_weight(1.0, clip, reverse=True)
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.masked(weight, losses.correct_responses(), "correct"),
    aggregate=aggregate,
  )
