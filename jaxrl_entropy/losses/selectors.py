"""Selectors by rank: the highest scores, or a draw from a band of scores.

A quota or a quantile is over the whole mini-batch on the whole mesh, or over
each response or group of it. A token is identified by its response and its
place in it, so the same tokens are picked however rows are ordered, packed,
padded or sharded.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt32

from jaxrl_entropy import arguments
from jaxrl_entropy.losses import parts
from jaxrl_entropy.losses.base import (
  PRNGKey,
  Scalar,
  Selection,
  Selector,
  TokenLoss,
  count_metric,
  token_metric,
)
from jaxrl_entropy.losses.parts import part
from jaxrl_entropy.losses.scores import Score, covariance_score, entropy_score
from jaxrl_entropy.ops.selection import quota, radix, segments
from jaxrl_entropy.types import TokenBatch

SCOPES = ("minibatch", "response", "group")


def _identity(batch: TokenBatch) -> UInt32[Array, "B T"]:
  """The token's number in the mini-batch's canonical order."""
  if batch.num_responses * batch.max_length > 2**32:
    raise ValueError(
      f"{batch.num_responses} responses of up to {batch.max_length} tokens "
      "exceed 2^32 token numbers; use smaller mini-batches"
    )
  start = batch.response.astype(jnp.uint32) * jnp.uint32(batch.max_length)
  return start + batch.position.astype(jnp.uint32)


def _check(
  owner: str, fraction: Scalar, min_tokens: int = 0, within: str = "minibatch"
) -> None:
  arguments.within(owner, 0.0, 1.0, fraction=fraction)
  arguments.within(owner, 0, min_tokens=min_tokens)
  arguments.one_of(owner, SCOPES, within=within)


def _segments(within: str, batch: TokenBatch) -> Int[Array, "B T"]:
  return batch.response if within == "response" else batch.group


def _tokens(
  within: str, batch: TokenBatch, candidates: Bool[Array, "B T"]
) -> UInt32[Array, "*S"]:
  """The number of candidates: of the mini-batch, or of each segment."""
  if within == "minibatch":
    return jnp.sum(candidates, dtype=jnp.uint32)
  where = _segments(within, batch)
  return segments.count(candidates, where, batch.num_responses)


def _quota(
  fraction: Scalar, min_tokens: int, tokens: UInt32[Array, "*S"]
) -> UInt32[Array, "*S"]:
  floor = jnp.where(jnp.asarray(fraction) > 0, min_tokens, 0)
  count = quota.floor_share(fraction, tokens)
  return jnp.maximum(count, floor.astype(jnp.uint32))


def _smallest(
  keys: UInt32[Array, "B T"],
  candidates: Bool[Array, "B T"],
  count: UInt32[Array, "*S"],
  within: str,
  batch: TokenBatch,
) -> Bool[Array, "B T"]:
  if within == "minibatch":
    return radix.smallest(keys, _identity(batch), candidates, count)
  where = _segments(within, batch)
  return segments.smallest(keys, _identity(batch), candidates, where, count)


def _kth_smallest(
  keys: UInt32[Array, "B T"],
  candidates: Bool[Array, "B T"],
  rank: UInt32[Array, "*S"],
  within: str,
  batch: TokenBatch,
) -> UInt32[Array, "*B_T"]:
  """The key of a rank, for each token if it depends on the token's segment."""
  if within == "minibatch":
    return radix.kth_smallest(keys, candidates, rank)
  where = _segments(within, batch)
  key = segments.kth_smallest(keys, candidates, where, rank)
  return key.at[where].get(mode="clip")


def _candidates(
  among: Selector | None, loss: TokenLoss, batch: TokenBatch, key: PRNGKey
) -> Bool[Array, "B T"]:
  if among is None:
    return batch.mask
  return parts.pick(among, loss, batch, key).chosen


