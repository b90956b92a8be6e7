"""Array containers and aliases shared by every layer."""

from collections.abc import Mapping
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Params = Mapping[str, Any]
"""A pytree of arrays: the parameters of one model."""

Metrics = dict[str, "Mean"]


@struct.dataclass
class Mean:
  """A ratio of two sums, added before it is divided.

  Keeping the sums apart makes a metric exact under any split of its tokens into
  micro-batches or devices: `(a + b).compute()` is the mean over both parts.

  Attributes:
    total: scalar sum of the measured values.
    count: scalar number (or weight) of the values.
  """

  total: Float[Array, ""]
  count: Float[Array, ""]

  def __add__(self, other: "Mean") -> "Mean":
    return Mean(self.total + other.total, self.count + other.count)

  def compute(self) -> Float[Array, ""]:
    """The mean; 0 where nothing was counted."""
    empty = self.count == 0
    return jnp.where(empty, 0.0, self.total / jnp.where(empty, 1.0, self.count))


class TokenBatch(struct.PyTreeNode):
  """The tokens of one optimiser mini-batch, as the objective sees them.

  Rows are storage, not meaning: a row may hold several packed responses, and a
  response is recognised by `response` alone. Column `t` describes the token at
  column `t` of the model's input (its log-prob comes from the hidden state at
  `t - 1`). Values at masked positions are arbitrary, NaN included.

  Attributes:
    logp: log-prob of each token under the current policy, nats, at the sampling
      temperature. Carries the gradient.
    old_logp: log-prob under the policy that opened this round of updates.
    advantages: advantage of each token, constant.
    mask: True at response tokens.
    response: index of the token's response in the mini-batch's canonical order,
      in `[0, num_responses)` where `mask` holds.
    position: place of the token in its response, from 0, below `max_length`.
    entropy: full-vocabulary entropy of the token's distribution, nats. Carries
      the gradient.
    ref_logp: log-prob under the reference policy.
    sampler_logp: log-prob that the sampler reported.
    values: value head's prediction. Carries the gradient.
    old_values: value head's prediction when the round of updates opened.
    returns: regression target of the value head.
    sum_p2: sum over the vocabulary of p^2.
    sum_p2_logp: sum over the vocabulary of p^2 log p, nats.
    num_responses: static capacity for responses of the mini-batch.
    max_length: static capacity for tokens of one response.
  """

  logp: Float[Array, "B T"]
  old_logp: Float[Array, "B T"]
  advantages: Float[Array, "B T"]
  mask: Bool[Array, "B T"]
  response: Int[Array, "B T"]
  position: Int[Array, "B T"]
  entropy: Float[Array, "B T"] = struct.field(default=None)
  ref_logp: Float[Array, "B T"] = struct.field(default=None)
  sampler_logp: Float[Array, "B T"] = struct.field(default=None)
  values: Float[Array, "B T"] = struct.field(default=None)
  old_values: Float[Array, "B T"] = struct.field(default=None)
  returns: Float[Array, "B T"] = struct.field(default=None)
  sum_p2: Float[Array, "B T"] = struct.field(default=None)
  sum_p2_logp: Float[Array, "B T"] = struct.field(default=None)
  num_responses: int = struct.field(pytree_node=False, default=1)
  max_length: int = struct.field(pytree_node=False, default=1)


def token_batch_from_rows(
  logp: Float[Array, "B T"],
  old_logp: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  mask: Bool[Array, "B T"],
  **optional: Float[Array, "B T"],
) -> TokenBatch:
  """A batch with one response a row, in row order (the peers' layout)."""
  rows, length = mask.shape
  grid = jnp.broadcast_to
  return TokenBatch(
    logp,
    old_logp,
    advantages,
    mask.astype(bool),
    response=grid(jnp.arange(rows, dtype=jnp.int32)[:, None], (rows, length)),
    position=grid(jnp.arange(length, dtype=jnp.int32), (rows, length)),
    num_responses=rows,
    max_length=length,
    **optional,
  )


def tree_bytes(tree: Any) -> int:
  """Bytes that the arrays (or shapes) of a tree hold in all."""
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
