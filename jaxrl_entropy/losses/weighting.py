"""Weights: factors on the loss that a surrogate has set.

Value and gradient of each token change alike. Weights carry no gradient.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrl_entropy import arguments
from jaxrl_entropy.losses.base import (
  LossTransform,
  PRNGKey,
  Scalar,
  TokenLoss,
  response_mean,
  token_metric,
)
from jaxrl_entropy.losses.parts import part
from jaxrl_entropy.losses.ratio import MAX_LOG_RATIO
from jaxrl_entropy.ops import masked
from jaxrl_entropy.ops.covariance import token_covariance
from jaxrl_entropy.types import Metrics, TokenBatch


def weigh(
  loss: TokenLoss, weight: Float[Array, "B T"], metrics: Metrics
) -> TokenLoss:
  """Returns the loss times a constant weight, with metrics added."""
  weight = jax.lax.stop_gradient(weight)
  return loss.replace(loss=weight * loss.loss, metrics=loss.metrics | metrics)


@part("weight")
def importance_weight(
  cap: float | None = 2.0, level: str = "token"
) -> LossTransform:
  """Multiplies the loss by `min(pi_old / pi_sampler, cap)`, a constant.

  Truncated importance sampling, for a sampler whose probabilities differ from
  the trainer's. It acts on the terms before it in the chain. Metric:
  `sampler/weight`.

  Args:
    cap: largest weight, above 0; None: no cap.
    level: "token", or "response": the geometric mean over the response.

  Raises:
    ValueError: for an unknown level, or a cap that is not above 0.

  References:
    Yao et al., "Your efficient RL framework secretly brings you off-policy RL
    training", 2025.
  """
  arguments.one_of("importance_weight", ("token", "response"), level=level)
  if cap is not None:
    arguments.above("importance_weight", 0.0, cap=cap)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    log_weight = batch.old_logp - batch.sampler_logp
    if level == "response":
      log_weight = response_mean(log_weight, batch)
    weight = jnp.exp(jnp.minimum(log_weight, MAX_LOG_RATIO))
    if cap is not None:
      weight = jnp.minimum(weight, cap)
    return weigh(
      loss, weight, {"sampler/weight": token_metric(weight, batch.mask)}
    )

  return update


@part("weight")
def covariance_kernel(width: float = 1.0) -> LossTransform:
  """Multiplies the loss by a weight that is small at extreme covariances.

  `w = exp(-c^2 / (2 sigma^2))`, c the token's covariance and sigma its standard
  deviation, then scaled to mean 1. The paper normalises over a group, this over
  the mini-batch. Metric: `kernel/squared_weight`, the mean of w^2 (1: nothing
  is reweighed).

  Args:
    width: bandwidth in standard deviations, above 0; the paper's is 1.

  Raises:
    ValueError: if `width` is not above 0.

  References:
    CW-GRPO, arXiv 2605.11538.
  """
  arguments.above("covariance_kernel", 0.0, width=width)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    covariance = token_covariance(batch.logp, batch.advantages, batch.mask)
    sigma = width * masked.masked_std(covariance, batch.mask)
    scaled = covariance / jnp.where(sigma > 0, sigma, 1.0)
    weight = jnp.exp(-0.5 * scaled**2)
    weight = weight / masked.masked_mean(weight, batch.mask)
    squared = token_metric(weight**2, batch.mask)
    return weigh(loss, weight, {"kernel/squared_weight": squared})

  return update


def entropy_polarity(
  logp: Float[Array, "*s"],
  entropy: Float[Array, "*s"],
  sum_p2: Float[Array, "*s"],
  sum_p2_logp: Float[Array, "*s"],
) -> Float[Array, "*s"]:
  """Returns how fast reinforcing a token raises the entropy of its state.

  A policy-gradient step of size eta on the logits of a state changes them by
  eta A (onehot(y) - p), and by Theorem 1 of arXiv 2505.22617 its entropy by
  eta A T, to first order, with

      T = sum_v p_v^2 (log p_v + H) - p_y (log p_y + H):

  a correction by the state's distribution less the sampled token's own part.

  Args:
    logp: log-prob of the token, nats.
    entropy: H of the state, nats.
    sum_p2: sum over the vocabulary of p^2.
    sum_p2_logp: sum over the vocabulary of p^2 log p, nats.

  Returns:
    T, nats per unit of eta A.

  References:
    A T is the entropy polarity of PAPO, arXiv 2605.11775.
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


@part("weight")
def balance_entropy_flow(strength: Scalar = 1.0) -> LossTransform:
  """Multiplies the loss so that entropy flows up as much as it flows down.

  With U and D the summed flows up and down, tokens that raise the entropy are
  weighed by `1 + lambda` and those that lower it by `1 - lambda`, where
  `lambda = (D - U) / (U + D)`: both flows become `2 U D / (U + D)`. The flow of
  a token is the exact first-order one (`entropy_polarity`); the paper drops the
  part of the other tokens. Metrics: `flow/up`, `flow/down`, the mean flows
  before rescaling, and `flow/lambda`.

  Args:
    strength: 0: no change; 1: balanced. May be traced.

  Raises:
    ValueError: for a strength outside of [0, 1].

  References:
    OPEFO, arXiv 2605.11491.
  """
  arguments.within("balance_entropy_flow", 0.0, 1.0, strength=strength)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    flow = _flow(loss, batch)
    up, down = jnp.maximum(flow, 0.0), jnp.maximum(-flow, 0.0)
    total = up.sum() + down.sum()
    shift = (down.sum() - up.sum()) / jnp.where(total > 0, total, 1.0)
    weight = 1.0 + strength * shift * jnp.sign(flow)
    lambda_ = token_metric(jnp.full_like(flow, shift), batch.mask)
    metrics = _flow_metrics(up, down, batch) | {"flow/lambda": lambda_}
    return weigh(loss, weight, metrics)

  return update


@part("weight")
def polarity_weight(balance: Scalar) -> LossTransform:
  """Multiplies the loss by 1 + balance where the update raises the entropy.

  Updates that lower it are weighed by 1 - balance. PAPO keeps both polarities
  and shifts weight between them as the entropy moves: drive `balance` with the
  controller `entropy_trend`. The paper's own weights and phase signal were not
  at hand; these are this project's. Metrics: `flow/up`, `flow/down`, the mean
  flows before.

  Args:
    balance: in [-1, 1]; above 0 it favours exploration. May be traced.

  Raises:
    ValueError: for a balance outside of [-1, 1].

  References:
    PAPO, arXiv 2605.11775.
  """
  arguments.within("polarity_weight", -1.0, 1.0, balance=balance)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    flow = _flow(loss, batch)
    up, down = jnp.maximum(flow, 0.0), jnp.maximum(-flow, 0.0)
    weight = 1.0 + balance * jnp.sign(flow)
    return weigh(loss, weight, _flow_metrics(up, down, batch))

  return update
