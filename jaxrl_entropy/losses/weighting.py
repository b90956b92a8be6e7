"""Transforms that reweigh tokens by what their update does to the entropy.

They come after a surrogate in the chain and scale its loss, so that value and
gradient of each token change alike. Weights carry no gradient.
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
from jaxrl_entropy.ops.covariance import token_covariance
from jaxrl_entropy.types import Metrics, TokenBatch


def _weighted(
  loss: TokenLoss, weight: Float[Array, "B T"], metrics: Metrics
) -> TokenLoss:
  weight = jax.lax.stop_gradient(weight)
  return loss.replace(loss=weight * loss.loss, metrics=loss.metrics | metrics)


def covariance_kernel(width: float = 1.0) -> LossTransform:
  """Down-weighs tokens of extreme covariance, on both sides, smoothly.

  CW-GRPO (Wang et al. 2026, arXiv 2605.11538): w = exp(-c^2 / (2 sigma^2)), c
  the token's covariance and sigma its standard deviation, then scaled to mean
  1. The paper's normalisation is over a group; here it is over the mini-batch.
  Metric: `kernel/squared_weight`, the mean of w^2 (1: nothing is reweighed).

  Args:
    width: bandwidth in standard deviations; the paper's is 1.
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    covariance = token_covariance(batch.logp, batch.advantages, batch.mask)
    sigma = width * masked.masked_std(covariance, batch.mask)
    scaled = covariance / jnp.where(sigma > 0, sigma, 1.0)
    weight = jnp.exp(-0.5 * scaled**2)
    weight = weight / masked.masked_mean(weight, batch.mask)
    metrics = {"kernel/squared_weight": token_metric(weight**2, batch.mask)}
    return _weighted(loss, weight, metrics)

  return update


def entropy_polarity(
  logp: Float[Array, "*s"],
  entropy: Float[Array, "*s"],
  sum_p2: Float[Array, "*s"],
  sum_p2_logp: Float[Array, "*s"],
) -> Float[Array, "*s"]:
  """How fast reinforcing a token raises its state's entropy, nats a unit.

  A policy-gradient step of size eta on the logits of a state changes them by
  eta A (onehot(y) - p), and by Theorem 1 of arXiv 2505.22617 its entropy by
  eta A T, to first order, with

      T = sum_v p_v^2 (log p_v + H) - p_y (log p_y + H):

  a correction by the state's distribution less the sampled token's own part.
  A T is the entropy polarity of Zhang et al. 2026 (arXiv 2605.11775).
  """
  own = jnp.exp(logp) * (logp + entropy)
  return sum_p2_logp + entropy * sum_p2 - own


def _flow(loss: TokenLoss, batch: TokenBatch) -> Float[Array, "B T"]:
  """First-order change of entropy by each token's own update; constant."""
  rate = entropy_polarity(
    batch.logp, batch.entropy, batch.sum_p2, batch.sum_p2_logp
  )
  flow = batch.advantages * loss.ratio * rate
  flow = jnp.where(loss.clipped, 0.0, flow)
  return jax.lax.stop_gradient(masked.guard(flow, batch.mask))


def _flow_metrics(
  up: Float[Array, "B T"], down: Float[Array, "B T"], batch: TokenBatch
) -> Metrics:
  return {
    "flow/up": token_metric(up, batch.mask),
    "flow/down": token_metric(down, batch.mask),
  }


def balance_entropy_flow(
  strength: float | Float[Array, ""] = 1.0,
) -> LossTransform:
  """Evens out the updates that raise the entropy and those that lower it.

  OPEFO (Xu et al. 2026, arXiv 2605.11491) rescales the two sets by their parts
  in the change of entropy. With U and D the summed flows up and down, tokens
  that raise the entropy are weighed by 2 D / (U + D) and those that lower it by
  2 U / (U + D): both flows become 2 U D / (U + D). We have not seen the paper's
  own coefficient and approximation of a token's flow; this closed form and the
  exact first-order flow (`entropy_polarity`) are ours. Metrics: `flow/up`,
  `flow/down`, the mean flows before rescaling.

  Args:
    strength: 0: no change; 1: balanced. May be traced.
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    flow = _flow(loss, batch)
    up, down = jnp.maximum(flow, 0.0), jnp.maximum(-flow, 0.0)
    total = up.sum() + down.sum()
    total = jnp.where(total > 0, total, 1.0)
    weight = 2.0 * jnp.where(flow > 0, down.sum(), up.sum()) / total
    weight = jnp.where(flow == 0, 1.0, 1.0 + strength * (weight - 1.0))
    return _weighted(loss, weight, _flow_metrics(up, down, batch))

  return update


def polarity_weight(balance: float | Float[Array, ""]) -> LossTransform:
  """Weighs updates that raise the entropy by 1 + balance, others 1 - balance.

  PAPO (Zhang et al. 2026, arXiv 2605.11775) keeps both polarities and shifts
  weight between them as the entropy moves: drive `balance` with the controller
  `entropy_trend`. We have not seen the paper's own weights and phase signal;
  these are ours. Metrics: `flow/up`, `flow/down`, the mean flows before.

  Args:
    balance: in [-1, 1]; above 0 it favours exploration. May be traced.
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    flow = _flow(loss, batch)
    up, down = jnp.maximum(flow, 0.0), jnp.maximum(-flow, 0.0)
    weight = 1.0 + balance * jnp.sign(flow)
    return _weighted(loss, weight, _flow_metrics(up, down, batch))

  return update
