"""Named methods, spelled as chains. No arithmetic here.

Each takes `aggregate`, the name of an aggregation or one of the user's own.
"""

from collections.abc import Callable, Mapping
from typing import Any

from jaxrl_entropy import named
from jaxrl_entropy.losses import (
  likelihood,
  penalties,
  ratio,
  surrogate,
  weighting,
)
from jaxrl_entropy.losses.aggregation import (
  Aggregate,
  aggregate_by,
  seq_mean_token_mean,
  seq_mean_token_sum,
)
from jaxrl_entropy.losses.base import (
  LossTransform,
  masked,
  set_to_zero,
  shadow,
)
from jaxrl_entropy.losses.objective import Objective, objective
from jaxrl_entropy.losses.selection import (
  complement,
  random_covariance,
  rising_tokens,
  top_covariance,
  top_entropy,
)

Aggregation = str | Aggregate


def _objective(*transforms: LossTransform, by: Aggregation) -> Objective:
  return objective(*transforms, aggregate=aggregate_by(by))


def grpo(
  low: float = 0.2, high: float = 0.2, aggregate: Aggregation = "token_mean"
) -> Objective:
  """PPO's clip over all tokens.

  RLOO, REINFORCE++ and others share it and differ in their advantages.
  """
  return _objective(surrogate.ppo_clip(low, high), by=aggregate)


def clip_higher(
  low: float = 0.2, high: float = 0.28, aggregate: Aggregation = "token_mean"
) -> Objective:
  """The asymmetric clip of DAPO (arXiv 2503.14476).

  Reports, under `extra`, the tokens that a symmetric clip would have stopped.
  """
  return _objective(
    surrogate.ppo_clip(low, high),
    shadow(rising_tokens(low, high), "extra"),
    by=aggregate,
  )


