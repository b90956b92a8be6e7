"""The most likely tokens that reach a share of the probability: the nucleus."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_MARGIN = 1e-5  # nats by which rounding may move a logit


def cutoff(
  x: Float[Array, "B V"],
  weights: Float[Array, "B V"],
  target: Float[Array, "B"],
  add: Callable[[jax.Array], jax.Array] = lambda sums: sums,
) -> Float[Array, "B"]:
  """Finds the largest c for which the weights at `x >= c` reach the target.

  -inf where the whole row does not. Bisects the bits of a float, which order as
  the values do for `x <= 0`: exact, without a sort, and the only traffic
  between shards of the vocabulary is the sums.

  Args:
    x: at most 0.
    weights: of each entry, at least 0.
    target: sum to reach.
    add: adds up the sums of all shards of the vocabulary.
  """

  def narrow(_, bits):
    low, high = bits  # |c|: low is too small, high large enough (or inf).
    middle = low + (high - low) // 2
    edge = -jax.lax.bitcast_convert_type(middle, jnp.float32)
    sums = jnp.where(x >= edge[:, None], weights, 0.0).sum(-1)
    reached = add(sums) >= target
    return jnp.where(reached, low, middle), jnp.where(reached, middle, high)

  # A target that underflows to 0 would keep no token at all.
  target = jnp.maximum(target, jnp.finfo(jnp.float32).tiny)
  infinity = jnp.int32(0x7F800000)
  low = jnp.full(target.shape, -1, jnp.int32)
  high = jnp.full(target.shape, infinity, jnp.int32)
  _, high = jax.lax.fori_loop(0, 32, narrow, (low, high))
  return -jax.lax.bitcast_convert_type(high, jnp.float32)


def above_cutoff(
  below_top: Float[Array, "B V"], edge: Float[Array, "B"]
) -> Bool[Array, "B V"]:
  """Returns which tokens are likelier than the one at the cutoff.

  Tokens within 1e-5 nats of it count as equal to it: logits that are computed
  again may differ in their last bits.

  Args:
    below_top: logits less the greatest of their row, nats: at most 0.
    edge: the `cutoff` of each row, nats.
  """
  return below_top > edge[:, None] + _MARGIN
