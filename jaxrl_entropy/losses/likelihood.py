"""Weighted log-likelihood: losses `-weight A logp` with a constant weight.

Each reads the ratio r that came down the chain and sets the loss of each token;
A is its advantage, sg(.) a stopped gradient.
"""

import math

from jax.lax import stop_gradient
import jax.numpy as jnp
from jaxtyping import Array, Bool

from jaxrl_entropy.losses.aggregation import seq_mean_token_mean
from jaxrl_entropy.losses.base import (
  LossTransform,
  PRNGKey,
  TokenLoss,
  share,
)
from jaxrl_entropy.losses.ratio import log_ratio, response_sum
from jaxrl_entropy.losses.surrogate import clip_metrics
from jaxrl_entropy.types import TokenBatch


def reinforce() -> LossTransform:
  """`-A logp` (Williams, 1992; GPG, arXiv 2504.02546)."""

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    return loss.replace(loss=-batch.advantages * batch.logp)

  return update


def cispo(low: float | None = None, high: float = 4.0) -> LossTransform:
  """`-sg(clip(r, 1 - low, 1 + high)) A logp` (CISPO, arXiv 2506.13585).

  Every token keeps a gradient, its weight bounded. Metrics as `ppo_clip`.

  Args:
    low: None: no lower bound, as in the paper and TRL; 1.0 or less in verl.
    high: the cap is `1 + high`.
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    floor = None if low is None else 1.0 - low
    weight = stop_gradient(jnp.clip(loss.ratio, floor, 1.0 + high))
    clipped = weight != stop_gradient(loss.ratio)
    return TokenLoss(
      loss=-weight * batch.advantages * batch.logp,
      ratio=loss.ratio,
      clipped=clipped,
      metrics=loss.metrics | clip_metrics(clipped, batch),
    )

  return update


def _divergence_kept(
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


def dppo(
  kind: str = "tv", low: float = 0.2, high: float = 0.2, cap: float = 3.0
) -> LossTransform:
  """`-A sg(min(r, cap)) logp`, inside a divergence trust region only (DPPO).

  The divergence is that of the token's Bernoulli (drawn or not), between the
  old and the current policy. As verl has it. Metric: `ratio/cap_share`.

  Args:
    kind: `"tv"` (difference of probabilities) or `"kl"`.
    low: threshold for tokens with A <= 0, a divergence.
    high: threshold for tokens with A > 0.
    cap: largest weight.

  Raises:
    ValueError: for an unknown kind.
  """
  if kind not in ("tv", "kl"):
    raise ValueError(f"dppo's kind must be 'tv' or 'kl', not {kind!r}")

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    kept = stop_gradient(_divergence_kept(kind, low, high, batch))
    weight = jnp.where(kept, stop_gradient(jnp.minimum(loss.ratio, cap)), 0.0)
    capped = kept & (loss.ratio > cap)
    return TokenLoss(
      loss=-batch.advantages * weight * batch.logp,
      ratio=loss.ratio,
      clipped=~kept,
      metrics=loss.metrics | {"ratio/cap_share": share(capped, batch.mask)},
    )

  return update


def dro(beta: float) -> LossTransform:
  """`-(A logp - beta / 2 d^2)`, d = logp - old_logp (DRO, arXiv 2405.19107).

  Raises:
    ValueError: if `beta` is not above 0.
  """
  if beta is None or beta <= 0:
    raise ValueError(f"dro needs a beta above 0, not {beta}")

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    penalty = 0.5 * beta * log_ratio(batch) ** 2
    return loss.replace(loss=penalty - batch.advantages * batch.logp)

  return update


def vespo(
  positive: tuple[float, float] = (2.0, 3.0),
  negative: tuple[float, float] = (3.0, 2.0),
  sampler: bool = False,
) -> LossTransform:
  """`-sg(phi(W)) A logp`, W the ratio of the whole response (VESPO).

  `phi(W) = W^k exp(lambda (1 - W))`, as TRL computes it: the log-ratios are
  held in [-20, 20], their sum in [ln 1e-8, 20]. It was not compared with its
  paper. Metric: `ratio/weight`, the mean phi of the responses.

  Args:
    positive: (k, lambda) where A >= 0.
    negative: (k, lambda) where A < 0.
    sampler: whether W is taken against the sampler instead of the old policy.
  """
  least = math.log(1e-8)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    d = jnp.clip(log_ratio(batch), -20.0, 20.0)
    if sampler:
      d += jnp.clip(batch.old_logp - batch.sampler_logp, least, 20.0)
    log_weight = jnp.clip(response_sum(d, batch), least, 20.0)
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
