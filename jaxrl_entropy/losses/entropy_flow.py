"""Weights by the change of entropy that a token's own update makes.

To first order the update of a token moves the entropy of its state by A r T,
see `ops.entropy_flow`. Weights multiply the loss that a surrogate has set and
carry no gradient.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrl_entropy import arguments
from jaxrl_entropy.losses.base import (
  LossTransform,
  PRNGKey,
  Scalar,
  TokenLoss,
  token_metric,
)
from jaxrl_entropy.losses.parts import part
from jaxrl_entropy.losses.scores import entropy_change_score
from jaxrl_entropy.losses.weighting import weigh
from jaxrl_entropy.ops import masked
from jaxrl_entropy.types import Metrics, TokenBatch

_exact_fall = entropy_change_score(exact=True)


def _flow(loss: TokenLoss, batch: TokenBatch) -> Float[Array, "B T"]:
  """First-order change of entropy by each token's own update; constant."""
  flow = -loss.ratio * _exact_fall(batch)
  flow = jnp.where(loss.clipped, 0.0, flow)
  return jax.lax.stop_gradient(masked.guard(flow, batch.mask))


def _flow_metrics(
  up: Float[Array, "B T"], down: Float[Array, "B T"], batch: TokenBatch
) -> Metrics:
  return {
    "flow/up": token_metric(up, batch.mask),
    "flow/down": token_metric(down, batch.mask),
  }


@part("weight")
def balance_entropy_flow(strength: Scalar = 1.0) -> LossTransform:
  """Multiplies the loss so that entropy flows up as much as it flows down.

  With U and D the summed flows up and down, tokens that raise the entropy are
  weighed by `1 + lambda` and those that lower it by `1 - lambda`, where
  `lambda = (D - U) / (U + D)`: both flows become `2 U D / (U + D)`. The flow of
  a token is the exact first-order one (`entropy_polarity`); the paper drops the
  part of the other tokens. Metrics: `flow/up`, `flow/down`, the mean flows
  before rescaling, and `flow/lambda`.

  Args:
    strength: 0: no change; 1: balanced. May be traced.

  Raises:
    ValueError: for a strength outside of [0, 1].

  References:
    OPEFO, arXiv 2605.11491.
  """
  arguments.within("balance_entropy_flow", 0.0, 1.0, strength=strength)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    flow = _flow(loss, batch)
    up, down = jnp.maximum(flow, 0.0), jnp.maximum(-flow, 0.0)
    total = up.sum() + down.sum()
    shift = (down.sum() - up.sum()) / jnp.where(total > 0, total, 1.0)
    weight = 1.0 + strength * shift * jnp.sign(flow)
    lambda_ = token_metric(jnp.full_like(flow, shift), batch.mask)
    metrics = _flow_metrics(up, down, batch) | {"flow/lambda": lambda_}
    return weigh(loss, weight, metrics)

  return update


@part("weight")
def polarity_weight(balance: Scalar) -> LossTransform:
  """Multiplies the loss by 1 + balance where the update raises the entropy.

  Updates that lower it are weighed by 1 - balance. PAPO keeps both polarities
  and shifts weight between them as the entropy moves: drive `balance` with the
  controller `entropy_trend`. The paper's own weights and phase signal were not
  at hand; these are this project's. Metrics: `flow/up`, `flow/down`, the mean
  flows before.

  Args:
    balance: in [-1, 1]; above 0 it favors exploration. May be traced.

  Raises:
    ValueError: for a balance outside of [-1, 1].

  References:
    PAPO, arXiv 2605.11775.
  """
  arguments.within("polarity_weight", -1.0, 1.0, balance=balance)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    flow = _flow(loss, batch)
    up, down = jnp.maximum(flow, 0.0), jnp.maximum(-flow, 0.0)
    weight = 1.0 + balance * jnp.sign(flow)
    return weigh(loss, weight, _flow_metrics(up, down, batch))

  return update


@part("weight")
def entropy_change_weight(
  least: float = 0.8, scale_floor: float = 0.02, exact: bool = False
) -> LossTransform:
  """Multiplies the loss by a weight that is small where the entropy moves much.

  `w = exp(-k |Om|)` with `Om = A r (1 - p) (logp + H)`, an estimate of the
  change of entropy, and `k = -ln(least) / max(max |Om|, scale_floor)`: weights
  lie in [least, 1]. Updates that raise the entropy are damped as much as those
  that lower it. The maximum is over the mini-batch (the authors': over a
  micro-batch). Metric: `flow/weight`, the mean weight.

  Args:
    least: weight of the token that moves the entropy most, in [0, 1].
    scale_floor: smallest scale of `|Om|`, above 0.
    exact: whether `Om` is the exact first-order flow `A r T` instead.

  Raises:
    ValueError: for a number outside its range.

  References:
    STEER, arXiv 2510.10150.
  """
  owner = "entropy_change_weight"
  arguments.above(owner, 0.0, least=least, scale_floor=scale_floor)
  arguments.within(owner, 0.0, 1.0, least=least)
  fall = entropy_change_score(exact)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    change = jnp.abs(loss.ratio * fall(batch))
    change = jax.lax.stop_gradient(masked.guard(change, batch.mask))
    scale = jnp.maximum(change.max(initial=0.0), scale_floor)
    weight = jnp.exp(math.log(least) * change / scale)
    return weigh(
      loss, weight, {"flow/weight": token_metric(weight, batch.mask)}
    )

  return update
