"""Prompt look-up drafts: guesses of the next tokens from the sequence itself.

A draft is what followed the latest earlier occurrence of the sequence's last
tokens. One forward pass verifies it: the model draws a token at each drafted
position, with the random numbers of that position, and the draft counts as long
as it equals the tokens drawn. A completion is therefore the same with and
without drafts, up to the rounding of sums; only the number of passes changes.

References: Leviathan et al., "Fast Inference from Transformers via Speculative
Decoding" (arXiv 2211.17192); Saxena, "Prompt Lookup Decoding" (2023).
"""

from flax import struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxrl_entropy.sampling.logits import AnyArray

MIN_MATCH, MAX_MATCH = 2, 4
"""Tokens at the end of a sequence that an earlier occurrence must repeat."""

HIT_RATE = 0.1
"""A sequence's hit rate before its first draft: too low to act upon after one
chance hit."""

_MEMORY = 0.85
"""Weight of the past in the hit rate, per draft."""


class DraftState(struct.PyTreeNode):
  """Drafting of the sequences in a decode program.

  Attributes:
    history: tokens of each sequence, with room for as many as it may get and
      one more draft; the program returns none of them.
    hit_rate: how often the first token of a draft was right, a running average.
    cost: [1], duration of a step with drafts in steps without.
    drafted: drafted tokens that were verified.
    accepted: drafted tokens that were right.
    steps: [1], forward passes.
    draft_steps: [1], forward passes that verified drafts.
  """

  history: Int[AnyArray, "B L"]
  hit_rate: Float[AnyArray, "B"]
  cost: Float[AnyArray, "1"]
  drafted: Int[AnyArray, "B"]
  accepted: Int[AnyArray, "B"]
  steps: Int[AnyArray, "1"]
  draft_steps: Int[AnyArray, "1"]


def propose(
  history: Int[Array, "B L"], length: Int[Array, "B"], count: int
) -> tuple[Int[Array, "B K"], Bool[Array, "B"]]:
  """Proposes the tokens that follow each sequence.

  The longest match of the last `MAX_MATCH` tokens wins, then the latest. A
  draft that reaches the end of its sequence continues periodically.

  Args:
    history: tokens of each sequence; the values after its end do not matter.
    length: tokens of each sequence.
    count: number of tokens to propose, K.

  Returns:
    The drafts, and which sequences have one.
  """
  width = history.shape[1]
  end = jnp.arange(width, dtype=jnp.int32)[None]
  last = length[:, None] - 1
  equal = end < last
  matched = jnp.zeros(history.shape, jnp.int32)
  for back in range(MAX_MATCH):
    wanted = jnp.take_along_axis(history, jnp.maximum(last - back, 0), axis=1)
    shifted = jnp.pad(history, ((0, 0), (back, 0)))[:, :width]
    equal = equal & (shifted == wanted) & (end >= back)
    matched = matched + equal.astype(jnp.int32)
  score = jnp.where(matched >= MIN_MATCH, matched * width + end, -1)
  best = jnp.argmax(score, axis=1).astype(jnp.int32)[:, None]
  exists = jnp.take_along_axis(score, best, axis=1)[:, 0] >= 0
  period = jnp.maximum(last - best, 1)
  index = best + 1 + jnp.arange(count, dtype=jnp.int32)[None] % period
  return jnp.take_along_axis(history, index, axis=1), exists


def expected_hits(hit_rate: Float[Array, "B"], count: int) -> Float[Array, "B"]:
  """Returns the expected number of accepted tokens of a draft of `count`.

  Args:
    hit_rate: probability that a sequence's next drafted token is right, given
      that those before it were.
    count: tokens of a draft, K.

  Returns:
    `sum_k hit_rate^k` for k from 1 to K, tokens.
  """
  return sum(
    (hit_rate**k for k in range(1, count + 1)), jnp.zeros_like(hit_rate)
  )


def update_hit_rate(
  hit_rate: Float[Array, "B"], exists: Bool[Array, "B"], hit: Bool[Array, "B"]
) -> Float[Array, "B"]:
  """Averages whether the first token of a draft was right.

  This is known after every step, whether the draft was verified or not.

  Args:
    hit_rate: average so far of each sequence, in [0, 1].
    exists: whether the sequence had a draft; otherwise its average stays.
    hit: whether the draft's first token is the one that was drawn.

  Returns:
    The new averages: exponential, with a weight of 0.15 for this draft.
  """
  new = _MEMORY * hit_rate + (1 - _MEMORY) * hit.astype(hit_rate.dtype)
  return jnp.where(exists, new, hit_rate)
