"""Selectors: which tokens of the mini-batch a rule acts on.

Every quota, quantile and draw is over the whole mini-batch on the whole mesh.
A token is identified by its response and its place in it, so the same tokens
are picked however rows are ordered, packed, padded or sharded.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from jaxrl_entropy import arguments
from jaxrl_entropy.losses import parts
from jaxrl_entropy.losses.base import (
  PRNGKey,
  Scalar,
  Selection,
  Selector,
  TokenLoss,
  count_metric,
  response_mean,
  token_metric,
)
from jaxrl_entropy.losses.parts import part
from jaxrl_entropy.ops import covariance
from jaxrl_entropy.ops.selection import quota, radix
from jaxrl_entropy.types import TokenBatch

Score = Callable[[TokenBatch], Float[Array, "B T"]]


def covariance_score(
  logprob: str = "current", centering: str = "advantage"
) -> Score:
  """Returns a score: each token's part of the covariance of eq. 10.

  Args:
    logprob: "current" policy (paper), or "old": the same at the first update
      after a rollout, stale later.
    centering: the log-prob is paired with the centred "advantage" (eq. 10, the
      change of logits under a natural policy gradient), or with the centred
      "pi_advantage" pi A (the change under a plain policy gradient).

  Returns:
    A function of a batch, [B, T], without gradient.

  Raises:
    ValueError: for another `logprob` or `centering`.

  References:
    arXiv 2505.22617, equation 10; Theorems 2 and 1.
  """
  owner = "covariance_score"
  arguments.one_of(owner, ("current", "old"), logprob=logprob)
  arguments.one_of(owner, ("advantage", "pi_advantage"), centering=centering)

  def score(batch: TokenBatch) -> Float[Array, "B T"]:
    logp = batch.logp if logprob == "current" else batch.old_logp
    logp = jax.lax.stop_gradient(logp)
    weight = jnp.exp(logp) if centering == "pi_advantage" else 1.0
    return covariance.token_covariance(
      logp, weight * batch.advantages, batch.mask
    )

  return score


def entropy_score(batch: TokenBatch) -> Float[Array, "B T"]:
  """Returns the full-vocabulary entropy of each token's distribution, nats."""
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


def _check_quota(owner: str, fraction: Scalar, min_tokens: int = 0) -> None:
  arguments.within(owner, 0.0, 1.0, fraction=fraction)
  arguments.within(owner, 0, min_tokens=min_tokens)


def _quota(
  fraction: Scalar, min_tokens: int, batch: TokenBatch
) -> UInt32[Array, ""]:
  tokens = jnp.sum(batch.mask, dtype=jnp.uint32)
  count = quota.floor_share(fraction, tokens)
  floor = jnp.where(jnp.asarray(fraction) > 0, min_tokens, 0)
  return jnp.maximum(count, floor.astype(jnp.uint32))


