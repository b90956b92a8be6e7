"""What the adapters of losses share: a peer's rows as a batch, and a run."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy import losses
from jaxrl_entropy.types import TokenBatch, token_batch

KEY = jax.random.key(0)


def batch_from_rows(
  logp: np.ndarray,
  old_logp: np.ndarray,
  advantages: np.ndarray,
  mask: np.ndarray,
  weights: np.ndarray | None = None,
  **optional: np.ndarray | None,
) -> TokenBatch:
  """One response a row; `weights` are ratios of old policy to sampler."""
  if weights is not None:
    with np.errstate(divide="ignore"):
      log_weights = np.log(np.broadcast_to(weights, logp.shape))
    optional["sampler_logp"] = old_logp - log_weights
  given = {k: jnp.asarray(v) for k, v in optional.items() if v is not None}
  return token_batch(
    jnp.asarray(logp),
    jnp.asarray(old_logp),
    jnp.asarray(np.broadcast_to(advantages, logp.shape)),
    jnp.asarray(mask).astype(bool),
    **given,
  )


def evaluate(
  objective: losses.Objective, batch: TokenBatch
) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
  """The loss, its gradient by the log-probs, and the metrics."""

  def loss(logp: jax.Array) -> Any:
    value, metrics = objective(batch.replace(logp=logp), KEY)
    return value, {name: metric.compute() for name, metric in metrics.items()}

  # One program compiles faster than each of its operations by itself.
  evaluated = jax.jit(jax.value_and_grad(loss, has_aux=True))(batch.logp)
  (value, metrics), gradient = evaluated
  return value, gradient, metrics
