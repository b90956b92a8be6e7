"""Losses as chains of transforms: `from jaxrl_entropy import losses`."""

from jaxrl_entropy.losses.aggregation import token_mean
from jaxrl_entropy.losses.alias import resolve
from jaxrl_entropy.losses.base import (
  Aggregate,
  LossTransform,
  Objective,
  Selection,
  Selector,
  TokenLoss,
  chain,
  masked,
  objective,
  set_to_zero,
  shadow,
)
from jaxrl_entropy.losses.penalties import add_kl
from jaxrl_entropy.losses.selection import (
  covariance_score,
  random_band,
  random_covariance,
  top_covariance,
  top_fraction,
)
from jaxrl_entropy.losses.surrogate import policy_gradient, ppo_clip
