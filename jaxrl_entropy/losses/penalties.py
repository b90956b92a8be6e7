"""Terms added to the loss: KL penalties, entropy bonus, value regression."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrl_entropy.losses.base import (
  LossTransform,
  PRNGKey,
  TokenLoss,
  token_metric,
)
from jaxrl_entropy.ops.kl import kl
from jaxrl_entropy.types import TokenBatch

Coefficient = float | Float[Array, ""]


def add_kl(coefficient: Coefficient, kind: str = "abs") -> LossTransform:
  """Adds `coefficient * KL` to the policy that opened the round of updates.

  KL-Cov's penalty (arXiv 2505.22617, eq. 13): its listing takes |log-ratio|.
  On the first update after a rollout every log-ratio is 0, and so are the
  value and the gradient of this term.

  Args:
    coefficient: beta of the paper; may be traced.
    kind: see `ops.kl.kl`.
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    penalty = kl(batch.logp, batch.old_logp, kind)
    return loss.replace(loss=loss.loss + coefficient * penalty)

  return update


def reference_kl(
  coefficient: Coefficient, kind: str = "k3", weighted: bool = False
) -> LossTransform:
  """Adds `coefficient * KL` to the reference policy (GRPO, arXiv 2402.03300).

  Metric: `kl/reference`, the estimate itself, nats a token.

  Args:
    coefficient: may be traced.
    kind: see `ops.kl.kl`.
    weighted: whether the ratio weighs the estimate, which makes it unbiased for
      tokens of an older policy (DeepSeek-V3.2, arXiv 2512.02556).
  """

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


def entropy_bonus(coefficient: Coefficient) -> LossTransform:
  """Subtracts `coefficient * H`, H the full-vocabulary entropy in nats.

  Metric: `entropy/bonus`, the mean of what is subtracted.

  Args:
    coefficient: may be traced; an adaptive one comes from a controller.
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    bonus = batch.entropy * coefficient
    metrics = {"entropy/bonus": token_metric(bonus, batch.mask)}
    return loss.replace(loss=loss.loss - bonus, metrics=loss.metrics | metrics)

  return update


def value_loss(clip: float | None = 0.2) -> LossTransform:
  """Adds the value head's squared error, clipped as in PPO (arXiv 1707.06347).

  `0.5 max((v - R)^2, (clip(v, V - clip, V + clip) - R)^2)` with V the values
  when the round opened. Metrics: `value/clip_share`, `value/error` (mean
  squared error).

  Args:
    clip: half-width of the trust region around V; None: no clipping.
  """

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
