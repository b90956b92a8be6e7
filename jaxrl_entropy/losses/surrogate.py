"""Surrogates that are differentiated through the importance ratio.

Each reads the ratio r that came down the chain and sets the loss of each token;
A is its advantage.
"""

import jax
from jax.lax import stop_gradient
import jax.numpy as jnp
from jaxtyping import Array, Bool

from jaxrl_entropy.losses.base import (
  LossTransform,
  PRNGKey,
  TokenLoss,
  share,
)
from jaxrl_entropy.losses.ratio import log_ratio, response_mean
from jaxrl_entropy.types import Metrics, TokenBatch


def policy_gradient() -> LossTransform:
  """`-A r`, unclipped (arXiv 2505.22617, eq. 13)."""

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    return loss.replace(loss=-batch.advantages * loss.ratio)

  return update


def clip_metrics(clipped: Bool[Array, "B T"], batch: TokenBatch) -> Metrics:
  """Shares of tokens that were held from growing and from shrinking."""
  up = batch.advantages > 0
  return {
    "ratio/clip_high_share": share(clipped & up, batch.mask),
    "ratio/clip_low_share": share(clipped & ~up, batch.mask),
  }


def ppo_clip(
  low: float = 0.2, high: float = 0.2, cap: float | None = None
) -> LossTransform:
  """`max(-A r, -A clip(r, 1 - low, 1 + high))` (PPO, arXiv 1707.06347).

  `high > low` is Clip-Higher (DAPO, arXiv 2503.14476). The gradient is that of
  `-A r`, or 0 where the clip bites. Metrics: `ratio/clip_high_share`,
  `ratio/clip_low_share`.

  Args:
    low: how far below 1 the ratio may fall.
    high: how far above 1 it may rise.
    cap: bound of r in the first term, which the clip leaves free for A < 0
      (two-sided clipping, INTELLECT-2, arXiv 2505.07291); None: no bound.
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    ratio = loss.ratio if cap is None else jnp.minimum(loss.ratio, cap)
    plain = -batch.advantages * ratio
    bound = -batch.advantages * jnp.clip(loss.ratio, 1.0 - low, 1.0 + high)
    # Not jnp.maximum: it would halve the gradient exactly at a bound.
    clipped = stop_gradient(bound > plain)
    return TokenLoss(
      loss=jnp.where(clipped, stop_gradient(bound), plain),
      ratio=loss.ratio,
      clipped=clipped,
      metrics=loss.metrics | clip_metrics(clipped, batch),
    )

  return update


def dual_clip(limit: float = 3.0) -> LossTransform:
  """Holds the loss below `-A limit` where A < 0 (arXiv 1912.09729, eq. 5).

  It follows a surrogate. Metric: `ratio/dual_clip_share`.

  Raises:
    ValueError: if `limit` is not above 1.
  """
  if limit <= 1.0:
    raise ValueError(f"dual_clip's limit must be above 1, not {limit}")

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    bound = -batch.advantages * limit
    held = (batch.advantages < 0) & (loss.loss > bound)
    return loss.replace(
      loss=jnp.where(held, bound, loss.loss),
      metrics=loss.metrics | {"ratio/dual_clip_share": share(held, batch.mask)},
    )

  return update


def sapo(
  positive_temperature: float = 1.0, negative_temperature: float = 1.05
) -> LossTransform:
  """`-A (4 / t) sigmoid(t (r - 1))`: a soft gate (SAPO, arXiv 2511.20347).

  Args:
    positive_temperature: t where A > 0.
    negative_temperature: t elsewhere.
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    t = jnp.where(
      batch.advantages > 0, positive_temperature, negative_temperature
    )
    gate = 4.0 / t * jax.nn.sigmoid(t * (loss.ratio - 1.0))
    return loss.replace(loss=-batch.advantages * gate)

  return update


def geo_mean(low: float = 0.4, high: float = 0.4) -> LossTransform:
  """`-mean(A) exp(mean of clipped d)`, a response (GMPO, arXiv 2507.20673).

  Every token carries its response's loss: aggregate with
  `seq_mean_token_mean`. The clip range is that of the log-ratio d. Metrics as
  `ppo_clip`.
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    d = log_ratio(batch)
    sign = jnp.sign(batch.advantages)
    bound = jnp.clip(d, -low, high)
    clipped = stop_gradient(sign * bound < sign * d)
    held = jnp.where(clipped, stop_gradient(bound), d)
    kept = jnp.where(sign == 0, 0.0, held)
    ratio = jnp.exp(response_mean(kept, batch))
    cut = stop_gradient((d != bound) & (sign != 0))
    return TokenLoss(
      loss=-response_mean(batch.advantages, batch) * ratio,
      ratio=ratio,
      clipped=clipped,
      metrics=loss.metrics | clip_metrics(cut, batch),
    )

  return update
