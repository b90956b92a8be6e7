"""Scores: one number per token, which quantiles and quotas rank by."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrl_entropy import arguments
from jaxrl_entropy.ops import covariance
from jaxrl_entropy.types import TokenBatch

Score = Callable[[TokenBatch], Float[Array, "B T"]]


def covariance_score(
  logprob: str = "current", centering: str = "advantage"
) -> Score:
  """Returns a score: each token's part of the covariance of eq. 10.

  Args:
    logprob: "current" policy (paper), or "old": the same at the first update
      after a rollout, stale later.
    centering: the log-prob is paired with the centered "advantage" (eq. 10, the
      change of logits under a natural policy gradient), or with the centered
      "pi_advantage" pi A (the change under a plain policy gradient).

  Returns:
    A function of a batch, [B, T], without gradient.

  Raises:
    ValueError: for another `logprob` or `centering`.

  References:
    arXiv 2505.22617, equation 10; Theorems 2 and 1.
  """
  owner = "covariance_score"
  arguments.one_of(owner, ("current", "old"), logprob=logprob)
  arguments.one_of(owner, ("advantage", "pi_advantage"), centering=centering)

  def score(batch: TokenBatch) -> Float[Array, "B T"]:
    logp = batch.logp if logprob == "current" else batch.old_logp
    logp = jax.lax.stop_gradient(logp)
    weight = jnp.exp(logp) if centering == "pi_advantage" else 1.0
    return covariance.token_covariance(
      logp, weight * batch.advantages, batch.mask
    )

  return score


def entropy_score(batch: TokenBatch) -> Float[Array, "B T"]:
  """Returns the full-vocabulary entropy of each token's distribution, nats."""
  return jax.lax.stop_gradient(batch.entropy)


def certainty_score(batch: TokenBatch) -> Float[Array, "B T"]:
  """Returns minus the entropy: its highest values are the surest tokens."""
  return -entropy_score(batch)
