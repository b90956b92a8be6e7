"""Covariance of log-probs and advantages, the driver of policy entropy.

The entropy of a softmax policy changes by minus this covariance to first order
(arXiv 2505.22617, Theorems 1 and 2).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxrl_entropy.ops import masked


def token_covariance(
  logp: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  mask: Bool[Array, "B T"],
) -> Float[Array, "B T"]:
  """Returns each token's share of the covariance over valid tokens.

  `(logp - mean logp) (A - mean A)`: its mean is the covariance (eq. 10). The
  means do not depend on order, packing or sharding, and constant advantages
  give exactly 0. No gradient; 0 at masked positions.

  Args:
    logp: log-prob of each token, nats.
    advantages: of each token.
    mask: True at valid tokens.
  """
  logp, advantages = jax.lax.stop_gradient((logp, advantages))
  mean_logp, mean_advantage = masked.exact_means([logp, advantages], mask)
  product = (logp - mean_logp) * (advantages - mean_advantage)
  return masked.guard(product, mask)


def exact_covariance(
  logp: Float[Array, "*s V"], change: Float[Array, "*s V"]
) -> Float[Array, "*s"]:
  """Returns `Cov_{y ~ pi}(log pi(y), change(y))` over the vocabulary.

  With `change` the difference of two policies' logits this is minus the
  first-order change of the state's entropy (Lemma 1).

  Args:
    logp: log-probs over the vocabulary, normalized; -inf stands for no mass.
    change: change of the logits; any constant per state may be added.
  """
  probs = jnp.exp(logp)
  support = probs > 0
  logp = jnp.where(support, logp, 0.0)
  change = jnp.where(support, change, 0.0)

  def mean(x: Float[Array, "*s V"]) -> Float[Array, "*s 1"]:
    return jnp.sum(probs * x, axis=-1, keepdims=True)

  return mean((logp - mean(logp)) * (change - mean(change)))[..., 0]
