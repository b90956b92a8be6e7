"""Array containers and type aliases that every layer uses."""

from collections.abc import Mapping
from typing import Any

from flax import struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Params = Mapping[str, Any]
"""Parameters of one model: a pytree of arrays."""

Metrics = dict[str, "Mean"]


@struct.dataclass
class Mean:
  """A ratio of two sums that are added before they are divided.

  Separate sums make a metric exact under any split of its tokens into
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
    """Returns the mean; 0 where the count is 0."""
    empty = self.count == 0
    return jnp.where(empty, 0.0, self.total / jnp.where(empty, 1.0, self.count))


class TokenBatch(struct.PyTreeNode):
  """The tokens of one optimizer mini-batch, as the objective sees them.

  A row may hold several packed responses: `response` alone tells which response
  a token belongs to. Column `t` describes the token at
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
    nucleus_entropy: entropy of the renormalized nucleus of the token's
      distribution, nats. Carries the gradient.
    rank: how many tokens of the vocabulary were likelier.
    teacher_kl: KL of the policy's distribution from that of a teacher model
      over the vocabulary, nats. Carries the gradient.
    old_entropy: entropy under the policy that opened this round of updates.
    teacher_logp: log-prob under the same policy when its prompt holds the
      solution as well.
    correct: 1 at the tokens of responses that the verifier accepts, else 0.
    group: index of the response's prompt in the mini-batch, in
      `[0, num_responses)` where `mask` holds.
    group_accuracy: share of correct responses to that prompt in the rollout.
    router_balance: the token's part of the load-balance loss of a mixture of
      experts, see `ops.router`. Carries the gradient.
    router_z: the token's squared log-normalizer of the router. Carries the
      gradient.
    embedding: mean final hidden state of each response's tokens under the
      policy that opened this round of updates, N = `num_responses`; that of
      each token's response is `embedding[response]`. Constant.
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
  nucleus_entropy: Float[Array, "B T"] = struct.field(default=None)
  rank: Float[Array, "B T"] = struct.field(default=None)
  teacher_kl: Float[Array, "B T"] = struct.field(default=None)
  old_entropy: Float[Array, "B T"] = struct.field(default=None)
  teacher_logp: Float[Array, "B T"] = struct.field(default=None)
  correct: Float[Array, "B T"] = struct.field(default=None)
  group: Int[Array, "B T"] = struct.field(default=None)
  group_accuracy: Float[Array, "B T"] = struct.field(default=None)
  router_balance: Float[Array, "B T"] = struct.field(default=None)
  router_z: Float[Array, "B T"] = struct.field(default=None)
  embedding: Float[Array, "N D"] = struct.field(default=None)
  num_responses: int = struct.field(pytree_node=False, default=1)
  max_length: int = struct.field(pytree_node=False, default=1)


def token_batch(
  logp: Float[Array, "B T"],
  old_logp: Float[Array, "B T"],
  advantages: Float[Array, "B #T"],
  mask: Bool[Array, "B T"],
  embedding: Float[Array, "B D"] | None = None,
  **optional: Float[Array, "B #T"],
) -> TokenBatch:
  """Returns a batch with one response per row, in row order.

  Args:
    logp: log-prob of each token under the current policy, nats.
    old_logp: log-prob under the policy that opened the round of updates.
    advantages: of each token, or of each response as [B, 1].
    mask: True at response tokens.
    embedding: of each response.
    **optional: other fields of a `TokenBatch`, by name.

  Raises:
    ValueError: for an array that is not [B, T], or not [B, 1] where a number
      per response is allowed.
  """
  rows, length = mask.shape

  def spread(name: str, x: Array) -> Array:
    if x.ndim == 1:
      raise ValueError(
        f"token_batch: {name} has shape {x.shape}; give {name}[:, None] for "
        f"one value per response, or an array of shape {mask.shape}"
      )
    if x.ndim != 2 or x.shape[0] != rows or x.shape[1] not in (1, length):
      raise ValueError(
        f"token_batch: {name} has shape {x.shape}; the mask has {mask.shape}"
      )
    return jnp.broadcast_to(x, mask.shape)

  index = jnp.indices(mask.shape, dtype=jnp.int32)
  fields: dict[str, Any] = {"embedding": embedding}
  fields |= {name: spread(name, x) for name, x in optional.items()}
  return TokenBatch(
    logp=spread("logp", logp),
    old_logp=spread("old_logp", old_logp),
    advantages=spread("advantages", advantages),
    mask=mask.astype(bool),
    response=index[0],
    position=index[1],
    num_responses=rows,
    max_length=length,
    **fields,
  )
