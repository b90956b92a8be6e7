"""Types that the parts of a loss share, and helpers for their writers.

A transform is a function `(TokenLoss, TokenBatch, key) -> TokenLoss`. It sees
every token of the optimizer's mini-batch on the whole mesh, so a mean or a
quantile that it takes is that of the mini-batch. A selector has the same
arguments and returns the tokens that it picks. An aggregate reduces the loss of
each token to one number.

    objective = losses.objective(
      losses.policy_gradient(),
      losses.masked(losses.add_kl(1.0), losses.top_covariance(2e-3)),
      aggregate=losses.token_mean(),
    )
    loss, metrics = objective(batch, key)
"""

from collections.abc import Callable

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from jaxrl_entropy.ops import masked
from jaxrl_entropy.types import Mean, Metrics, TokenBatch

PRNGKey = Key[Array, ""]
Scalar = float | Float[Array, ""]
"""A number, or a traced scalar that a controller drives."""


class TokenLoss(struct.PyTreeNode):
  """The loss of each token, on its way through a chain.

  Attributes:
    loss: the loss to minimize, nats times advantage.
    ratio: importance ratio of the current to the old policy, which surrogates
      weigh by.
    clipped: tokens whose gradient the surrogate's clip has cut.
    metrics: named means over the mini-batch.
  """

  loss: Float[Array, "B T"]
  ratio: Float[Array, "B T"]
  clipped: Bool[Array, "B T"]
  metrics: Metrics


class Selection(struct.PyTreeNode):
  """The tokens that a selector picks, and its metrics.

  Attributes:
    chosen: True at the tokens that are picked.
    metrics: by name, without the prefix of the part that selects.
  """

  chosen: Bool[Array, "B T"]
  metrics: Metrics = struct.field(default_factory=dict)


LossTransform = Callable[[TokenLoss, TokenBatch, PRNGKey], TokenLoss]
# A selector without metrics may return the mask alone.
Selector = Callable[
  [TokenLoss, TokenBatch, PRNGKey], Selection | Bool[Array, "B T"]
]
Aggregate = Callable[[Float[Array, "B T"], TokenBatch], Mean]


def token_metric(x: Float[Array, "B T"], mask: Bool[Array, "B T"]) -> Mean:
  """Returns the mean of `x` over the tokens of `mask`, as a metric.

  Args:
    x: a value per token.
    mask: tokens to average over.
  """
  total = masked.masked_sum(jax.lax.stop_gradient(x), mask)
  return Mean(total, jnp.sum(mask).astype(jnp.float32))


def share_metric(chosen: Bool[Array, "B T"], mask: Bool[Array, "B T"]) -> Mean:
  """Returns the share of the tokens of `mask` that are chosen, as a metric.

  Args:
    chosen: tokens to count.
    mask: tokens that they are a share of.
  """
  return token_metric(chosen.astype(jnp.float32), mask)


def count_metric(mask: Bool[Array, "B T"]) -> Mean:
  """Returns the number of tokens of `mask`, as a metric."""
  return Mean(jnp.sum(mask).astype(jnp.float32), jnp.float32(1))


def response_sum(
  x: Float[Array, "B T"], batch: TokenBatch
) -> Float[Array, "B T"]:
  """Returns, at each token, the sum of `x` over the tokens of its response.

  Args:
    x: a value per token.
    batch: tokens of one mini-batch.
  """
  sums = masked.segment_sum(
    masked.guard(x, batch.mask), batch.response, batch.num_responses
  )
  return sums.at[batch.response].get(mode="clip")


def inverse_lengths(batch: TokenBatch) -> Float[Array, "B T"]:
  """Returns 1 / length of each token's response; 0 at masked positions.

  It sums to 1 over a response, and to the number of responses over a batch.
  """
  length = response_sum(batch.mask.astype(jnp.float32), batch)
  return masked.guard(1.0 / jnp.maximum(length, 1.0), batch.mask)


def response_mean(
  x: Float[Array, "B T"], batch: TokenBatch
) -> Float[Array, "B T"]:
  """Returns, at each token, the mean of `x` over the tokens of its response.

  Args:
    x: a value per token.
    batch: tokens of one mini-batch.
  """
  length = response_sum(batch.mask.astype(x.dtype), batch)
  return response_sum(x, batch) / jnp.maximum(length, 1.0)
