"""A chain and an aggregate: the scalar that one optimiser update minimises."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrl_entropy.losses.base import (
  PROVIDERS,
  Aggregate,
  BatchReader,
  LossTransform,
  PRNGKey,
  TokenLoss,
  chain,
  share,
)
from jaxrl_entropy.losses.ratio import token_ratio
from jaxrl_entropy.ops import masked
from jaxrl_entropy.types import Metrics, TokenBatch


def _clean(batch: TokenBatch) -> TokenBatch:
  """Float32 throughout, and 0 at masked positions.

  It is done once, here, so that no transform has to think of padding: whatever
  it computes there is finite and gets a gradient of exactly 0.
  """

  def clean(x: Array) -> Array:
    if not jnp.issubdtype(x.dtype, jnp.floating):
      return x
    return masked.guard(x.astype(jnp.float32), batch.mask)

  return jax.tree.map(clean, batch)


def _blank(batch: TokenBatch) -> TokenLoss:
  zeros = jnp.zeros_like(batch.logp)
  return TokenLoss(
    loss=zeros, ratio=zeros, clipped=zeros.astype(bool), metrics={}
  )


@dataclasses.dataclass(frozen=True)
class Objective:
  """The scalar that one optimiser update minimises; see `objective`."""

  transforms: tuple[LossTransform, ...]
  aggregate: Aggregate

  def __call__(
    self, batch: TokenBatch, key: PRNGKey
  ) -> tuple[Float[Array, ""], Metrics]:
    """The loss and the metrics of a mini-batch.

    Differentiable in the batch's `logp`, `entropy` and `values`; works under
    `jit`, on any mesh. A batch without a valid token has a loss of 0.

    Args:
      batch: the tokens of the mini-batch, in any float dtype.
      key: of this update; every draw of the transforms comes from it.

    Raises:
      ValueError: if a transform reads a field that the batch does not have.
    """
    return self._run(batch, key, set())

  @functools.cached_property
  def needs(self) -> frozenset[str]:
    """The optional fields of a `TokenBatch` that the transforms read."""
    seen: set[str] = set()
    grid: Any = jax.ShapeDtypeStruct((2, 4), jnp.float32)
    numbers: Any = jax.ShapeDtypeStruct((2, 4), jnp.int32)
    mask: Any = jax.ShapeDtypeStruct((2, 4), jnp.bool_)
    batch = TokenBatch(
      logp=grid,
      old_logp=grid,
      advantages=grid,
      mask=mask,
      response=numbers,
      position=numbers,
      num_responses=2,
      max_length=4,
      **dict.fromkeys(PROVIDERS, grid),
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    jax.eval_shape(lambda b, k: self._run(b, k, seen), batch, key)
    return frozenset(seen)

  def _run(
    self, batch: TokenBatch, key: PRNGKey, seen: set[str]
  ) -> tuple[Float[Array, ""], Metrics]:
    batch = _clean(batch)
    reader: Any = BatchReader(batch, "objective", seen)
    loss = token_ratio()(_blank(batch), reader, key)
    loss = chain(*self.transforms)(loss, reader, key)
    mean = self.aggregate(loss.loss, reader)
    clip_share = {"ratio/clip_share": share(loss.clipped, batch.mask)}
    return mean.compute(), clip_share | loss.metrics


def objective(*transforms: LossTransform, aggregate: Aggregate) -> Objective:
  """The chain of `transforms`, aggregated into one loss.

  The first transform sees a loss of 0 and the token ratio
  `exp(clip(logp - old_logp, -20, 20))`. Metrics: `ratio/clip_share` (tokens
  that the ratio clip has cut), `kl/old` (mean old_logp - logp), `kl/old_abs`,
  and those of the transforms.
  """
  return Objective(transforms, aggregate)