def entropy_bonus(
  coefficient: Any,
  low: float = 0.2,
  high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """GRPO with a bonus for entropy."""
  return _objective(
    surrogate.ppo_clip(low, high),
    penalties.entropy_bonus(coefficient),
    by=aggregate,
  )


def reference_kl(
  coefficient: Any,
  kind: str = "k3",
  low: float = 0.2,
  high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """GRPO with a KL penalty to the reference policy (arXiv 2402.03300)."""
  return _objective(
    surrogate.ppo_clip(low, high),
    penalties.reference_kl(coefficient, kind),
    by=aggregate,
  )


def dr_grpo(low: float = 0.2, high: float = 0.2) -> Objective:
  """GRPO without its length bias (arXiv 2503.20783)."""
  return grpo(low, high, "seq_mean_token_sum_norm")


def dual_clip(
  low: float = 0.2,
  high: float = 0.2,
  limit: float = 3.0,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """PPO's clip with a second bound where A < 0 (arXiv 1912.09729)."""
  return _objective(
    surrogate.ppo_clip(low, high), surrogate.dual_clip(limit), by=aggregate
  )


def tis(
  low: float = 0.2,
  high: float = 0.2,
  cap: float | None = 2.0,
  level: str = "token",
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """GRPO with truncated importance weights against the sampler.

  The trainer adds those weights by itself to any loss, this one aside, where a
  setting makes rollouts off policy (`rollout.importance_cap`).
  """
  return _objective(
    surrogate.ppo_clip(low, high),
    ratio.importance_weight(cap, level),
    by=aggregate,
  )


def policy_gradient(aggregate: Aggregation = "token_mean") -> Objective:
  """Unclipped importance-weighted policy gradient."""
  return _objective(surrogate.policy_gradient(), by=aggregate)


def reinforce(aggregate: Aggregation = "token_mean") -> Objective:
  """`-A logp`; with the `gpg` advantages: GPG (arXiv 2504.02546)."""
  return _objective(likelihood.reinforce(), by=aggregate)


def clip_cov(
  fraction: Any = 2e-4,
  low: float = 1.0,
  high: float = 5.0,
  clip_low: float = 1.0,
  clip_high: float = 1.0,
  ratio_limit: float | None = 20.0,
  aggregate: Aggregation = "token_mean",
  **options: Any,
) -> Objective:
  """Clip-Cov (arXiv 2505.22617, section 4.3); options: `random_covariance`."""
  return _objective(
    ratio.token_ratio(ratio_limit),
    surrogate.ppo_clip(clip_low, clip_high),
    masked(set_to_zero(), random_covariance(fraction, low, high, **options)),
    by=aggregate,
  )


def kl_cov(
  fraction: Any = 2e-3,
  coefficient: Any = 1.0,
  kind: str = "abs",
  ratio_limit: float | None = 20.0,
  aggregate: Aggregation = "token_mean",
  **options: Any,
) -> Objective:
  """KL-Cov (arXiv 2505.22617, section 4.3); options: `top_covariance`."""
  return _objective(
    ratio.token_ratio(ratio_limit),
    surrogate.policy_gradient(),
    masked(
      penalties.add_kl(coefficient, kind), top_covariance(fraction, **options)
    ),
    by=aggregate,
  )


def gspo(
  low: float = 3e-4, high: float = 4e-4, limit: float | None = 10.0
) -> Objective:
  """Sequence-level ratio and clip (arXiv 2507.18071), token by token."""
  return objective(
    ratio.sequence_token_ratio(limit),
    surrogate.ppo_clip(low, high),
    aggregate=seq_mean_token_mean(),
  )


def geo_mean(low: float = 0.4, high: float = 0.4) -> Objective:
  """GMPO: the geometric mean of clipped token ratios (arXiv 2507.20673)."""
  return objective(
    surrogate.geo_mean(low, high), aggregate=seq_mean_token_mean()
  )


def luspo(low: float = 3e-4, high: float = 4e-4) -> Objective:
  """Sequence ratios, each response weighing as much as it is long (TRL)."""
  return objective(
    ratio.sequence_ratio(),
    surrogate.ppo_clip(low, high),
    aggregate=seq_mean_token_sum(),
  )


def cispo(
  low: float | None = None,
  high: float = 4.0,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Clipped importance weights, no clipped tokens (arXiv 2506.13585)."""
  return _objective(likelihood.cispo(low, high), by=aggregate)


def sapo(
  positive_temperature: float = 1.0, negative_temperature: float = 1.05
) -> Objective:
  """A soft gate in place of the clip (arXiv 2511.20347)."""
  return objective(
    surrogate.sapo(positive_temperature, negative_temperature),
    aggregate=seq_mean_token_mean(),
  )


def dppo(
  kind: str = "tv",
  low: float = 0.2,
  high: float = 0.2,
  cap: float = 3.0,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """A divergence trust region in place of the clip."""
  return _objective(likelihood.dppo(kind, low, high, cap), by=aggregate)


def dro(beta: float, aggregate: Aggregation = "token_mean") -> Objective:
  """Squared log-ratio regularisation (arXiv 2405.19107)."""
  return _objective(likelihood.dro(beta), by=aggregate)


def vespo(
  positive: tuple[float, float] = (2.0, 3.0),
  negative: tuple[float, float] = (3.0, 2.0),
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Sequence-level soft weights, as TRL computes them."""
  return _objective(likelihood.vespo(positive, negative), by=aggregate)


def entropy_tokens(
  fraction: float = 0.2,
  low: float = 0.2,
  high: float = 0.28,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Trains the tokens of highest entropy only (arXiv 2506.01939)."""
  return _objective(
    surrogate.ppo_clip(low, high),
    masked(set_to_zero(), complement(top_entropy(fraction)), "low_entropy"),
    by=aggregate,
  )


def covariance_kernel(
  low: float = 0.2,
  high: float = 0.2,
  width: float = 1.0,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """CW-GRPO: extreme covariances weigh less (arXiv 2605.11538)."""
  return _objective(
    surrogate.ppo_clip(low, high),
    weighting.covariance_kernel(width),
    by=aggregate,
  )


def opefo(
  strength: Any = 1.0,
  low: float = 0.2,
  high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Entropy flows up and down in balance (arXiv 2605.11491)."""
  return _objective(
    surrogate.ppo_clip(low, high),
    weighting.balance_entropy_flow(strength),
    by=aggregate,
  )


def papo(
  balance: Any = 0.2,
  low: float = 0.2,
  high: float = 0.2,
  aggregate: Aggregation = "token_mean",
) -> Objective:
  """Advantages reweighed by entropy polarity (arXiv 2605.11775)."""
  return _objective(
    surrogate.ppo_clip(low, high),
    weighting.polarity_weight(balance),
    by=aggregate,
  )


METHODS: dict[str, Callable[..., Objective]] = {
  "grpo": grpo,
  "bnpo": grpo,
  "rloo": grpo,
  "reinforce_plus_plus": grpo,
  "clip_higher": clip_higher,
  "dapo": clip_higher,
  "entropy_bonus": entropy_bonus,
  "reference_kl": reference_kl,
  "dr_grpo": dr_grpo,
  "dual_clip": dual_clip,
  "tis": tis,
  "policy_gradient": policy_gradient,
  "reinforce": reinforce,
  "gpg": reinforce,
  "clip_cov": clip_cov,
  "kl_cov": kl_cov,
  "gspo": gspo,
  "geo_mean": geo_mean,
  "luspo": luspo,
  "cispo": cispo,
  "sapo": sapo,
  "dppo": dppo,
  "dro": dro,
  "vespo": vespo,
  "entropy_tokens": entropy_tokens,
  "covariance_kernel": covariance_kernel,
  "opefo": opefo,
  "papo": papo,
}


def resolve(name: str, args: Mapping[str, Any] | None = None) -> Objective:
  """The objective of a method, by name or import path (`my_lab.losses:mine`).

  Raises:
    UserError: for an unknown name, or arguments that the method does not take.
  """
  return named.call("loss", name, args, METHODS)
