"""Scores: one number per token, which quantiles and quotas rank by."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxrl_entropy import arguments
from jaxrl_entropy.ops import covariance, masked
from jaxrl_entropy.ops.entropy_flow import entropy_polarity
from jaxrl_entropy.ops.selection import quota, radix
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


def centered_covariance_score(batch: TokenBatch) -> Float[Array, "B T"]:
  """Returns `(A - mean A) (log p + H)`: Cov less its mean over the state.

  The log-prob is centered at the state's own mean, -H, in place of that of the
  mini-batch. No gradient.
  """
  advantages = batch.advantages - masked.exact_mean(
    batch.advantages, batch.mask
  )
  return jax.lax.stop_gradient(advantages * (batch.logp + batch.entropy))


def discriminator_score(batch: TokenBatch) -> Float[Array, "B T"]:
  """Returns `A p (log p + H)`, the sampled token's own part of the flow.

  The part of the state's other tokens, which `entropy_change_score(exact=True)`
  takes off, is its mean under the policy. No gradient.

  References:
    Entropy discriminator, arXiv 2602.03392.
  """
  own = jnp.exp(batch.logp) * (batch.logp + batch.entropy)
  return jax.lax.stop_gradient(batch.advantages * own)


def entropy_change_score(exact: bool = False) -> Score:
  """Returns a score: the fall of entropy that a token's update brings.

  Args:
    exact: the exact first-order fall, `-A T` with `T` of
      `ops.entropy_flow.entropy_polarity`; else `A (1 - p) (log p + H)`.

  Returns:
    A function of a batch, [B, T], without gradient.

  References:
    Omega of STEER, arXiv 2510.10150.
  """

  def score(batch: TokenBatch) -> Float[Array, "B T"]:
    if exact:
      fall = -entropy_polarity(
        batch.logp, batch.entropy, batch.sum_p2, batch.sum_p2_logp
      )
    else:
      fall = (1.0 - jnp.exp(batch.logp)) * (batch.logp + batch.entropy)
    return jax.lax.stop_gradient(batch.advantages * fall)

  return score


def entropy_score(batch: TokenBatch) -> Float[Array, "B T"]:
  """Returns the full-vocabulary entropy of each token's distribution, nats."""
  # A batch without the field raises here, not where the score is read.
  return jax.lax.stop_gradient(jnp.asarray(batch.entropy))


def nucleus_entropy_score(batch: TokenBatch) -> Float[Array, "B T"]:
  """Returns the entropy of each token's renormalized nucleus, nats."""
  return jax.lax.stop_gradient(jnp.asarray(batch.nucleus_entropy))


def teaching_score(batch: TokenBatch) -> Float[Array, "B T"]:
  """Returns `h + d - h d`: high where a token is unsure or far from a teacher.

  `h` is the entropy, held at its 98th percentile, and `d` the divergence from
  the teacher, each scaled to [0, 1] over the mini-batch.

  References:
    TIP, arXiv 2604.14084.
  """
  entropy, divergence = jax.lax.stop_gradient((batch.entropy, batch.teacher_kl))
  keys = radix.ascending_bits(-entropy)
  tokens = jnp.sum(batch.mask, dtype=jnp.uint32)
  rank = quota.floor_share(0.02, jnp.maximum(tokens, 1) - 1) + 1
  cut = radix.kth_smallest(keys, batch.mask, rank)
  h = _unit_range(
    jnp.minimum(entropy, -radix.from_ascending_bits(cut)), batch.mask
  )
  d = _unit_range(divergence, batch.mask)
  return h + d - h * d


def _unit_range(
  x: Float[Array, "B T"], mask: Bool[Array, "B T"]
) -> Float[Array, "B T"]:
  """Scales the values of `mask` to [0, 1]; 0 where all are equal."""
  low = jnp.min(x, where=mask, initial=jnp.inf)
  size = jnp.max(x, where=mask, initial=-jnp.inf) - low
  return masked.guard((x - low) / jnp.where(size > 0, size, 1.0), mask)


def certainty_score(batch: TokenBatch) -> Float[Array, "B T"]:
  """Returns minus the entropy: its highest values are the surest tokens."""
  return -entropy_score(batch)
