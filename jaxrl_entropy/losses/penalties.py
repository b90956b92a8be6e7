"""Penalties: terms added to the loss that a surrogate has set."""

import jax
import jax.numpy as jnp

from jaxrl_entropy import arguments
from jaxrl_entropy.losses.base import (
  LossTransform,
  PRNGKey,
  Scalar,
  TokenLoss,
  token_metric,
)
from jaxrl_entropy.losses.parts import part
from jaxrl_entropy.ops.kl import check_kind, kl
from jaxrl_entropy.types import TokenBatch


@part("penalty")
def add_kl(coefficient: Scalar, kind: str = "abs") -> LossTransform:
  """Adds `coefficient * KL` to the policy that opened the round of updates.

  KL-Cov's penalty; the paper's listing takes |log-ratio|. On the first update
  after a rollout every log-ratio is 0, and so are the value and the gradient of
  this term.

  Args:
    coefficient: beta of the paper, at least 0; may be traced.
    kind: see `ops.kl.kl`.

  Raises:
    ValueError: for an unknown kind or a negative coefficient.

  References:
    arXiv 2505.22617, equation 13.
  """
  arguments.within("add_kl", 0.0, coefficient=coefficient)
  check_kind(kind)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    penalty = kl(batch.logp, batch.old_logp, kind)
    return loss.replace(loss=loss.loss + coefficient * penalty)

  return update


@part("penalty")
def add_reference_kl(
  coefficient: Scalar, kind: str = "k3", weighted: bool = False
) -> LossTransform:
  """Adds `coefficient * KL` to the reference policy.

  Metric: `kl/reference`, the estimate itself, nats per token.

  Args:
    coefficient: at least 0; may be traced.
    kind: see `ops.kl.kl`.
    weighted: whether the ratio weighs the estimate, which makes it unbiased for
      tokens of an older policy.

  Raises:
    ValueError: for an unknown kind or a negative coefficient.

  References:
    GRPO, arXiv 2402.03300; weighted: DeepSeek-V3.2, 2512.02556.
  """
  arguments.within("add_reference_kl", 0.0, coefficient=coefficient)
  check_kind(kind)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    penalty = kl(batch.logp, batch.ref_logp, kind)
    if weighted:
      penalty *= loss.ratio
    metrics = {"kl/reference": token_metric(penalty, batch.mask)}
    return loss.replace(
      loss=loss.loss + coefficient * penalty, metrics=loss.metrics | metrics
    )

  return update


@part("penalty")
def add_entropy(coefficient: Scalar) -> LossTransform:
  """Adds `-coefficient * H`, H the full-vocabulary entropy in nats.

  Metric: `entropy/bonus`, the mean of `coefficient * H`.

  Args:
    coefficient: may be traced, as an adaptive one is; below 0 it lowers the
      entropy.
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    bonus = batch.entropy * coefficient
    metrics = {"entropy/bonus": token_metric(bonus, batch.mask)}
    return loss.replace(loss=loss.loss - bonus, metrics=loss.metrics | metrics)

  return update


@part("penalty")
def add_value_loss(clip: float | None = 0.2) -> LossTransform:
  """Adds the value head's squared error, clipped as in PPO.

  `0.5 max((v - R)^2, (clip(v, V - clip, V + clip) - R)^2)` with V the values
  when the round opened. Metrics: `value/clip_share`, `value/error` (mean
  squared error).

  Args:
    clip: half-width of the trust region around V, at least 0; None: no
      clipping.

  Raises:
    ValueError: for a negative width.

  References:
    PPO, arXiv 1707.06347.
  """
  if clip is not None:
    arguments.within("add_value_loss", 0.0, clip=clip)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    squared = (batch.values - batch.returns) ** 2
    worst = squared
    if clip is not None:
      old = batch.old_values
      near = jnp.clip(batch.values, old - clip, old + clip)
      worst = jnp.maximum(squared, (near - batch.returns) ** 2)
    held = jax.lax.stop_gradient(worst > squared).astype(jnp.float32)
    metrics = {
      "value/clip_share": token_metric(held, batch.mask),
      "value/error": token_metric(squared, batch.mask),
    }
    return loss.replace(
      loss=loss.loss + 0.5 * worst, metrics=loss.metrics | metrics
    )

  return update