@part("selector")
def top_fraction(
  score: Score, fraction: Scalar, min_tokens: int = 0
) -> Selector:
  """Picks the `floor(fraction N)` valid tokens of highest score.

  Equal scores: lower token number first. NaN scores come last, and are counted
  in the metric `nan`. Nothing is picked where every score is 0.

  Args:
    score: what to rank by.
    fraction: share of the N valid tokens, in [0, 1]; 0 picks none. May be
      traced.
    min_tokens: pick at least so many, unless `fraction` is 0.

  Raises:
    ValueError: for a fraction or a number outside its range.
  """
  _check_quota("top_fraction", fraction, min_tokens)

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
        "nan": count_metric(batch.mask & jnp.isnan(scores)),
      },
    )

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
  _check_quota("random_band", fraction, min_tokens)
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
    count = _quota(fraction, min_tokens, batch)
    # Distinct numbers, as the tokens' own are: there are no ties.
    drawn = radix.mix(key, _identity(batch))
    last = radix.kth_smallest(drawn, candidates, count)
    chosen = candidates & (drawn <= last) & (count > 0)
    return Selection(
      chosen,
      {
        "candidates": count_metric(candidates),
        "score": token_metric(scores, chosen),
        "nan": count_metric(batch.mask & jnp.isnan(scores)),
      },
    )

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
  _check_quota("top_covariance", fraction, min_tokens)
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
  _check_quota("random_covariance", fraction, min_tokens)
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
def top_quantile(score: Score, fraction: Scalar) -> Selector:
  """Picks the tokens whose score reaches the `1 - fraction` quantile.

  The quantile is interpolated linearly between neighbours, so these are the
  `floor(fraction (N - 1)) + 1` highest of the N valid tokens and all that equal
  the last of them.

  Args:
    score: what to rank by.
    fraction: in [0, 1]; may be traced.

  Raises:
    ValueError: for a fraction outside its range.
  """
  _check_quota("top_quantile", fraction)

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    del loss, key
    keys = radix.ascending_bits(-score(batch))
    tokens = jnp.sum(batch.mask, dtype=jnp.uint32)
    steps = jnp.maximum(tokens, 1) - 1
    rank = quota.floor_share(fraction, steps) + 1
    cut = radix.kth_smallest(keys, batch.mask, rank)
    return Selection(batch.mask & (keys <= cut))

  return select


@part("selector")
def top_entropy(fraction: Scalar = 0.2) -> Selector:
  """Picks the tokens of highest entropy, as in `top_quantile`.

  Args:
    fraction: in [0, 1]; may be traced.

  Raises:
    ValueError: for a fraction outside its range.

  References:
    High-entropy minority tokens, arXiv 2506.01939.
  """
  _check_quota("top_entropy", fraction)
  return top_quantile(entropy_score, fraction)


@part("selector")
def rising_tokens(clip_low: float, clip_high: float) -> Selector:
  """Picks tokens of A > 0 whose ratio is in (1 + clip_low, 1 + clip_high].

  A symmetric clip of `clip_low` stops them and Clip-Higher lets them through.
  Metric: `covariance`, the mean of their parts of the covariance.

  Args:
    clip_low: half-width of the symmetric clip, at least 0.
    clip_high: upper bound of Clip-Higher, at least 0.

  Raises:
    ValueError: for a bound outside its range.
  """
  arguments.within("rising_tokens", 0.0, clip_low=clip_low, clip_high=clip_high)
  score = covariance_score()

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    del key
    excess = loss.ratio - 1.0
    between = (clip_low < excess) & (excess <= clip_high)
    chosen = batch.mask & (batch.advantages > 0) & between
    covariances = token_metric(score(batch), chosen)
    return Selection(chosen, {"covariance": covariances})

  return select


@part("selector")
def complement(selector: Selector) -> Selector:
  """Picks the valid tokens that `selector` does not pick.

  Args:
    selector: the selector to invert.

  Raises:
    ValueError: if the selector is a factory that was not called.
  """
  parts.check(selector, "selector", 3)

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    picked = parts.call(selector, loss, batch, key)
    chosen = picked.chosen if isinstance(picked, Selection) else picked
    return Selection(batch.mask & ~chosen)

  return select


@part("selector")
def drifted_responses(threshold: float, logprob: str = "old") -> Selector:
  """Picks responses of A < 0 that the policy has left behind.

  Their mean of `behaviour logp - logp` exceeds `threshold`: taken out of the
  loss, they cannot push an already unlikely response further off.

  Args:
    threshold: nats per token.
    logprob: the behaviour's log-probs are the "old" or the "sampler" ones.

  Raises:
    ValueError: for another `logprob`.

  References:
    DeepSeek-V3.2, arXiv 2512.02556.
  """
  arguments.one_of("drifted_responses", ("old", "sampler"), logprob=logprob)

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    del loss, key
    behaviour = batch.old_logp if logprob == "old" else batch.sampler_logp
    drift = response_mean(behaviour - batch.logp, batch)
    return Selection((drift > threshold) & (batch.advantages < 0))

  return select
