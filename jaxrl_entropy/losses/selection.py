"""Selectors: which tokens of the mini-batch a rule acts on.

Every quota, quantile and draw is over the whole mini-batch on the whole mesh.
A token is identified by its response and its place in it, so the same tokens
are picked however rows are ordered, packed, padded or sharded.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt32

from jaxrl_entropy.losses.base import (
  PRNGKey,
  Selection,
  Selector,
  TokenLoss,
  call,
  token_metric,
)
from jaxrl_entropy.losses.ratio import response_mean
from jaxrl_entropy.ops import covariance, quota, radix
from jaxrl_entropy.types import Mean, TokenBatch

Score = Callable[[TokenBatch], Float[Array, "B T"]]
Fraction = float | Float[Array, ""]


def covariance_score(logprob: str = "current", theorem: int = 2) -> Score:
  """Each token's part of the covariance that drives the entropy.

  Args:
    logprob: `"current"` policy (paper), or `"old"`: the same at the first
      update after a rollout, stale later.
    theorem: 2: centred log-prob times centred advantage (eq. 10); 1: the
      log-prob is centred against `pi A` instead, the change of logits under a
      plain policy gradient (Theorem 1).
  """
  if logprob not in ("current", "old"):
    raise ValueError(f"logprob must be 'current' or 'old', not {logprob!r}")
  if theorem not in (1, 2):
    raise ValueError(f"theorem must be 1 or 2, not {theorem!r}")

  def score(batch: TokenBatch) -> Float[Array, "B T"]:
    logp = batch.logp if logprob == "current" else batch.old_logp
    logp = jax.lax.stop_gradient(logp)
    weight = jnp.exp(logp) if theorem == 1 else 1.0
    return covariance.token_covariance(
      logp, weight * batch.advantages, batch.mask
    )

  return score


def entropy_score(batch: TokenBatch) -> Float[Array, "B T"]:
  """The full-vocabulary entropy of each token's distribution."""
  return jax.lax.stop_gradient(batch.entropy)


def _identity(batch: TokenBatch) -> UInt32[Array, "B T"]:
  """The token's number in the mini-batch's canonical order."""
  if batch.num_responses * batch.max_length > 2**32:
    raise ValueError(
      f"{batch.num_responses} responses of up to {batch.max_length} tokens "
      "exceed 2^32 token numbers; use smaller mini-batches"
    )
  start = batch.response.astype(jnp.uint32) * jnp.uint32(batch.max_length)
  return start + batch.position.astype(jnp.uint32)


def _quota(
  fraction: Fraction, min_tokens: int, batch: TokenBatch
) -> UInt32[Array, ""]:
  tokens = jnp.sum(batch.mask, dtype=jnp.uint32)
  count = quota.floor_share(fraction, tokens)
  floor = jnp.where(jnp.asarray(fraction) > 0, min_tokens, 0)
  return jnp.maximum(count, floor.astype(jnp.uint32))


def _count(mask: Bool[Array, "B T"]) -> Mean:
  return Mean(jnp.sum(mask).astype(jnp.float32), jnp.float32(1))


def top_fraction(
  score: Score, fraction: Fraction, min_tokens: int = 0
) -> Selector:
  """The `floor(fraction N)` valid tokens of highest score.

  Equal scores: lower token number first. NaN scores come last, and are counted
  in the metric `nan`. Nothing is picked where every score is 0.

  Args:
    score: what to rank by.
    fraction: share of the N valid tokens; 0 picks none. May be traced.
    min_tokens: pick at least so many, unless `fraction` is 0.
  """

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    del loss, key
    scores = score(batch)
    count = _quota(fraction, min_tokens, batch)
    count = jnp.where(jnp.any(batch.mask & (scores != 0)), count, 0)
    chosen = radix.smallest(
      radix.ascending_bits(-scores), _identity(batch), batch.mask, count
    )
    return Selection(
      chosen,
      {
        "score": token_metric(scores, chosen),
        "nan": _count(batch.mask & jnp.isnan(scores)),
      },
    )

  return select


