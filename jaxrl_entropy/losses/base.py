"""What a loss is made of: transforms of per-token losses, and their chain.

A transform is any function `(TokenLoss, TokenBatch, key) -> TokenLoss`. It sees
every token of the optimiser's mini-batch on the whole mesh, so a mean or a
quantile that it takes is that of the mini-batch.

    objective = losses.objective(
      losses.policy_gradient(),
      losses.masked(losses.add_kl(1.0), losses.top_covariance(2e-3)),
      aggregate=losses.token_mean(),
    )
    loss, metrics = objective(batch, key)
"""

from collections.abc import Callable
from typing import Any
import zlib

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from jaxrl_entropy.ops import masked as ops
from jaxrl_entropy.types import Mean, Metrics, TokenBatch

# The optional fields of a batch, and what provides them. The trainer adds
# those that its objective `needs`.
PROVIDERS = {
  "entropy": "the policy's forward pass",
  "ref_logp": "a reference policy, which the trainer keeps for a `loss` that "
  "reads it and for `reward.kl_coefficient`",
  "sampler_logp": "the sampler, whose log-probs a rollout carries",
  "values": "a critic: set `advantage.name` to 'gae'",
  "old_values": "a critic: set `advantage.name` to 'gae'",
  "returns": "a critic: set `advantage.name` to 'gae'",
  "sum_p2": "the policy's forward pass with `moments=True`",
  "sum_p2_logp": "the policy's forward pass with `moments=True`",
}


class TokenLoss(struct.PyTreeNode):
  """The loss of each token, on its way through a chain.

  Attributes:
    loss: what is minimised, nats times advantage.
    ratio: importance ratio current / old policy that surrogates weigh by.
    clipped: tokens whose gradient the surrogate's clip has cut.
    metrics: named means over the mini-batch.
  """

  loss: Float[Array, "B T"]
  ratio: Float[Array, "B T"]
  clipped: Bool[Array, "B T"]
  metrics: Metrics


class Selection(struct.PyTreeNode):
  """Chosen tokens, and what the selector has to report about them."""

  chosen: Bool[Array, "B T"]
  metrics: Metrics = struct.field(default_factory=dict)


PRNGKey = Key[Array, ""]
LossTransform = Callable[[TokenLoss, TokenBatch, PRNGKey], TokenLoss]
# A bare mask will do where there is nothing to report.
Selector = Callable[
  [TokenLoss, TokenBatch, PRNGKey], Selection | Bool[Array, "B T"]
]
Aggregate = Callable[[Float[Array, "B T"], TokenBatch], Mean]


class BatchReader:
  """A batch lent to one transform: notes its reads, refuses absent fields."""

  def __init__(self, batch: Any, owner: str, seen: set[str]):
    self._batch, self._owner, self._seen = batch, owner, seen

  def __getattr__(self, name: str) -> Any:
    value = getattr(self._batch, name)
    if name in PROVIDERS:
      self._seen.add(name)
      if value is None:
        raise ValueError(
          f"{self._owner}() reads `{name}`, which this batch does not have; "
          f"it comes from {PROVIDERS[name]}"
        )
    return value

  def lend(self, owner: str) -> "BatchReader":
    return BatchReader(self._batch, owner, self._seen)


def call(part: Callable, loss: Any, batch: Any, key: PRNGKey) -> Any:
  """`part(loss, batch, key)`; a field that is missing is blamed on `part`.

  Whatever takes transforms or selectors apart calls them through this.
  """
  reader = batch
  if isinstance(batch, BatchReader):
    reader = batch.lend(_factory(part))
  return part(loss, reader, key)


def _factory(part: Callable) -> str:
  """The name of the function that made `part`."""
  return getattr(part, "__qualname__", type(part).__name__).split(".")[0]


def chain(*transforms: LossTransform) -> LossTransform:
  """The transforms one after the other, each with a key of its own.

  The key is of the transform's name, not of its place, so that one put before
  another (a `shadow`, say) leaves the other's draws as they were.
  """
  names = [_factory(transform) for transform in transforms]
  tags = [
    zlib.crc32(f"{name} {names[:index].count(name)}".encode())
    for index, name in enumerate(names)
  ]

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    for tag, transform in zip(tags, transforms, strict=True):
      loss = call(transform, loss, batch, jax.random.fold_in(key, tag))
    return loss

  return update


def set_to_zero() -> LossTransform:
  """Takes every token's loss away, value and gradient."""

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del batch, key
    return loss.replace(loss=jnp.zeros_like(loss.loss))

  return update


def _select(
  selector: Selector, loss: TokenLoss, batch: TokenBatch, key: PRNGKey
) -> Selection:
  picked = call(selector, jax.lax.stop_gradient(loss), batch, key)
  if not isinstance(picked, Selection):
    picked = Selection(picked)
  return picked.replace(chosen=picked.chosen & batch.mask)


def _prefixed(name: str, metrics: Metrics) -> Metrics:
  return {f"{name}/{key}": value for key, value in metrics.items()}


def share(chosen: Bool[Array, "B T"], mask: Bool[Array, "B T"]) -> Mean:
  """The share of chosen tokens in those of `mask`, as a metric."""
  return token_metric(chosen.astype(jnp.float32), mask)


def token_metric(x: Float[Array, "B T"], mask: Bool[Array, "B T"]) -> Mean:
  """The mean of `x` over the tokens of `mask`, as a metric."""
  total = ops.masked_sum(jax.lax.stop_gradient(x), mask)
  return Mean(total, jnp.sum(mask).astype(jnp.float32))


def masked(
  transform: LossTransform, selector: Selector, name: str = "select"
) -> LossTransform:
  """`transform` on the tokens that `selector` picks; the others keep theirs.

  Metrics, under `name`: `share` of the valid tokens that were picked,
  `effective_penalty` (mean |change of loss| of the picked tokens), and what
  the selector reports.
  """

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    select_key, key = jax.random.split(key)
    picked = _select(selector, loss, batch, select_key)
    changed = call(transform, loss, batch, key)
    chosen = picked.chosen
    own = {
      "share": share(chosen, batch.mask),
      "effective_penalty": token_metric(
        jnp.abs(changed.loss - loss.loss), chosen
      ),
    }
    return TokenLoss(
      loss=jnp.where(chosen, changed.loss, loss.loss),
      ratio=jnp.where(chosen, changed.ratio, loss.ratio),
      clipped=jnp.where(chosen, changed.clipped, loss.clipped),
      metrics=changed.metrics | _prefixed(name, own | picked.metrics),
    )

  return update


def shadow(selector: Selector, name: str) -> LossTransform:
  """Logs what `selector` would pick, under `name`, and changes no loss."""

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    picked = _select(selector, loss, batch, key)
    own = {"share": share(picked.chosen, batch.mask)}
    metrics = _prefixed(name, own | picked.metrics)
    return loss.replace(metrics=loss.metrics | metrics)

  return update
