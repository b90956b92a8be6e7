"""Chains of transforms, restricted to some tokens or not, and the objective."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrl_entropy.losses import parts
from jaxrl_entropy.losses.aggregates import Aggregation, aggregate_by
from jaxrl_entropy.losses.base import (
  Aggregate,
  LossTransform,
  PRNGKey,
  Selection,
  Selector,
  TokenLoss,
  share_metric,
  token_metric,
)
from jaxrl_entropy.losses.fields import fields_read, mark_absent
from jaxrl_entropy.losses.order import check_order
from jaxrl_entropy.losses.parts import Part, part
from jaxrl_entropy.losses.ratio import token_ratio
from jaxrl_entropy.ops import masked as ops
from jaxrl_entropy.types import Metrics, TokenBatch

_WATCHING = 2**31  # first number of the keys of parts that change no loss


def chain(*transforms: LossTransform) -> LossTransform:
  """Returns the transform that applies `transforms` one after the other.

  Each gets a random key by its place. Parts that change no loss are counted
  apart: a `shadow` more or less leaves the draws of the others as they were.

  Raises:
    ValueError: for a factory that was not called, or no transform.
  """
  for transform in transforms:
    parts.check(transform, "transform", 3)
  acting, watching = itertools.count(), itertools.count(_WATCHING)
  tags = [
    next(watching if getattr(one, "kind", "") == "metric" else acting)
    for one in transforms
  ]

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    for tag, transform in zip(tags, transforms, strict=True):
      key_ = jax.random.fold_in(key, tag)
      loss = parts.call(transform, loss, batch, key_)
    return loss

  return Part(update, "weight", "chain", transforms)


@part("weight")
def set_to_zero() -> LossTransform:
  """Multiplies every token's loss by 0: its value and its gradient are 0."""

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    del batch, key
    return loss.replace(loss=jnp.zeros_like(loss.loss))

  return update


def masked(
  transform: LossTransform, selector: Selector, name: str = "select"
) -> LossTransform:
  """Restricts `transform` to the tokens that `selector` picks.

  The other tokens keep their loss. Metrics, under `name`: `share` of the valid
  tokens that were picked; of these, the share of A > 0 (`rewarded`), the mean
  `probability` and mean |change of loss| (`effective_penalty`); and those of
  the selector.

  Args:
    transform: what is applied.
    selector: picks the tokens.
    name: prefix of the metrics.

  Raises:
    ValueError: if one of them is a factory that was not called, or the two
      are in the wrong order.
  """
  parts.check(transform, "transform", 3)
  parts.check(selector, "selector", 3)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    select_key, key = jax.random.split(key)
    picked = parts.pick(selector, loss, batch, select_key)
    changed = parts.call(transform, loss, batch, key)
    chosen = picked.chosen
    change = jnp.abs(changed.loss - loss.loss)
    own = _selection_metrics(picked, batch, name)
    own |= {f"{name}/effective_penalty": token_metric(change, chosen)}
    return TokenLoss(
      loss=jnp.where(chosen, changed.loss, loss.loss),
      ratio=jnp.where(chosen, changed.ratio, loss.ratio),
      clipped=jnp.where(chosen, changed.clipped, loss.clipped),
      metrics=changed.metrics | own,
    )

  kind = transform.kind if isinstance(transform, Part) else "weight"
  return Part(update, kind, "masked", (transform,), selective=True)


@part("metric")
def shadow(selector: Selector, name: str) -> LossTransform:
  """Logs what `selector` would pick, under `name`, and changes no loss.

  Args:
    selector: picks the tokens.
    name: prefix of the metrics.

  Raises:
    ValueError: if the selector is a factory that was not called.
  """
  parts.check(selector, "selector", 3)

  def update(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> TokenLoss:
    picked = parts.pick(selector, loss, batch, key)
    metrics = _selection_metrics(picked, batch, name)
    return loss.replace(metrics=loss.metrics | metrics)

  return update


def _selection_metrics(
  picked: Selection, batch: TokenBatch, name: str
) -> Metrics:
  chosen = picked.chosen
  own = {
    "share": share_metric(chosen, batch.mask),
    "rewarded": share_metric(batch.advantages > 0, chosen),
    "probability": token_metric(jnp.exp(batch.logp), chosen),
  } | picked.metrics
  return {f"{name}/{key}": value for key, value in own.items()}


def _clean(batch: TokenBatch) -> TokenBatch:
  """Float32 throughout, and 0 at masked positions.

  It is done once, here, so that no transform has to think of padding: whatever
  it computes there is finite and gets a gradient of exactly 0. The responses'
  embeddings have no such positions.
  """
  batch = jax.tree.map(jnp.asarray, mark_absent(batch))

  def clean(x: Array) -> Array:
    if not jnp.issubdtype(x.dtype, jnp.floating):
      return x
    return ops.guard(x.astype(jnp.float32), batch.mask)

  tokens = jax.tree.map(clean, batch.replace(embedding=None))
  embedding = jax.tree.map(jax.lax.stop_gradient, batch.embedding)
  return tokens.replace(embedding=embedding)


def _blank(batch: TokenBatch) -> TokenLoss:
  zeros = jnp.zeros_like(batch.logp)
  return TokenLoss(zeros, zeros, zeros.astype(bool), {})


@dataclasses.dataclass(frozen=True)
class Objective:
  """The scalar that one optimizer update minimizes; see `objective`.

  Attributes:
    transforms: the chain, in order.
    aggregate: reduces the loss of each token to one number.
  """

  transforms: tuple[LossTransform, ...]
  aggregate: Aggregate

  def __call__(
    self, batch: TokenBatch, key: PRNGKey
  ) -> tuple[Float[Array, ""], Metrics]:
    """Returns the loss and the metrics of a mini-batch.

    Differentiable in the batch's `logp`, `entropy` and `values`; works under
    `jit`, on any mesh. A batch without a valid token has a loss of 0.

    Args:
      batch: the tokens of the mini-batch, in any float dtype.
      key: of this update; every draw of the transforms comes from it.

    Raises:
      ValueError: if a transform reads a field that the batch does not have.
    """
    batch = _clean(batch)
    loss = token_ratio()(_blank(batch), batch, key)
    loss = chain(*self.transforms)(loss, batch, key)
    mean = parts.call(self.aggregate, loss.loss, batch)
    clip_share = {"ratio/clip_share": share_metric(loss.clipped, batch.mask)}
    return mean.compute(), clip_share | loss.metrics

  @functools.cached_property
  def needs(self) -> frozenset[str]:
    """The optional fields of a `TokenBatch` that the parts read."""
    return fields_read(self)


def objective(*transforms: LossTransform, aggregate: Aggregation) -> Objective:
  """Returns the chain of `transforms`, aggregated into one loss.

  The first transform sees a loss of 0 and the token ratio
  `exp(clip(logp - old_logp, -20, 20))`. Metrics: `ratio/clip_share` (tokens
  that the ratio clip has cut), `kl/old` (mean old_logp - logp), `kl/old_abs`,
  and those of the transforms.

  Args:
    *transforms: parts, or functions of one's own, in the order in which they
      are applied: ratio, surrogate, bounds, then weights and penalties.
    aggregate: an aggregate, or its name, such as "token_mean".

  Raises:
    ValueError: for a factory that was not called, or an order in which a part
      would have no effect.
  """
  aggregate = aggregate_by(aggregate)
  parts.check(aggregate, "aggregate", 2)
  chain(*transforms)
  check_order(transforms)
  return Objective(transforms, aggregate)