def random_band(
  score: Score,
  fraction: Fraction,
  low: float,
  high: float,
  *,
  min_tokens: int = 0,
  closed: bool = False,
  skip_clipped: bool = True,
) -> Selector:
  """`floor(fraction N)` tokens drawn uniformly from low < score < high.

  All candidates where there are no more than that. The draw is a function of
  the key and the token's number.

  Args:
    score: what the band is of.
    fraction: share of the N valid tokens; 0 picks none. May be traced.
    low: lower bound.
    high: upper bound.
    min_tokens: pick at least so many, unless `fraction` is 0.
    closed: whether a score on a bound is a candidate (the paper) or not (verl).
    skip_clipped: whether tokens that the ratio clip has cut are no candidates
      (verl).
  """

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    scores = score(batch)
    if closed:
      inside = (scores >= low) & (scores <= high)
    else:
      inside = (scores > low) & (scores < high)
    candidates = batch.mask & inside
    if skip_clipped:
      candidates &= ~loss.clipped
    count = _quota(fraction, min_tokens, batch)
    # Distinct numbers, as the tokens' own are: there are no ties.
    drawn = radix.mix(key, _identity(batch))
    last = radix.kth_smallest(drawn, candidates, count)
    chosen = candidates & (drawn <= last) & (count > 0)
    return Selection(
      chosen,
      {
        "candidates": _count(candidates),
        "score": token_metric(scores, chosen),
        "nan": _count(batch.mask & jnp.isnan(scores)),
      },
    )

  return select


def top_covariance(
  fraction: Fraction,
  *,
  min_tokens: int = 0,
  logprob: str = "current",
  theorem: int = 2,
) -> Selector:
  """KL-Cov's tokens: the top `fraction` by covariance (eq. 12)."""
  return top_fraction(covariance_score(logprob, theorem), fraction, min_tokens)


def random_covariance(
  fraction: Fraction,
  low: float = 1.0,
  high: float = 5.0,
  *,
  min_tokens: int = 0,
  closed: bool = False,
  skip_clipped: bool = True,
  logprob: str = "current",
  theorem: int = 2,
) -> Selector:
  """Clip-Cov's tokens: a random `fraction` of covariance in a band (eq. 11)."""
  return random_band(
    covariance_score(logprob, theorem),
    fraction,
    low,
    high,
    min_tokens=min_tokens,
    closed=closed,
    skip_clipped=skip_clipped,
  )


def top_quantile(score: Score, fraction: Fraction) -> Selector:
  """The tokens whose score reaches the `1 - fraction` quantile of the valid.

  The quantile is interpolated linearly between neighbours, so these are the
  `floor(fraction (N - 1)) + 1` highest and all that equal the last of them.
  """

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    del loss, key
    keys = radix.ascending_bits(-score(batch))
    tokens = jnp.sum(batch.mask, dtype=jnp.uint32)
    steps = jnp.maximum(tokens, 1) - 1
    rank = quota.floor_share(fraction, steps) + 1
    cut = radix.kth_smallest(keys, batch.mask, rank)
    return Selection(batch.mask & (keys <= cut))

  return select


def top_entropy(fraction: Fraction = 0.2) -> Selector:
  """The tokens of highest entropy (arXiv 2506.01939), as in `top_quantile`."""
  return top_quantile(entropy_score, fraction)


def rising_tokens(low: float, high: float) -> Selector:
  """Tokens of A > 0 whose ratio is in (1 + low, 1 + high].

  Those that a clip at `1 + low` stops and one at `1 + high` lets through.
  Metric: `covariance`, the mean of their parts of the covariance.
  """
  score = covariance_score()

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    del key
    excess = loss.ratio - 1.0
    rising = (batch.advantages > 0) & (low < excess) & (excess <= high)
    chosen = batch.mask & rising
    covariances = token_metric(score(batch), chosen)
    return Selection(chosen, {"covariance": covariances})

  return select


def complement(selector: Selector) -> Selector:
  """The valid tokens that `selector` does not pick."""

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    picked = call(selector, loss, batch, key)
    chosen = picked.chosen if isinstance(picked, Selection) else picked
    return Selection(batch.mask & ~chosen)

  return select


def drifted_responses(threshold: float, logprob: str = "old") -> Selector:
  """Responses of A < 0 that the policy has left behind (DeepSeek-V3.2).

  Those whose mean of `behaviour logp - logp` exceeds `threshold`: taken out of
  the loss, they cannot push an already unlikely response further off.

  Args:
    threshold: nats a token.
    logprob: whose log-probs the behaviour's are: `"old"` or `"sampler"`.

  Raises:
    ValueError: for another `logprob`.
  """
  if logprob not in ("old", "sampler"):
    raise ValueError(f"logprob must be 'old' or 'sampler', not {logprob!r}")

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    del loss, key
    behaviour = batch.old_logp if logprob == "old" else batch.sampler_logp
    drift = response_mean(behaviour - batch.logp, batch)
    return Selection((drift > threshold) & (batch.advantages < 0))

  return select