@part("selector")
def top_fraction(
  score: Score,
  fraction: Scalar,
  min_tokens: int = 0,
  *,
  within: str = "minibatch",
  among: Selector | None = None,
  strict: bool = False,
) -> Selector:
  """Picks the `floor(fraction N)` tokens of highest score.

  Equal scores: lower token number first. NaN scores come last, and are counted
  in the metric `nan`. A token of score 0 is picked only beside others of
  another score: where every score is 0, none is.

  Args:
    score: what to rank by.
    fraction: share of the N tokens, in [0, 1]; 0 picks none. May be traced.
    min_tokens: pick at least so many, unless `fraction` is 0.
    within: the N tokens are those of the "minibatch", or the quota is one of
      each "response" or "group".
    among: the N tokens are those that this selector picks; None: all valid
      ones.
    strict: whether only tokens of a higher score than the last of these are
      picked, or than the highest where these are none.

  Raises:
    ValueError: for an argument outside its range.
  """
  _check("top_fraction", fraction, min_tokens, within)

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    scores = score(batch)
    candidates = _candidates(among, loss, batch, key)
    count = _quota(fraction, min_tokens, _tokens(within, batch, candidates))
    scored = _tokens(within, batch, candidates & (scores != 0))
    count = jnp.where(scored > 0, count, 0)
    keys = radix.ascending_bits(-scores)
    if strict:
      rank = jnp.maximum(count, 1)
      last = _kth_smallest(keys, candidates, rank, within, batch)
      chosen = candidates & (keys < last)
    else:
      chosen = _smallest(keys, candidates, count, within, batch)
    metrics = {
      "score": token_metric(scores, chosen),
      "nan": count_metric(batch.mask & jnp.isnan(scores)),
    }
    return Selection(chosen, metrics)

  return select


@part("selector")
def top_quantile(
  score: Score, fraction: Scalar, *, within: str = "minibatch"
) -> Selector:
  """Picks the tokens whose score reaches the `1 - fraction` quantile.

  The quantile is interpolated linearly between neighbors, so these are the
  `floor(fraction (N - 1)) + 1` highest of the N valid tokens and all that equal
  the last of them.

  Args:
    score: what to rank by.
    fraction: in [0, 1]; may be traced.
    within: as in `top_fraction`.

  Raises:
    ValueError: for an argument outside its range.
  """
  _check("top_quantile", fraction, within=within)

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    del loss, key
    keys = radix.ascending_bits(-score(batch))
    tokens = _tokens(within, batch, batch.mask)
    rank = quota.floor_share(fraction, jnp.maximum(tokens, 1) - 1) + 1
    cut = _kth_smallest(keys, batch.mask, rank, within, batch)
    return Selection(batch.mask & (keys <= cut))

  return select


@part("selector")
def random_band(
  score: Score,
  fraction: Scalar,
  low: float,
  high: float,
  *,
  min_tokens: int = 0,
  closed: bool = False,
  skip_clipped: bool = True,
) -> Selector:
  """Draws `floor(fraction N)` tokens uniformly from low < score < high.

  All candidates where there are no more than that. The draw is a function of
  the key and the token's number.

  Args:
    score: what the band is of.
    fraction: share of the N valid tokens, in [0, 1]; 0 picks none. May be
      traced.
    low: lower bound, in units of the score.
    high: upper bound, above `low`.
    min_tokens: pick at least so many, unless `fraction` is 0.
    closed: whether a score on a bound is a candidate (the paper) or not (verl).
    skip_clipped: whether tokens that the ratio clip has cut are no candidates
      (verl).

  Raises:
    ValueError: for an empty band, or a number outside its range.
  """
  _check("random_band", fraction, min_tokens)
  arguments.ordered("random_band", low=low, high=high)

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    scores = score(batch)
    if closed:
      inside = (scores >= low) & (scores <= high)
    else:
      inside = (scores > low) & (scores < high)
    candidates = batch.mask & inside
    if skip_clipped:
      candidates &= ~loss.clipped
    tokens = jnp.sum(batch.mask, dtype=jnp.uint32)
    count = _quota(fraction, min_tokens, tokens)
    # Distinct numbers, as the tokens' own are: there are no ties.
    drawn = radix.mix(key, _identity(batch))
    last = radix.kth_smallest(drawn, candidates, count)
    chosen = candidates & (drawn <= last) & (count > 0)
    metrics = {
      "candidates": count_metric(candidates),
      "score": token_metric(scores, chosen),
      "nan": count_metric(batch.mask & jnp.isnan(scores)),
    }
    return Selection(chosen, metrics)

  return select


