"""From the loss of each token to one number: a sum, and what divides it.

Lengths and counts are those of responses, not of rows, so packing does not
change them. In each, `tokens` or `responses` may be given to divide by another
number than the mini-batch's own, as when it is one part of a larger whole.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrl_entropy import arguments
from jaxrl_entropy.losses.base import Aggregate
from jaxrl_entropy.losses.parts import part
from jaxrl_entropy.ops import masked
from jaxrl_entropy.types import Mean, TokenBatch

Count = float | Float[Array, ""]
Aggregation = str | Aggregate
"""An aggregate, or its name."""


def _lengths(batch: TokenBatch) -> Float[Array, " R"]:
  return masked.segment_sum(
    batch.mask.astype(jnp.float32), batch.response, batch.num_responses
  )


def _responses(responses: Count | str | None, batch: TokenBatch) -> Array:
  """How many responses to divide by."""
  if responses is None:
    return jnp.sum(_lengths(batch) > 0).astype(jnp.float32)
  if isinstance(responses, str):
    return jnp.float32(batch.num_responses)
  return jnp.asarray(responses, jnp.float32)


def _check(owner: str, **counts: Count | str | None) -> None:
  """Raises unless each count that is given is above 0, or is `"all"`."""
  for name, count in counts.items():
    if isinstance(count, str):
      arguments.one_of(owner, ("all",), **{name: count})
    elif count is not None:
      arguments.above(owner, 0.0, **{name: count})


@part("aggregate")
def token_mean(tokens: Count | None = None) -> Aggregate:
  """Mean over the valid tokens of the mini-batch (DAPO, arXiv 2503.14476).

  Args:
    tokens: number to divide by, above 0; None: the valid tokens.

  Raises:
    ValueError: for a number that is not above 0.
  """
  _check("token_mean", tokens=tokens)

  def aggregate(loss: Float[Array, "B T"], batch: TokenBatch) -> Mean:
    count = jnp.sum(batch.mask) if tokens is None else jnp.asarray(tokens)
    return Mean(masked.masked_sum(loss, batch.mask), count.astype(jnp.float32))

  return aggregate


@part("aggregate")
def token_sum() -> Aggregate:
  """Sum over the valid tokens."""

  def aggregate(loss: Float[Array, "B T"], batch: TokenBatch) -> Mean:
    return Mean(masked.masked_sum(loss, batch.mask), jnp.float32(1))

  return aggregate


@part("aggregate")
def seq_mean_token_sum(responses: Count | str | None = None) -> Aggregate:
  """Mean over responses of the sum over their tokens.

  Args:
    responses: number to divide by, above 0; None: responses with a valid
      token; `"all"`: the capacity `num_responses`, empty ones included.

  Raises:
    ValueError: for something else.
  """
  _check("seq_mean_token_sum", responses=responses)

  def aggregate(loss: Float[Array, "B T"], batch: TokenBatch) -> Mean:
    total = masked.masked_sum(loss, batch.mask)
    return Mean(total, _responses(responses, batch))

  return aggregate


@part("aggregate")
def seq_mean_token_sum_norm(
  responses: Count | str | None = None, length: Count | None = None
) -> Aggregate:
  """`seq_mean_token_sum` over a constant length (Dr. GRPO, arXiv 2503.20783).

  Args:
    responses: as in `seq_mean_token_sum`.
    length: constant to divide by, tokens, above 0; None: `max_length`, which
      does not depend on padding.

  Raises:
    ValueError: for something else.
  """
  _check("seq_mean_token_sum_norm", responses=responses, length=length)
  by_response = seq_mean_token_sum(responses)

  def aggregate(loss: Float[Array, "B T"], batch: TokenBatch) -> Mean:
    mean = by_response(loss, batch)
    divisor = batch.max_length if length is None else length
    return Mean(mean.total, mean.count * jnp.asarray(divisor, jnp.float32))

  return aggregate


@part("aggregate")
def seq_mean_token_mean(responses: Count | str | None = None) -> Aggregate:
  """Mean over responses of the mean over their tokens (GRPO, arXiv 2402.03300).

  Args:
    responses: as in `seq_mean_token_sum`.

  Raises:
    ValueError: as in `seq_mean_token_sum`.
  """
  _check("seq_mean_token_mean", responses=responses)

  def aggregate(loss: Float[Array, "B T"], batch: TokenBatch) -> Mean:
    weight = 1.0 / jnp.maximum(_lengths(batch), 1.0)
    weight = weight.at[batch.response].get(mode="clip")
    total = masked.masked_sum(loss * weight, batch.mask)
    return Mean(total, _responses(responses, batch))

  return aggregate


AGGREGATES: dict[str, Callable[..., Aggregate]] = {
  "token_mean": token_mean,
  "token_sum": token_sum,
  "seq_mean_token_sum": seq_mean_token_sum,
  "seq_mean_token_sum_norm": seq_mean_token_sum_norm,
  "seq_mean_token_mean": seq_mean_token_mean,
}


def aggregate_by(name: str | Aggregate) -> Aggregate:
  """The aggregate of a name (verl's, with `-` or `_`); others as they are.

  Args:
    name: of the aggregate, or a function that is returned as it is.

  Raises:
    ValueError: for an unknown name.
  """
  if not isinstance(name, str):
    return name
  factory = AGGREGATES.get(name.replace("-", "_"))
  if factory is None:
    raise ValueError(
      f"unknown aggregation {name!r}; choose one of {', '.join(AGGREGATES)}"
    )
  return factory()
