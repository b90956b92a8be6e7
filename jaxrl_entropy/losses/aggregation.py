"""From the loss of each token to one number: a sum, and what divides it."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrl_entropy.losses.base import Aggregate
from jaxrl_entropy.ops import masked
from jaxrl_entropy.types import Mean, TokenBatch


def token_mean() -> Aggregate:
  """Mean over the valid tokens of the mini-batch (DAPO, arXiv 2503.14476)."""

  def aggregate(loss: Float[Array, "B T"], batch: TokenBatch) -> Mean:
    total = masked.masked_sum(loss, batch.mask)
    return Mean(total, jnp.sum(batch.mask).astype(jnp.float32))

  return aggregate