@part("selector")
def random_as_many(
  counted: Selector, among: Selector | None = None
) -> Selector:
  """Draws as many tokens as another selector picks, uniformly from a pool.

  The control of a rule: what does it do beyond the number of its tokens? All
  tokens of the pool where it has no more than that.

  Args:
    counted: the selector whose tokens are counted in each mini-batch.
    among: picks the pool; None: all valid tokens.

  Raises:
    ValueError: if a selector is a factory that was not called.
  """
  parts.check(counted, "selector", 3)

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    count_key, pool_key, key = jax.random.split(key, 3)
    picked = parts.pick(counted, loss, batch, count_key).chosen
    pool = _candidates(among, loss, batch, pool_key)
    drawn = radix.mix(key, _identity(batch))
    count = jnp.sum(picked, dtype=jnp.uint32)
    chosen = radix.smallest(drawn, _identity(batch), pool, count)
    return Selection(chosen, {"candidates": count_metric(pool)})

  return select


@part("selector")
def top_covariance(
  fraction: Scalar,
  *,
  min_tokens: int = 0,
  logprob: str = "current",
  centering: str = "advantage",
) -> Selector:
  """Picks KL-Cov's tokens: the `fraction` of highest covariance.

  Args:
    fraction: share of the N valid tokens, in [0, 1]; 0 picks none. May be
      traced.
    min_tokens: as in `top_fraction`.
    logprob: as in `covariance_score`.
    centering: as in `covariance_score`.

  Raises:
    ValueError: for an argument outside its range.

  References:
    KL-Cov, arXiv 2505.22617, equation 12.
  """
  _check("top_covariance", fraction, min_tokens)
  return top_fraction(
    covariance_score(logprob, centering), fraction, min_tokens
  )


@part("selector")
def random_covariance(
  fraction: Scalar,
  cov_low: float = 1.0,
  cov_high: float = 5.0,
  *,
  min_tokens: int = 0,
  closed: bool = False,
  skip_clipped: bool = True,
  logprob: str = "current",
  centering: str = "advantage",
) -> Selector:
  """Picks Clip-Cov's tokens: a random `fraction` from a band of covariance.

  Args:
    fraction: share of the N valid tokens, in [0, 1]; 0 picks none. May be
      traced.
    cov_low: lower bound of the covariance, nats times advantage.
    cov_high: upper bound, above `cov_low`.
    min_tokens: as in `random_band`.
    closed: as in `random_band`.
    skip_clipped: as in `random_band`.
    logprob: as in `covariance_score`.
    centering: as in `covariance_score`.

  Raises:
    ValueError: for an empty band, or an argument outside its range.

  References:
    Clip-Cov, arXiv 2505.22617, equation 11.
  """
  _check("random_covariance", fraction, min_tokens)
  arguments.ordered("random_covariance", cov_low=cov_low, cov_high=cov_high)
  return random_band(
    covariance_score(logprob, centering),
    fraction,
    cov_low,
    cov_high,
    min_tokens=min_tokens,
    closed=closed,
    skip_clipped=skip_clipped,
  )


@part("selector")
def top_entropy(
  fraction: Scalar = 0.2, *, within: str = "minibatch"
) -> Selector:
  """Picks the tokens of highest entropy, as in `top_quantile`.

  Args:
    fraction: in [0, 1]; may be traced.
    within: as in `top_fraction`.

  Raises:
    ValueError: for an argument outside its range.

  References:
    High-entropy minority tokens, arXiv 2506.01939.
  """
  _check("top_entropy", fraction, within=within)
  return top_quantile(entropy_score, fraction, within=within)
