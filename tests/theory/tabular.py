"""A softmax policy with a logit of its own for every state and action.

The setting of the paper's theory (arXiv 2505.22617, section 3): one table of
logits [S, V], no features shared between states, every expectation exact.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

Table = Float[Array, "S V"]


def problem(
  seed: int, states: int = 5, actions: int = 7
) -> tuple[Table, Table]:
  """Random logits, and random advantages whose mean under the policy is 0."""
  rng = np.random.default_rng(seed)
  logits = jnp.asarray(1.5 * rng.normal(size=(states, actions)))
  reward = jnp.asarray(rng.normal(size=(states, actions)))
  baseline = jnp.sum(jax.nn.softmax(logits) * reward, axis=-1, keepdims=True)
  return logits, reward - baseline


def entropy(logits: Table) -> Float[Array, "S"]:
  logp = jax.nn.log_softmax(logits)
  return -jnp.sum(jnp.exp(logp) * logp, axis=-1)


def policy_gradient(logits: Table, advantages: Table) -> Table:
  """Gradient of the expected advantage, summed over states, by autodiff."""

  def expected(logits: Table) -> Float[Array, ""]:
    return jnp.sum(jax.nn.softmax(logits) * advantages)

  return jax.grad(expected)(logits)


def natural_gradient(logits: Table, advantages: Table) -> Table:
  """The policy gradient times the pseudo-inverse of each state's Fisher."""

  def solve(logits, gradient):
    p = jax.nn.softmax(logits)
    return jnp.linalg.pinv(jnp.diag(p) - jnp.outer(p, p)) @ gradient

  return jax.vmap(solve)(logits, policy_gradient(logits, advantages))
