"""Weights: factors on the loss that a surrogate has set.

Value and gradient of each token change alike. Weights carry no gradient.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrl_entropy import arguments
from jaxrl_entropy.losses import parts
from jaxrl_entropy.losses.base import (
  LossTransform,
  PRNGKey,
  Scalar,
  Selector,
  TokenLoss,
  response_mean,
  share_metric,
  token_metric,
)
from jaxrl_entropy.losses.parts import part
from jaxrl_entropy.losses.ratio import MAX_LOG_RATIO, hold
from jaxrl_entropy.ops import masked
from jaxrl_entropy.ops.covariance import token_covariance
from jaxrl_entropy.types import Metrics, TokenBatch


def weigh(
  loss: TokenLoss, weight: Float[Array, "B T"], metrics: Metrics
) -> TokenLoss:
  """Returns the loss times a constant weight, with metrics added.

  Args:
    loss: what the chain has made so far.
    weight: factor of each token; no gradient flows through it.
    metrics: to add to those of the loss.
  """
  weight = jax.lax.stop_gradient(weight)
  return loss.replace(loss=weight * loss.loss, metrics=loss.metrics | metrics)


@part("weight")
def restrict_to(selector: Selector, name: str = "select") -> LossTransform:
  """Multiplies the loss by 0 at other tokens than those of a selector.

  The loss of these is scaled by N / picked, so that the `token_mean` is one
  over them. Metrics, under `name`: `share`, and those of the selector.

  Args:
    selector: picks the tokens.
    name: prefix of the metrics.

  Raises:
    ValueError: if the selector is a factory that was not called.
  """
  parts.check(selector, "selector", 3)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    picked = parts.pick(selector, loss, batch, key)
    share = share_metric(picked.chosen, batch.mask)
    scale = share.count / jnp.maximum(share.total, 1.0)
    measured = {"share": share} | picked.metrics
    metrics = {f"{name}/{key}": value for key, value in measured.items()}
    return weigh(loss, jnp.where(picked.chosen, scale, 0.0), metrics)

  return update


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
  deviation, then scaled to mean 1. The paper normalizes over a group, this over
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


@part("weight")
def sign_weight(balance: Scalar) -> LossTransform:
  """Multiplies the loss by 1 + balance where A > 0, by 1 - balance where A < 0.

  Args:
    balance: above 0 it favors responses that did well; may be traced.

  Raises:
    ValueError: for a balance that is not finite.

  References:
    The weights of EntroPIC, which its controller `pi_entropy` drives.
  """
  arguments.finite("sign_weight", balance=balance)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    return weigh(loss, 1.0 + balance * jnp.sign(batch.advantages), {})

  return update


@part("weight")
def teacher_weight(
  mix: Scalar = 0.5, clip: float | None = 0.2, *, reverse: bool = False
) -> LossTransform:
  """Multiplies the loss by how much likelier the teacher finds a token.

  `(1 - mix) + mix clip(w, 1 - clip, 1 + clip)` with
  `w = exp(sign(A) (teacher_logp - logp))`, a constant. The teacher is the same
  policy with the solution in its prompt. Metric: `teacher/weight`.

  Args:
    mix: share of w in the weight; may be traced, as an annealed one is.
    clip: half-width of the range of w; None: w is free.
    reverse: whether tokens that the teacher finds less likely weigh more
      (RLRT), not less (RLSD).

  Raises:
    ValueError: for a number outside its range.

  References:
    RLSD, arXiv 2604.03128; RLRT, 2605.10781.
  """
  arguments.within("teacher_weight", 0.0, 1.0, mix=mix)
  if clip is not None:
    arguments.within("teacher_weight", 0.0, 1.0, clip=clip)
  direction = -1.0 if reverse else 1.0

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    gap = hold(batch.teacher_logp - batch.logp, MAX_LOG_RATIO)
    weight = jnp.exp(direction * jnp.sign(batch.advantages) * gap)
    if clip is not None:
      weight = jnp.clip(weight, 1.0 - clip, 1.0 + clip)
    weight = 1.0 - mix + mix * weight
    return weigh(
      loss, weight, {"teacher/weight": token_metric(weight, batch.mask)}
    )

  return update
