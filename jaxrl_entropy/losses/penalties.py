"""Penalties: terms added to the loss that a surrogate has set."""

import jax
import jax.numpy as jnp

from jaxrl_entropy import arguments
from jaxrl_entropy.losses.base import (
  LossTransform,
  PRNGKey,
  Scalar,
  TokenLoss,
  inverse_lengths,
  token_metric,
)
from jaxrl_entropy.losses.parts import part, pick
from jaxrl_entropy.losses.ratio import MAX_LOG_RATIO, hold, log_ratio
from jaxrl_entropy.losses.scores import entropy_score, nucleus_entropy_score
from jaxrl_entropy.losses.selectors import top_quantile
from jaxrl_entropy.ops import masked
from jaxrl_entropy.ops.kl import check_kind, kl
from jaxrl_entropy.types import Mean, TokenBatch


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

  Raises:
    ValueError: for a coefficient that is not finite.
  """
  arguments.finite("add_entropy", coefficient=coefficient)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    bonus = batch.entropy * coefficient
    metrics = {"entropy/bonus": token_metric(bonus, batch.mask)}
    return loss.replace(loss=loss.loss - bonus, metrics=loss.metrics | metrics)

  return update


@part("penalty")
def add_router_losses(
  balance: Scalar = 0.001, z: Scalar = 0.0
) -> LossTransform:
  """Adds the losses of a mixture of experts' router.

  `balance` times the load-balance loss, which is 1 for an even load, and `z`
  times the squared log-normalizer of the router's logits, both means over the
  layers. Metrics: `router/balance`, `router/z`.

  Args:
    balance: at least 0; may be traced.
    z: at least 0; may be traced.

  Raises:
    ValueError: for a negative coefficient.

  References:
    Switch Transformers, arXiv 2101.03961; ST-MoE, 2202.08906.
  """
  arguments.within("add_router_losses", 0.0, balance=balance, z=z)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    added = balance * batch.router_balance + z * batch.router_z
    metrics = {
      "router/balance": token_metric(batch.router_balance, batch.mask),
      "router/z": token_metric(batch.router_z, batch.mask),
    }
    return loss.replace(loss=loss.loss + added, metrics=loss.metrics | metrics)

  return update


@part("penalty")
def add_teacher_kl(coefficient: Scalar = 1.0) -> LossTransform:
  """Adds `coefficient KL(policy || teacher)` over the vocabulary.

  Metric: `kl/teacher`.

  Args:
    coefficient: at least 0; may be traced.

  Raises:
    ValueError: for a negative coefficient.

  References:
    On-policy distillation, as in arXiv 2604.14084.
  """
  arguments.within("add_teacher_kl", 0.0, coefficient=coefficient)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    metrics = {"kl/teacher": token_metric(batch.teacher_kl, batch.mask)}
    return loss.replace(
      loss=loss.loss + coefficient * batch.teacher_kl,
      metrics=loss.metrics | metrics,
    )

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


@part("penalty")
def add_mastery_kl(
  coefficient: Scalar = 1.0, width: float = 0.01
) -> LossTransform:
  """Adds a KL penalty on prompts whose responses are all correct.

  `coefficient phi(d)`, d = logp - old_logp: with `k(d) = exp(d) - d - 1`, phi
  is 0 for |d| <= width and `k(d) - k(sign(d) width)` elsewhere. It is scaled by
  responses / mastered responses, so that with `seq_mean_token_mean` it is a
  mean over the mastered ones. Acts from the second update of a rollout on, and
  only if the group filter keeps such prompts. Metric: `kl/mastered`.

  Args:
    coefficient: at least 0; may be traced.
    width: log-ratios that are left alone, nats, at least 0.

  Raises:
    ValueError: for a number outside its range.

  References:
    Hinge-KL of MCPO, arXiv 2604.16972.
  """
  arguments.within("add_mastery_kl", 0.0, coefficient=coefficient, width=width)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    d = hold(log_ratio(batch), MAX_LOG_RATIO)
    edge = width * jnp.sign(d)
    hinge = (jnp.expm1(d) - d) - (jnp.expm1(edge) - edge)
    mastered = batch.mask & (batch.group_accuracy >= 1.0)
    hinge = jnp.where(mastered & (jnp.abs(d) > width), hinge, 0.0)
    share = inverse_lengths(batch)
    count = masked.masked_sum(share, mastered)
    scale = share.sum() / jnp.where(count > 0, count, 1.0)
    metrics = {"kl/mastered": token_metric(hinge, mastered)}
    return loss.replace(
      loss=loss.loss + coefficient * scale * hinge,
      metrics=loss.metrics | metrics,
    )

  return update


@part("penalty")
def add_entropy_anchor(
  coefficient: float = 0.005,
  anchor: Scalar = -1.0,
  fraction: float = 0.2,
  nucleus: bool = True,
) -> LossTransform:
  """Adds `coefficient (Hbar - anchor)^2`, spread over the tokens.

  Hbar is the mean over responses of the mean entropy of their `fraction` tokens
  of highest entropy. With `token_mean` value and gradient are those of the
  formula. Metric: `entropy/anchored`, which is Hbar: the controller
  `first_value` makes its first value the anchor.

  Args:
    coefficient: at least 0.
    anchor: nats; below 0 there is none yet, and nothing is added. May be
      traced.
    fraction: share of each response's tokens, in [0, 1].
    nucleus: whether the entropy is that of the nucleus, `config.loss.nucleus`,
      or of the whole distribution.

  Raises:
    ValueError: for a number outside its range.

  References:
    SIREN, arXiv 2509.25133.
  """
  arguments.within("add_entropy_anchor", 0.0, coefficient=coefficient)
  arguments.finite("add_entropy_anchor", anchor=anchor)
  score = nucleus_entropy_score if nucleus else entropy_score
  selector = top_quantile(score, fraction, within="response")

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    chosen = pick(selector, loss, batch, key).chosen
    share = inverse_lengths(batch.replace(mask=chosen))
    share = share / jnp.maximum(share.sum(), 1.0)
    entropy = batch.nucleus_entropy if nucleus else batch.entropy
    mean = jnp.sum(share * entropy)
    tokens = jnp.maximum(jnp.sum(batch.mask), 1).astype(jnp.float32)
    error = jnp.where(jnp.asarray(anchor) < 0, 0.0, mean - anchor)
    term = coefficient * error**2
    # In value the same for every token; in gradient each token's own part.
    own = tokens * share * entropy
    constant = jax.lax.stop_gradient(2.0 * coefficient * error)
    spread = constant * (own - jax.lax.stop_gradient(own))
    spread += jax.lax.stop_gradient(term)
    metrics = {"entropy/anchored": Mean(mean, jnp.float32(1))}
    return loss.replace(
      loss=loss.loss + spread,
      metrics=loss.metrics | jax.lax.stop_gradient(metrics),
    )

  return update
