"""Surrogates `-weight A logp` with a constant weight.

Each sets the loss of each token; A is its advantage, r the ratio that came down
the chain, sg(.) a stopped gradient. Penalties and weights stand after it.
"""

import math

from jax.lax import stop_gradient
import jax.numpy as jnp
from jaxtyping import Array, Bool

from jaxrl_entropy import arguments
from jaxrl_entropy.losses.aggregates import seq_mean_token_mean
from jaxrl_entropy.losses.base import (
  LossTransform,
  PRNGKey,
  TokenLoss,
  response_sum,
  share_metric,
)
from jaxrl_entropy.losses.parts import part
from jaxrl_entropy.losses.ratio import MAX_LOG_RATIO, hold, log_ratio
from jaxrl_entropy.losses.surrogate import clip_metrics
from jaxrl_entropy.types import TokenBatch

_LEAST_LOG_WEIGHT = math.log(1e-8)


@part("surrogate")
def log_likelihood() -> LossTransform:
  """Sets the loss to `-A logp`.

  References:
    REINFORCE (Williams, 1992); the loss of GPG, arXiv 2504.02546.
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    return loss.replace(loss=-batch.advantages * batch.logp)

  return update


@part("surrogate")
def clipped_likelihood(
  clip_low: float | None = None, clip_high: float = 4.0
) -> LossTransform:
  """Sets the loss to `-sg(clip(r, 1 - clip_low, 1 + clip_high)) A logp`.

  Every token keeps a gradient, its weight bounded. Metrics as `ppo_clip`.

  Args:
    clip_low: None: no lower bound, as in the paper and TRL; else in [0, 1].
    clip_high: the cap is `1 + clip_high`; at least -1.

  Raises:
    ValueError: for a bound outside its range.

  References:
    CISPO, arXiv 2506.13585.
  """
  if clip_low is not None:
    arguments.within("clipped_likelihood", 0.0, 1.0, clip_low=clip_low)
  arguments.within("clipped_likelihood", -1.0, clip_high=clip_high)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    floor = None if clip_low is None else 1.0 - clip_low
    weight = stop_gradient(jnp.clip(loss.ratio, floor, 1.0 + clip_high))
    clipped = weight != stop_gradient(loss.ratio)
    return TokenLoss(
      loss=-weight * batch.advantages * batch.logp,
      ratio=loss.ratio,
      clipped=clipped,
      metrics=loss.metrics | clip_metrics(clipped, batch),
    )

  return update


def _inside_trust_region(
  kind: str, low: float, high: float, batch: TokenBatch
) -> Bool[Array, "B T"]:
  """Tokens whose update does not lead further out of the trust region."""
  p, q = jnp.exp(batch.logp), jnp.exp(batch.old_logp)
  if kind == "tv":
    return jnp.where(batch.advantages > 0, p - q <= high, p - q >= -low)
  other = jnp.log((1.0 - q + 1e-8) / (1.0 - p + 1e-8))
  divergence = q * (batch.old_logp - batch.logp) + (1.0 - q) * other
  return jnp.where(
    batch.advantages > 0,
    (divergence <= high) | (p <= q),
    (divergence <= low) | (p >= q),
  )


@part("surrogate")
def divergence_likelihood(
  kind: str = "tv",
  divergence_low: float = 0.2,
  divergence_high: float = 0.2,
  cap: float = 3.0,
) -> LossTransform:
  """Sets the loss to `-A sg(min(r, cap)) logp` inside a trust region, else 0.

  The divergence is that of the token's Bernoulli (drawn or not), between the
  old and the current policy. As verl has it. Metric: `ratio/cap_share`.

  Args:
    kind: "tv" (difference of probabilities) or "kl".
    divergence_low: threshold for tokens with A <= 0, at least 0.
    divergence_high: threshold for tokens with A > 0, at least 0.
    cap: largest weight, above 0.

  Raises:
    ValueError: for an unknown kind, or a number outside its range.

  References:
    DPPO, as in verl.
  """
  owner = "divergence_likelihood"
  arguments.one_of(owner, ("tv", "kl"), kind=kind)
  arguments.within(
    owner, 0.0, divergence_low=divergence_low, divergence_high=divergence_high
  )
  arguments.above(owner, 0.0, cap=cap)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    inside = _inside_trust_region(kind, divergence_low, divergence_high, batch)
    kept = stop_gradient(inside)
    weight = jnp.where(kept, stop_gradient(jnp.minimum(loss.ratio, cap)), 0.0)
    capped = share_metric(kept & (loss.ratio > cap), batch.mask)
    return TokenLoss(
      loss=-batch.advantages * weight * batch.logp,
      ratio=loss.ratio,
      clipped=~kept,
      metrics=loss.metrics | {"ratio/cap_share": capped},
    )

  return update


@part("surrogate")
def response_likelihood(
  positive: tuple[float, float] = (2.0, 3.0),
  negative: tuple[float, float] = (3.0, 2.0),
  sampler: bool = False,
) -> LossTransform:
  """Sets the loss to `-sg(phi(W)) A logp`, W the ratio of the whole response.

  `phi(W) = W^k exp(lambda (1 - W))`, as TRL computes it: the log-ratios are
  held in [-20, 20], their sum in [ln 1e-8, 20]. Metric: `ratio/weight`, the
  mean phi of the responses.

  Args:
    positive: (k, lambda) where A >= 0.
    negative: (k, lambda) where A < 0.
    sampler: whether W is taken against the sampler instead of the old policy.

  References:
    VESPO, as in TRL; it was not compared with its paper.
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    d = hold(log_ratio(batch), MAX_LOG_RATIO)
    if sampler:
      gap = batch.old_logp - batch.sampler_logp
      d += jnp.clip(gap, _LEAST_LOG_WEIGHT, MAX_LOG_RATIO)
    total = response_sum(d, batch)
    log_weight = jnp.clip(total, _LEAST_LOG_WEIGHT, MAX_LOG_RATIO)
    up = batch.advantages >= 0
    k = jnp.where(up, positive[0], negative[0])
    rate = jnp.where(up, positive[1], negative[1])
    phi = jnp.exp(rate + k * log_weight - rate * jnp.exp(log_weight))
    phi = stop_gradient(jnp.nan_to_num(phi, posinf=0.0))
    mean = seq_mean_token_mean()(phi, batch)
    return loss.replace(
      loss=-phi * batch.advantages * batch.logp,
      metrics=loss.metrics | {"ratio/weight": mean},
    )

  return update
