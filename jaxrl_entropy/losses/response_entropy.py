"""Weights by the entropy of a token or of its whole response.

They multiply the loss that a surrogate has set, as if the advantage had been
multiplied: every surrogate but those with an added term is proportional to it.
Weights carry no gradient.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrl_entropy import arguments
from jaxrl_entropy.losses.base import (
  LossTransform,
  PRNGKey,
  Scalar,
  TokenLoss,
  inverse_lengths,
  response_mean,
  token_metric,
)
from jaxrl_entropy.losses.parts import part
from jaxrl_entropy.losses.weighting import weigh
from jaxrl_entropy.ops import masked
from jaxrl_entropy.types import TokenBatch


@part("weight")
def scale_by_entropy_advantage(
  alpha: Scalar = 0.4, kappa: float = 2.0
) -> LossTransform:
  """Multiplies the loss by A' / A, `A' = A + min(alpha H, |A| / kappa)`.

  Uncertain tokens gain advantage, and keep its sign. Metric:
  `entropy/advantage`, the mean of what is added.

  Args:
    alpha: advantage per nat of entropy, at least 0; may be traced.
    kappa: at least 1; bounds what is added by |A| / kappa.

  Raises:
    ValueError: for a number outside its range.

  References:
    Cheng et al., arXiv 2506.14758.
  """
  arguments.within("scale_by_entropy_advantage", 0.0, alpha=alpha)
  arguments.within("scale_by_entropy_advantage", 1.0, kappa=kappa)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    advantages = batch.advantages
    added = jnp.minimum(alpha * batch.entropy, jnp.abs(advantages) / kappa)
    known = jnp.where(advantages == 0, 1.0, advantages)
    metrics = {"entropy/advantage": token_metric(added, batch.mask)}
    return weigh(loss, 1.0 + added / known, metrics)

  return update


@part("weight")
def confident_response_weight(floor: float = 1e-3) -> LossTransform:
  """Multiplies the loss by the mean entropy over that of the response.

  `Hbar / H_i`, H_i the mean entropy of the response and Hbar its mean over the
  responses of the mini-batch: confident responses weigh more. The authors' code
  takes H_i over padding too and lets the gradient through it; this does
  neither. Metric: `entropy/response_weight`.

  Args:
    floor: smallest H_i, nats, above 0.

  Raises:
    ValueError: if `floor` is not above 0.

  References:
    Entropy-driven advantage of EDGE-GRPO, arXiv 2507.21848.
  """
  arguments.above("confident_response_weight", 0.0, floor=floor)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    own = jnp.maximum(response_mean(batch.entropy, batch), floor)
    share = inverse_lengths(batch)
    mean = jnp.sum(own * share) / jnp.maximum(share.sum(), 1.0)
    weight = mean / own
    metric = {"entropy/response_weight": token_metric(weight, batch.mask)}
    return weigh(loss, weight, metric)

  return update


@part("weight")
def uncertain_response_weight(rate: Scalar) -> LossTransform:
  """Multiplies the loss by a weight that falls with the response's entropy.

  `w_i = exp(-rate h_i) / mean_group exp(-rate h_i)`, h_i the response's mean
  entropy scaled to [0, 1] over the responses to its prompt. Uncertain responses
  weigh less. Metric: `entropy/response_weight`.

  Args:
    rate: lambda of the paper, which does not print its value; may be traced.

  Raises:
    ValueError: for a rate that is not finite.

  References:
    AEM, arXiv 2605.00425, for responses of one turn.
  """
  arguments.finite("uncertain_response_weight", rate=rate)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    own = response_mean(batch.entropy, batch)
    low, high = -_group_max(-own, batch), _group_max(own, batch)
    spread = jnp.where(high > low, high - low, 1.0)
    unscaled = jnp.exp(-rate * (own - low) / spread)
    weight = unscaled / _group_mean(unscaled, batch)
    metric = {"entropy/response_weight": token_metric(weight, batch.mask)}
    return weigh(loss, weight, metric)

  return update


def _group_max(
  x: Float[Array, "B T"], batch: TokenBatch
) -> Float[Array, "B T"]:
  """At each token, the largest `x` of the group."""
  place = jnp.where(batch.mask, batch.group, batch.num_responses)
  table = jnp.full(batch.num_responses, -jnp.inf, x.dtype)
  table = table.at[place].max(x, mode="drop")
  return masked.guard(table.at[batch.group].get(mode="clip"), batch.mask)


def _group_mean(
  x: Float[Array, "B T"], batch: TokenBatch
) -> Float[Array, "B T"]:
  """At each token, the mean over the group's responses of `x`, theirs."""
  share = inverse_lengths(batch)
  total, count = (
    masked.segment_sum(values, batch.group, batch.num_responses)
    for values in (x * share, share)
  )
  mean = total / jnp.where(count > 0, count, 1.0)
  mean = mean.at[batch.group].get(mode="clip")
  return jnp.where(batch.mask, mean, 1.0)
