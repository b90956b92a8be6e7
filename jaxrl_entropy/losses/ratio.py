"""Importance ratios, which surrogates weigh a token by.

A ratio transform sets the ratio and stands before the surrogate. Without one,
the ratio is the token's own.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrl_entropy import arguments
from jaxrl_entropy.losses.base import (
  LossTransform,
  PRNGKey,
  TokenLoss,
  response_mean,
  token_metric,
)
from jaxrl_entropy.losses.parts import part
from jaxrl_entropy.types import TokenBatch

MAX_LOG_RATIO = 20.0
"""Largest logarithm of a ratio, nats: exp overflows in float32 from 88 on."""


def log_ratio(batch: TokenBatch) -> Float[Array, "B T"]:
  """Returns `logp - old_logp` of each token, nats."""
  return batch.logp - jax.lax.stop_gradient(batch.old_logp)


def hold(
  log_ratio: Float[Array, "B T"], limit: float | None
) -> Float[Array, "B T"]:
  """Returns a log-ratio held in [-limit, limit], with gradient 0 outside.

  Args:
    log_ratio: of each token, nats.
    limit: nats; None returns the log-ratio as it is.
  """
  return log_ratio if limit is None else jnp.clip(log_ratio, -limit, limit)


def _with_ratio(
  loss: TokenLoss,
  batch: TokenBatch,
  ratio: Float[Array, "B T"],
  tokenwise: Float[Array, "B T"],
) -> TokenLoss:
  metrics = {
    "kl/old": token_metric(-tokenwise, batch.mask),
    "kl/old_abs": token_metric(jnp.abs(tokenwise), batch.mask),
  }
  return loss.replace(ratio=ratio, metrics=loss.metrics | metrics)


@part("ratio")
def token_ratio(limit: float | None = MAX_LOG_RATIO) -> LossTransform:
  """Sets the ratio to `exp(d)`, d = logp - old_logp.

  Args:
    limit: d is held in [-limit, limit], with gradient 0 outside; None leaves it
      free, and the loss may overflow for d above 88.
  """
  if limit is not None:
    arguments.above("token_ratio", 0.0, limit=limit)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    d = hold(log_ratio(batch), limit)
    return _with_ratio(loss, batch, jnp.exp(d), d)

  return update


@part("ratio")
def sequence_ratio(limit: float | None = MAX_LOG_RATIO) -> LossTransform:
  """Sets the ratio to `exp(mean d)`, one for each response.

  Args:
    limit: the mean is held in [-limit, limit], with gradient 0 outside; None
      leaves it free.

  References:
    GSPO, arXiv 2507.18071, equation 7.
  """
  if limit is not None:
    arguments.above("sequence_ratio", 0.0, limit=limit)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    d = log_ratio(batch)
    ratio = jnp.exp(hold(response_mean(d, batch), limit))
    return _with_ratio(loss, batch, ratio, d)

  return update


@part("ratio")
def sequence_token_ratio(limit: float | None = 10.0) -> LossTransform:
  """Sets the ratio to `sg(exp(mean d)) pi / sg(pi)`.

  Its value is that of the response, its gradient the token's own.

  Args:
    limit: cap of the logarithm, with gradient 0 above it (verl); None: none.

  References:
    GSPO-token, arXiv 2507.18071, section 4.3.
  """
  if limit is not None:
    arguments.above("sequence_token_ratio", 0.0, limit=limit)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del key
    d = log_ratio(batch)
    own = batch.logp - jax.lax.stop_gradient(batch.logp)
    value = own + jax.lax.stop_gradient(response_mean(d, batch))
    if limit is not None:
      value = jnp.minimum(value, limit)
    return _with_ratio(loss, batch, jnp.exp(value), d)

  return update
