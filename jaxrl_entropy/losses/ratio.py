"""Importance ratios and weights: what surrogates weigh a token by.

A ratio transform stands before the surrogate of a chain. Without one, the ratio
is the token's own.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrl_entropy.losses.base import (
  LossTransform,
  PRNGKey,
  TokenLoss,
  token_metric,
)
from jaxrl_entropy.ops import masked
from jaxrl_entropy.types import TokenBatch


def log_ratio(batch: TokenBatch) -> Float[Array, "B T"]:
  """`logp - old_logp` of each token."""
  return batch.logp - jax.lax.stop_gradient(batch.old_logp)


def response_sum(
  x: Float[Array, "B T"], batch: TokenBatch
) -> Float[Array, "B T"]:
  """For each token, the sum of `x` over its response."""
  sums = masked.segment_sum(
    masked.guard(x, batch.mask), batch.response, batch.num_responses
  )
  return sums.at[batch.response].get(mode="clip")


def response_mean(
  x: Float[Array, "B T"], batch: TokenBatch
) -> Float[Array, "B T"]:
  """For each token, the mean of `x` over its response."""
  length = response_sum(batch.mask.astype(x.dtype), batch)
  return response_sum(x, batch) / jnp.maximum(length, 1.0)


def _with_ratio(
  loss: TokenLoss,
  batch: TokenBatch,
  ratio: Float[Array, "B T"],
  tokenwise: Float[Array, "B T"],
) -> TokenLoss:
  metrics = {
    "kl/old": token_metric(-tokenwise, batch.mask),
    "kl/old_abs": token_metric(jnp.abs(tokenwise), batch.mask),
  }
  return loss.replace(ratio=ratio, metrics=loss.metrics | metrics)


def token_ratio(limit: float | None = 20.0) -> LossTransform:
  """`exp(d)` with d = logp - old_logp, held in [-limit, limit] (gradient 0).

  Args:
    limit: None leaves d free, as the peers' covariance losses do; the loss may
      then overflow for d above 88.
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    d = log_ratio(batch)
    if limit is not None:
      d = jnp.clip(d, -limit, limit)
    return _with_ratio(loss, batch, jnp.exp(d), d)

  return update


def sequence_ratio() -> LossTransform:
  """`exp(mean d)`, one for each response (GSPO, arXiv 2507.18071, eq. 7)."""

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    d = log_ratio(batch)
    return _with_ratio(loss, batch, jnp.exp(response_mean(d, batch)), d)

  return update


def sequence_token_ratio(limit: float | None = 10.0) -> LossTransform:
  """The response's ratio in value, the token's own in gradient (GSPO-token).

  arXiv 2507.18071, section 4.3: `sg(exp(mean d)) pi / sg(pi)`.

  Args:
    limit: cap of the logarithm, with gradient 0 above it (verl); None: none.
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    d = log_ratio(batch)
    own = batch.logp - jax.lax.stop_gradient(batch.logp)
    value = own + jax.lax.stop_gradient(response_mean(d, batch))
    if limit is not None:
      value = jnp.minimum(value, limit)
    return _with_ratio(loss, batch, jnp.exp(value), d)

  return update


def importance_weight(
  cap: float | None = 2.0, level: str = "token"
) -> LossTransform:
  """Weighs the loss by min(pi_old / pi_sampler, cap), a constant.

  Truncated importance sampling for a sampler whose probabilities differ from
  the trainer's (Yao et al., "Your efficient RL framework secretly brings you
  off-policy RL training", 2025). It acts on the terms before it in the chain.
  Metric: `sampler/weight`.

  Args:
    cap: largest weight; None: no cap.
    level: `"token"`, or `"response"`: the geometric mean over the response.

  Raises:
    ValueError: for an unknown level.
  """
  if level not in ("token", "response"):
    raise ValueError(f"level must be 'token' or 'response', not {level!r}")

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    log_weight = batch.old_logp - batch.sampler_logp
    if level == "response":
      log_weight = response_mean(log_weight, batch)
    weight = jnp.exp(jax.lax.stop_gradient(log_weight))
    if cap is not None:
      weight = jnp.minimum(weight, cap)
    metrics = {"sampler/weight": token_metric(weight, batch.mask)}
    return loss.replace(loss=weight * loss.loss, metrics=loss.metrics | metrics)

  return update
