"""First-order change of a state's entropy by the update of one token."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def entropy_polarity(
  logp: Float[Array, "*s"],
  entropy: Float[Array, "*s"],
  sum_p2: Float[Array, "*s"],
  sum_p2_logp: Float[Array, "*s"],
) -> Float[Array, "*s"]:
  """Returns how fast reinforcing a token raises the entropy of its state.

  A policy-gradient step of size eta on the logits of a state changes them by
  eta A (onehot(y) - p), and by Theorem 1 of arXiv 2505.22617 its entropy by
  eta A T, to first order, with

      T = sum_v p_v^2 (log p_v + H) - p_y (log p_y + H):

  a correction by the state's distribution less the sampled token's own part.

  Args:
    logp: log-prob of the token, nats.
    entropy: H of the state, nats.
    sum_p2: sum over the vocabulary of p^2.
    sum_p2_logp: sum over the vocabulary of p^2 log p, nats.

  Returns:
    T, nats per unit of eta A.

  References:
    A T is the entropy polarity of PAPO, arXiv 2605.11775.
  """
  own = jnp.exp(logp) * (logp + entropy)
  return sum_p2_logp + entropy * sum_p2 - own
