"""Losses as chains of transforms: `from jaxrl_entropy import losses`."""

from jaxrl_entropy.losses.aggregation import (
  seq_mean_token_mean,
  seq_mean_token_sum,
  seq_mean_token_sum_norm,
  token_mean,
  token_sum,
)
from jaxrl_entropy.losses.alias import resolve
from jaxrl_entropy.losses.base import (
  Aggregate,
  LossTransform,
  Selection,
  Selector,
  TokenLoss,
  chain,
  masked,
  set_to_zero,
  shadow,
)
from jaxrl_entropy.losses.likelihood import cispo, dppo, dro, reinforce, vespo
from jaxrl_entropy.losses.objective import Objective, objective
from jaxrl_entropy.losses.penalties import (
  add_kl,
  entropy_bonus,
  reference_kl,
  value_loss,
)
from jaxrl_entropy.losses.ratio import (
  importance_weight,
  sequence_ratio,
  sequence_token_ratio,
  token_ratio,
)
from jaxrl_entropy.losses.selection import (
  complement,
  covariance_score,
  drifted_responses,
  entropy_score,
  random_band,
  random_covariance,
  top_covariance,
  top_entropy,
  top_fraction,
  top_quantile,
)
from jaxrl_entropy.losses.surrogate import (
  dual_clip,
  geo_mean,
  policy_gradient,
  ppo_clip,
  sapo,
)
from jaxrl_entropy.losses.weighting import (
  balance_entropy_flow,
  covariance_kernel,
  entropy_polarity,
  polarity_weight,
)
