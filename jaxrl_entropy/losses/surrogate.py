"""Surrogates that are differentiated through the importance ratio.

Each reads the ratio r that came down the chain and sets the loss of each token;
A is its advantage. Penalties and weights stand after it.
"""

import jax
from jax.lax import stop_gradient
import jax.numpy as jnp
from jaxtyping import Array, Bool

from jaxrl_entropy import arguments
from jaxrl_entropy.losses.base import (
  LossTransform,
  PRNGKey,
  Scalar,
  TokenLoss,
  response_mean,
  share_metric,
)
from jaxrl_entropy.losses.parts import part
from jaxrl_entropy.losses.ratio import MAX_LOG_RATIO, hold, log_ratio
from jaxrl_entropy.types import Metrics, TokenBatch


@part("surrogate")
def policy_gradient() -> LossTransform:
  """Sets the loss to `-A r`, unclipped.

  References:
    The policy gradient of KL-Cov, arXiv 2505.22617, equation 13.
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    return loss.replace(loss=-batch.advantages * loss.ratio)

  return update


def clip_metrics(clipped: Bool[Array, "B T"], batch: TokenBatch) -> Metrics:
  """Returns the shares of tokens held from growing and from shrinking.

  Args:
    clipped: True where the surrogate holds the ratio.
    batch: tokens of the mini-batch; those of positive advantage grow.

  Returns:
    `ratio/clip_high_share` and `ratio/clip_low_share`, of all valid tokens.
  """
  up = batch.advantages > 0
  return {
    "ratio/clip_high_share": share_metric(clipped & up, batch.mask),
    "ratio/clip_low_share": share_metric(clipped & ~up, batch.mask),
  }


@part("surrogate")
def ppo_clip(
  clip_low: Scalar = 0.2, clip_high: Scalar = 0.2, cap: float | None = None
) -> LossTransform:
  """Sets the loss to `max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high))`.

  The gradient is that of `-A r`, or 0 where the clip bites. `clip_high >
  clip_low` is Clip-Higher. Metrics: `ratio/clip_high_share`,
  `ratio/clip_low_share`.

  Args:
    clip_low: how far below 1 the ratio may fall, in [0, 1]; may be traced.
    clip_high: how far above 1 it may rise, at least 0; may be traced.
    cap: bound of r in the first term, which the clip leaves free for A < 0
      (two-sided clipping, INTELLECT-2); None: no bound.

  Raises:
    ValueError: for a bound outside its range.

  References:
    PPO, arXiv 1707.06347; DAPO, 2503.14476; INTELLECT-2, 2505.07291.
  """
  arguments.within("ppo_clip", 0.0, 1.0, clip_low=clip_low)
  arguments.within("ppo_clip", 0.0, clip_high=clip_high)
  if cap is not None:
    arguments.above("ppo_clip", 1.0, cap=cap)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    ratio = loss.ratio if cap is None else jnp.minimum(loss.ratio, cap)
    plain = -batch.advantages * ratio
    near = jnp.clip(loss.ratio, 1.0 - clip_low, 1.0 + clip_high)
    bound = -batch.advantages * near
    # Not jnp.maximum: it would halve the gradient exactly at a bound.
    clipped = stop_gradient(bound > plain)
    return TokenLoss(
      loss=jnp.where(clipped, stop_gradient(bound), plain),
      ratio=loss.ratio,
      clipped=clipped,
      metrics=loss.metrics | clip_metrics(clipped, batch),
    )

  return update


@part("bound")
def dual_clip(limit: float = 3.0) -> LossTransform:
  """Bounds the loss of a surrogate by `-A limit` where A < 0.

  Metric: `ratio/dual_clip_share`.

  Args:
    limit: largest ratio that a token of A < 0 is punished by, above 1.

  Raises:
    ValueError: if `limit` is not above 1.

  References:
    Dual-clip PPO, arXiv 1912.09729, equation 5.
  """
  arguments.above("dual_clip", 1.0, limit=limit)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    bound = -batch.advantages * limit
    held = (batch.advantages < 0) & (loss.loss > bound)
    metrics = {"ratio/dual_clip_share": share_metric(held, batch.mask)}
    return loss.replace(
      loss=jnp.where(held, bound, loss.loss), metrics=loss.metrics | metrics
    )

  return update


@part("surrogate")
def soft_clip(
  positive_temperature: float = 1.0, negative_temperature: float = 1.05
) -> LossTransform:
  """Sets the loss to `-A (4 / t) sigmoid(t (r - 1))`, SAPO's soft gate.

  Args:
    positive_temperature: t where A > 0, above 0.
    negative_temperature: t elsewhere, above 0.

  Raises:
    ValueError: for a temperature that is not above 0.

  References:
    SAPO, arXiv 2511.20347.
  """
  arguments.above(
    "soft_clip",
    0.0,
    positive_temperature=positive_temperature,
    negative_temperature=negative_temperature,
  )

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    t = jnp.where(
      batch.advantages > 0, positive_temperature, negative_temperature
    )
    gate = 4.0 / t * jax.nn.sigmoid(t * (loss.ratio - 1.0))
    return loss.replace(loss=-batch.advantages * gate)

  return update


@part("surrogate")
def geo_mean(
  log_ratio_low: float = 0.4,
  log_ratio_high: float = 0.4,
  limit: float | None = MAX_LOG_RATIO,
) -> LossTransform:
  """Sets the loss to `-mean(A) exp(mean of clipped d)`, one for a response.

  Every token carries its response's loss: aggregate with `seq_mean_token_mean`.
  Metrics as `ppo_clip`.

  Args:
    log_ratio_low: how far below 0 the log-ratio d may fall, nats, at least 0.
    log_ratio_high: how far above 0 it may rise, at least 0.
    limit: the mean is held in [-limit, limit], with gradient 0 outside; None
      leaves it free, and the loss may overflow.

  Raises:
    ValueError: for a bound outside its range.

  References:
    GMPO, arXiv 2507.20673.
  """
  arguments.within(
    "geo_mean", 0.0, log_ratio_low=log_ratio_low, log_ratio_high=log_ratio_high
  )
  if limit is not None:
    arguments.above("geo_mean", 0.0, limit=limit)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    d = log_ratio(batch)
    sign = jnp.sign(batch.advantages)
    bound = jnp.clip(d, -log_ratio_low, log_ratio_high)
    clipped = stop_gradient(sign * bound < sign * d)
    held = jnp.where(clipped, stop_gradient(bound), d)
    kept = jnp.where(sign == 0, 0.0, held)
    ratio = jnp.exp(hold(response_mean(kept, batch), limit))
    cut = stop_gradient((d != bound) & (sign != 0))
    return TokenLoss(
      loss=-response_mean(batch.advantages, batch) * ratio,
      ratio=ratio,
      clipped=clipped,
      metrics=loss.metrics | clip_metrics(cut, batch),
    )

  return update
