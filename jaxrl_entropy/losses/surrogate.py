"""Surrogates: the loss whose gradient is the policy gradient.

Each reads the ratio that came down the chain (the token's own, unless a
transform of `ratio.py` has put another there) and sets the loss.
"""

import jax
import jax.numpy as jnp

from jaxrl_entropy.losses.base import LossTransform, PRNGKey, TokenLoss
from jaxrl_entropy.types import TokenBatch


def policy_gradient() -> LossTransform:
  """`-A r`, unclipped (arXiv 2505.22617, eq. 13)."""

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    return loss.replace(loss=-batch.advantages * loss.ratio)

  return update


def ppo_clip(low: float = 0.2, high: float = 0.2) -> LossTransform:
  """`max(-A r, -A clip(r, 1 - low, 1 + high))` (PPO, arXiv 1707.06347).

  `high > low` is Clip-Higher (DAPO, arXiv 2503.14476).
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    plain = -batch.advantages * loss.ratio
    ratio = jnp.clip(loss.ratio, 1.0 - low, 1.0 + high)
    clipped = -batch.advantages * ratio
    return loss.replace(
      loss=jnp.maximum(plain, clipped),
      clipped=jax.lax.stop_gradient(clipped > plain),
    )

  return update
