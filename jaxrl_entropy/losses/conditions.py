"""Selectors by a condition on the token, its response or its group."""

import jax
import jax.numpy as jnp

from jaxrl_entropy import arguments
from jaxrl_entropy.losses import parts
from jaxrl_entropy.losses.base import (
  PRNGKey,
  Selection,
  Selector,
  TokenLoss,
  response_mean,
  token_metric,
)
from jaxrl_entropy.losses.parts import part
from jaxrl_entropy.losses.scores import covariance_score
from jaxrl_entropy.types import TokenBatch


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
    picked = parts.pick(selector, loss, batch, key)
    return Selection(batch.mask & ~picked.chosen)

  return select


@part("selector")
def all_of(*selectors: Selector) -> Selector:
  """Picks the tokens that every one of `selectors` picks.

  Args:
    *selectors: at least one.

  Raises:
    ValueError: for none, or a factory that was not called.
  """
  if not selectors:
    raise ValueError("all_of needs at least one selector")
  for selector in selectors:
    parts.check(selector, "selector", 3)

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    chosen = batch.mask
    for tag, selector in enumerate(selectors):
      own = jax.random.fold_in(key, tag)
      chosen &= parts.pick(selector, loss, batch, own).chosen
    return Selection(chosen)

  return select


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
def drifted_responses(threshold: float, logprob: str = "old") -> Selector:
  """Picks responses of A < 0 that the policy has left behind.

  Their mean of `behavior logp - logp` exceeds `threshold`: taken out of the
  loss, they cannot push an already unlikely response further off.

  Args:
    threshold: nats per token.
    logprob: the behavior's log-probs are the "old" or the "sampler" ones.

  Raises:
    ValueError: for another `logprob`, or a threshold that is not finite.

  References:
    DeepSeek-V3.2, arXiv 2512.02556.
  """
  arguments.one_of("drifted_responses", ("old", "sampler"), logprob=logprob)
  arguments.finite("drifted_responses", threshold=threshold)

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    del loss, key
    behavior = batch.old_logp if logprob == "old" else batch.sampler_logp
    drift = response_mean(behavior - batch.logp, batch)
    return Selection((drift > threshold) & (batch.advantages < 0))

  return select


@part("selector")
def rewarded_tokens() -> Selector:
  """Picks the tokens of A > 0, which an update makes more likely."""

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    del loss, key
    return Selection(batch.advantages > 0)

  return select


@part("selector")
def likely_tokens(probability: float = 0.5) -> Selector:
  """Picks the tokens to which the current policy gives a probability or more.

  Args:
    probability: in [0, 1].

  Raises:
    ValueError: for a number outside its range.
  """
  arguments.within("likely_tokens", 0.0, 1.0, probability=probability)

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    del loss, key
    return Selection(jnp.exp(batch.logp) >= probability)

  return select


@part("selector")
def correct_responses() -> Selector:
  """Picks the tokens of responses that the verifier accepts."""

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    del loss, key
    return Selection(batch.correct > 0.5)

  return select


@part("selector")
def hard_groups(accuracy: float) -> Selector:
  """Picks the tokens of groups with less than a share of correct responses.

  Args:
    accuracy: the share, in [0, 1].

  Raises:
    ValueError: for a share outside its range.
  """
  arguments.within("hard_groups", 0.0, 1.0, accuracy=accuracy)

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    del loss, key
    return Selection(batch.group_accuracy < accuracy)

  return select


@part("selector")
def mastered_groups() -> Selector:
  """Picks the tokens of groups whose responses are all correct."""

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    del loss, key
    return Selection(batch.group_accuracy >= 1.0)

  return select


@part("selector")
def entropy_ratio_outside(
  entropy_low: float, entropy_high: float, floor: float = 1e-3
) -> Selector:
  """Picks tokens whose entropy has moved too far since the rollout.

  Those with `H / H_old` outside of `[1 - entropy_low, 1 + entropy_high]`; the
  ratio of two entropies near 0 is noise, so both are held above `floor` first.

  Args:
    entropy_low: how far below 1 the ratio may fall, in [0, 1].
    entropy_high: how far above 1 it may rise, at least 0.
    floor: smallest entropy that is told apart, nats, above 0.

  Raises:
    ValueError: for a bound outside its range.

  References:
    ERC, arXiv 2512.05591.
  """
  owner = "entropy_ratio_outside"
  arguments.within(owner, 0.0, 1.0, entropy_low=entropy_low)
  arguments.within(owner, 0.0, entropy_high=entropy_high)
  arguments.above(owner, 0.0, floor=floor)

  def select(loss: TokenLoss, batch: TokenBatch, key: PRNGKey) -> Selection:
    del loss, key
    now, before = (
      jnp.maximum(entropy, floor)
      for entropy in (batch.entropy, batch.old_entropy)
    )
    ratio = now / before
    inside = (ratio >= 1.0 - entropy_low) & (ratio <= 1.0 + entropy_high)
    return Selection(~inside)

  return select
