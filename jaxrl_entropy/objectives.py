"""Complete losses by name: chains of the parts in `jaxrl_entropy.losses`.

    from jaxrl_entropy import objectives

    loss, metrics = objectives.kl_cov(fraction=2e-3)(batch, key)

There is no arithmetic here. `aggregate` is an aggregate or its name; the other
arguments are those of the parts, whose docstrings give units and ranges. An
objective is the loss alone: advantages and the choice of responses belong to a
method as well.
"""

from collections.abc import Callable, Mapping
from typing import Any

from jaxrl_entropy import arguments, losses, registry
from jaxrl_entropy.losses import Aggregate, Objective, Scalar

Aggregation = str | Aggregate


def grpo(
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns PPO's clipped surrogate over all tokens.

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

  References:
    Dual-clip PPO, arXiv 1912.09729.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.dual_clip(limit),
    aggregate=aggregate,
  )


def unclipped(aggregate: Aggregation = "token_mean") -> Objective:
  """Returns the importance-weighted policy gradient without a clip."""
  return losses.objective(losses.policy_gradient(), aggregate=aggregate)


def reinforce(aggregate: Aggregation = "token_mean") -> Objective:
  """Returns `-A logp`, REINFORCE's loss.

  References:
    Williams, 1992.
  """
  return losses.objective(losses.log_likelihood(), aggregate=aggregate)


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

  References:
    Truncated importance sampling, Yao et al., 2025.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.importance_weight(cap, level),
    aggregate=aggregate,
  )


def entropy_bonus(
  coefficient: Scalar,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns the clipped surrogate less `coefficient` times the entropy."""
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.add_entropy(coefficient),
    aggregate=aggregate,
  )


def reference_kl(
  coefficient: Scalar,
  kind: str = "k3",
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns the clipped surrogate with a KL penalty to the reference policy.

  References:
    GRPO, arXiv 2402.03300.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.add_reference_kl(coefficient, kind),
    aggregate=aggregate,
  )


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

  `options` are those of `losses.random_covariance`.

  References:
    arXiv 2505.22617, section 4.3.
  """
  band = losses.random_covariance(fraction, cov_low, cov_high, **options)
  return losses.objective(
    losses.token_ratio(ratio_limit),
    losses.ppo_clip(clip_low, clip_high),
    losses.masked(losses.set_to_zero(), band),
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

  `options` are those of `losses.top_covariance`.

  References:
    arXiv 2505.22617, section 4.3.
  """
  top = losses.top_covariance(fraction, **options)
  return losses.objective(
    losses.token_ratio(ratio_limit),
    losses.policy_gradient(),
    losses.masked(losses.add_kl(coefficient, kind), top),
    aggregate=aggregate,
  )


def gspo(
  clip_low: float = 3e-4, clip_high: float = 4e-4, limit: float | None = 10.0
) -> Objective:
  """Returns GSPO: the response's ratio and clip, token by token.

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
  """
  return losses.objective(
    losses.sequence_ratio(),
    losses.ppo_clip(clip_low, clip_high),
    aggregate="seq_mean_token_sum",
  )


def gmpo(log_ratio_low: float = 0.4, log_ratio_high: float = 0.4) -> Objective:
  """Returns GMPO: the geometric mean of clipped token ratios.

  References:
    arXiv 2507.20673.
  """
  return losses.objective(
    losses.geo_mean(log_ratio_low, log_ratio_high),
    aggregate="seq_mean_token_mean",
  )


def cispo(
  clip_low: float | None = None,
  clip_high: float = 4.0,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns CISPO: clipped importance weights, no clipped tokens.

  References:
    arXiv 2506.13585.
  """
  return losses.objective(
    losses.clipped_likelihood(clip_low, clip_high), aggregate=aggregate
  )


def sapo(
  positive_temperature: float = 1.0, negative_temperature: float = 1.05
) -> Objective:
  """Returns SAPO: a soft gate in place of the clip.

  References:
    arXiv 2511.20347.
  """
  return losses.objective(
    losses.soft_clip(positive_temperature, negative_temperature),
    aggregate="seq_mean_token_mean",
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
  """
  return losses.objective(
    losses.divergence_likelihood(kind, divergence_low, divergence_high, cap),
    aggregate=aggregate,
  )


def dro(beta: Scalar, aggregate: Aggregation = "token_mean") -> Objective:
  """Returns DRO: `-(A logp - beta / 2 d^2)`, d = logp - old_logp.

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
  """
  return losses.objective(
    losses.response_likelihood(positive, negative), aggregate=aggregate
  )


def entropy_tokens(
  fraction: float = 0.2,
  clip_low: float = 0.2,
  clip_high: float = 0.28,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns the surrogate on the tokens of highest entropy, 0 elsewhere.

  References:
    arXiv 2506.01939.
  """
  low = losses.complement(losses.top_entropy(fraction))
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.masked(losses.set_to_zero(), low, "low_entropy"),
    aggregate=aggregate,
  )


def cw_grpo(
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  width: float = 1.0,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns CW-GRPO: extreme covariances weigh less.

  References:
    arXiv 2605.11538.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.covariance_kernel(width),
    aggregate=aggregate,
  )


def opefo(
  strength: Scalar = 1.0,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Returns OPEFO: entropy flows up and down in balance.

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

  References:
    arXiv 2605.11775.
  """
  return losses.objective(
    losses.ppo_clip(clip_low, clip_high),
    losses.polarity_weight(balance),
    aggregate=aggregate,
  )


OBJECTIVES: dict[str, Callable[..., Objective]] = {
  factory.__name__: factory
  for factory in (
    grpo,
    clip_higher,
    dual_clip_ppo,
    unclipped,
    reinforce,
    tis,
    entropy_bonus,
    reference_kl,
    clip_cov,
    kl_cov,
    gspo,
    luspo,
    gmpo,
    cispo,
    sapo,
    dppo,
    dro,
    vespo,
    entropy_tokens,
    cw_grpo,
    opefo,
    papo,
  )
}


def resolve(name: str, args: Mapping[str, Any] | None = None) -> Objective:
  """Returns the objective of a name or import path (`my_lab.losses:mine`).

  Args:
    name: a name of OBJECTIVES, or the import path of a function that returns an
      objective.
    args: its keyword arguments.

  Raises:
    UserError: for an unknown name, or arguments that it does not take.
  """
  return registry.call("loss", name, args, OBJECTIVES)
