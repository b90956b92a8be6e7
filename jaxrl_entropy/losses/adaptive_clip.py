"""Clips that keep a gradient where they bite, or choose their own bounds.

Each sets the loss of each token; A is its advantage, r the ratio that came down
the chain, `id = exp(logp - sg(logp))`: 1, with the gradient of logp.
"""

from typing import Any

import jax
from jax.lax import stop_gradient
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrl_entropy import arguments
from jaxrl_entropy.losses.base import (
  LossTransform,
  PRNGKey,
  TokenLoss,
  share_metric,
)
from jaxrl_entropy.losses.parts import part
from jaxrl_entropy.losses.surrogate import ppo_clip
from jaxrl_entropy.ops import masked
from jaxrl_entropy.types import Mean, TokenBatch


def _identity(batch: TokenBatch) -> Float[Array, "B T"]:
  return jnp.exp(batch.logp - stop_gradient(batch.logp))


@part("surrogate")
def gradient_preserving_clip(
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  scale_low: float = 0.75,
  scale_high: float = 1.0,
) -> LossTransform:
  """Sets the loss to PPO's, but keeps a bounded gradient where the clip bites.

  There the loss is `-scale edge id A` with the edge of the clip: `1 +
  clip_high` where A > 0, `1 - clip_low` where A < 0. Scales of 1 give CISPO's
  gradient, scales of 0 PPO's. Metrics as `ppo_clip`.

  Args:
    clip_low: as in `ppo_clip`.
    clip_high: as in `ppo_clip`.
    scale_low: beta_1 of the paper, at least 0.
    scale_high: beta_2 of the paper, at least 0.

  Raises:
    ValueError: for a number outside its range.

  References:
    CE-GPPO, arXiv 2509.20712 (7B: 0.75 and 1; 1.5B: 0.5 and 1).
  """
  arguments.within(
    "gradient_preserving_clip", 0.0, scale_low=scale_low, scale_high=scale_high
  )
  clip = ppo_clip(clip_low, clip_high)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    loss = clip(loss, batch, key)
    edge = jnp.where(
      batch.advantages > 0,
      scale_high * (1.0 + clip_high),
      scale_low * (1.0 - clip_low),
    )
    kept = -batch.advantages * edge * _identity(batch)
    return loss.replace(loss=jnp.where(loss.clipped, kept, loss.loss))

  return update


@part("surrogate")
def balanced_clip(
  lower: tuple[float, float] = (0.6, 0.9),
  upper: tuple[float, float] = (1.2, 3.0),
  target: float = 0.5,
  step: float = 0.05,
) -> LossTransform:
  """Sets the loss to PPO's with bounds that balance both signs of A.

  The ratio bounds start at the first of each pair. While the positive part, the
  sum of `min(r, up) A` over A >= 0, is less than `target` times the negative
  one, the sum of `max(r, low) |A|` over A < 0, the lower bound is raised by
  `step` up to its limit, and then the upper one. The sums are the mini-batch's.
  Metrics: `ratio/bound_low`, `ratio/bound_high`, and those of `ppo_clip`.

  Args:
    lower: least and greatest lower bound of the ratio, in [0, 1].
    upper: least and greatest upper bound of the ratio, at least 1.
    target: positive over negative part; the paper's is a share of both.
    step: by which a bound is raised, above 0.

  Raises:
    ValueError: for bounds outside their range.

  References:
    BAPO, arXiv 2510.18927, with the numbers of the authors' README.
  """
  owner = "balanced_clip"
  arguments.within(owner, 0.0, 1.0, lower=lower[0], greatest_lower=lower[1])
  arguments.within(owner, 1.0, upper=upper[0], greatest_upper=upper[1])
  arguments.above(owner, 0.0, target=target, step=step)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    low, high = _balance(loss, batch, lower, upper, target, step)
    loss = ppo_clip(1.0 - low, high - 1.0)(loss, batch, key)
    one = jnp.float32(1)
    metrics = {
      "ratio/bound_low": Mean(low, one),
      "ratio/bound_high": Mean(high, one),
    }
    return loss.replace(metrics=loss.metrics | metrics)

  return update


def _balance(
  loss: TokenLoss,
  batch: TokenBatch,
  lower: tuple[float, float],
  upper: tuple[float, float],
  target: float,
  step: float,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """The first bounds on the path that balance the mini-batch, or its last."""
  ratio = stop_gradient(loss.ratio)
  up = batch.advantages >= 0
  size = jnp.abs(batch.advantages)

  def unbalanced(bounds: tuple[jax.Array, jax.Array]) -> jax.Array:
    low, high = bounds
    gain = masked.masked_sum(jnp.minimum(ratio, high) * size, batch.mask & up)
    cost = masked.masked_sum(jnp.maximum(ratio, low) * size, batch.mask & ~up)
    more = (low < lower[1]) | (high < upper[1])
    return (gain < target * cost) & more

  def widen(bounds: tuple[jax.Array, jax.Array]) -> Any:
    low, high = bounds
    full = low >= lower[1]
    return (
      jnp.minimum(low + step, lower[1]),
      jnp.where(full, jnp.minimum(high + step, upper[1]), high),
    )

  start = jnp.float32(lower[0]), jnp.float32(upper[0])
  return jax.lax.while_loop(unbalanced, widen, start)


@part("surrogate")
def pull_back(
  clip_low: float = 0.2,
  clip_high: float | None = None,
  *,
  inverse_below: bool = False,
) -> LossTransform:
  """Sets the loss to `-A r`, and reverses it where the ratio leaves its range.

  The loss is `+(1 + clip_high) id A` above `1 + clip_high`, and
  `+(1 - clip_low) id A` below `1 - clip_low`: as the authors' code has it,
  whatever the sign of A. Metric: `ratio/pulled_share`.

  Args:
    clip_low: as in `ppo_clip`.
    clip_high: as in `ppo_clip`; None: there is no upper edge.
    inverse_below: whether the loss below is `+(1 / r) id A` instead.

  Raises:
    ValueError: for a bound outside its range.

  References:
    Exploration losses of HTPO, arXiv 2605.08283.
  """
  arguments.within("pull_back", 0.0, 1.0, clip_low=clip_low)
  if clip_high is not None:
    arguments.within("pull_back", 0.0, clip_high=clip_high)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    ratio = stop_gradient(loss.ratio)
    below = ratio < 1.0 - clip_low
    above = jnp.zeros_like(below)
    factor = 1.0 / jnp.maximum(ratio, 1e-8) if inverse_below else 1.0 - clip_low
    if clip_high is not None:
      above = ratio > 1.0 + clip_high
      factor = jnp.where(above, 1.0 + clip_high, factor)
    left = below | above
    reversed_ = batch.advantages * factor * _identity(batch)
    plain = -batch.advantages * loss.ratio
    pulled = {"ratio/pulled_share": share_metric(left, batch.mask)}
    return loss.replace(
      loss=jnp.where(left, reversed_, plain), metrics=loss.metrics | pulled
    )

  return update
