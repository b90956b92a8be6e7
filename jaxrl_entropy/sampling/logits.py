"""Sampling one token from logits: temperature, top-k, top-p, min-p.

Three distributions of a row are told apart everywhere:

* raw: `softmax(logits)`;
* tempered: `softmax(logits / temperature)`, whose entropy is reported and which
  the trainer recomputes;
* sampled: the tempered one without the tokens that top-k, top-p and min-p
  exclude, renormalized; or a uniform one. The token is drawn from it.
"""

import dataclasses
from typing import Any, TypeAlias

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxrl_entropy.ops.nucleus import cutoff

BLOCK = 256
"""Tokens of the vocabulary whose mass is summed before one of them is drawn."""


AnyArray: TypeAlias = Any
"""A jax.Array inside a program; a NumPy array on the host."""


@struct.dataclass
class Controls:
  """Sampling settings of each row.

  Attributes:
    temperature: divides the logits; 0 takes the most likely token.
    top_k: sample among the k most likely tokens; 0 turns it off.
    top_p: sample among the most likely tokens that reach this total
      probability; 1 turns it off.
    min_p: sample among tokens at least this fraction as likely as the most
      likely one; 0 turns it off.
    uniform_top: draw uniformly among that many of the most likely tokens, in
      place of the filters above; 0 turns it off.
    uniform_floor: raw probability that these need; where none has it, all of
      them are drawn from.
    uniform_from: position of the last token from which on this is done.
  """

  temperature: Float[AnyArray, "B"]
  top_k: Int[AnyArray, "B"]
  top_p: Float[AnyArray, "B"]
  min_p: Float[AnyArray, "B"]
  uniform_top: Int[AnyArray, "B"]
  uniform_floor: Float[AnyArray, "B"]
  uniform_from: Int[AnyArray, "B"]

  def at(self, position: Int[Array, "B"]) -> "Controls":
    """Returns the settings of the draws after tokens at these positions.

    Args:
      position: place of each row's last token in its sequence, from 0.
    """
    on = position >= self.uniform_from
    uniform_top = jnp.where(on, self.uniform_top, 0)
    return dataclasses.replace(self, uniform_top=uniform_top)


@struct.dataclass
class Draw:
  """One token per row with its log-probs, nats.

  Attributes:
    token: the id.
    logp: under the sampled distribution.
    tempered_logp: under the tempered distribution.
    raw_logp: under the raw distribution.
    entropy: of the tempered distribution.
  """

  token: Int[AnyArray, "B"]
  logp: Float[AnyArray, "B"]
  tempered_logp: Float[AnyArray, "B"]
  raw_logp: Float[AnyArray, "B"]
  entropy: Float[AnyArray, "B"]


def draw(
  logits: Float[Array, "B V"],
  controls: Controls,
  uniform: Float[Array, "B 2"],
) -> Draw:
  """Samples a token per row by inverting the cumulative distribution.

  Args:
    logits: of the next token; -inf excludes a token.
    controls: sampling settings of each row.
    uniform: two independent numbers in [0, 1) per row.
  """
  logits = logits.astype(jnp.float32)
  top = logits.max(axis=-1, keepdims=True)
  greedy = controls.temperature == 0
  temperature = jnp.where(greedy, 1.0, controls.temperature)
  # Every consumer of the full logits is a reduction, into which XLA fuses the
  # elementwise work; no second [B, V] array is written.
  cutoff = jax.lax.cond(
    _any_filter(controls), cutoffs, _no_cutoffs, logits, top, controls
  )
  kept = logits - top >= cutoff[:, None]
  even = jnp.where((controls.uniform_top > 0)[:, None], top, logits)
  # With u = 0 the first of the most likely tokens is drawn.
  uniform = jnp.where(greedy[:, None], 0.0, uniform)
  token, logp = _invert(
    jnp.where(kept, even, -jnp.inf), top, temperature, uniform
  )
  chosen = _at(logits - top, token)
  log_total, entropy = _normaliser_and_entropy(logits, top, temperature)
  return Draw(
    token,
    jnp.where(greedy, 0.0, logp),
    jnp.where(greedy, 0.0, chosen / temperature - log_total),
    chosen - jnp.log(jnp.exp(logits - top).sum(axis=-1)),
    jnp.where(greedy, 0.0, entropy),
  )


def cutoffs(
  logits: Float[Array, "B V"], top: Float[Array, "B 1"], controls: Controls
) -> Float[Array, "B"]:
  """Computes the smallest `logits - top` of a token that is kept.

  Applies top-k, then top-p to what is left, then min-p. Tokens that tie with
  the last one kept are kept too. At temperature 0 only the most likely token
  and its ties are left. `uniform_top` replaces these filters.

  The cutoff is not divided by the temperature: XLA may round a quotient
  differently in two places, and the last kept token must compare equal to
  itself.

  Args:
    logits: before the temperature.
    top: the largest logit of each row.
    controls: sampling settings of each row.
  """
  greedy = controls.temperature == 0
  temperature = jnp.where(greedy, 1.0, controls.temperature)
  below_top = logits - top
  uniform = controls.uniform_top > 0
  most = jnp.where(uniform, controls.uniform_top, controls.top_k)
  count = jnp.where(most > 0, most, logits.shape[-1])
  count = jnp.where(greedy, 1, count).astype(jnp.float32)
  top_k = cutoff(below_top, jnp.ones_like(below_top), count)
  kept = jnp.where(below_top >= top_k[:, None], below_top, -jnp.inf)
  mass = jnp.exp(kept / temperature[:, None])
  top_p = cutoff(kept, mass, controls.top_p * mass.sum(axis=-1))
  top_p = jnp.where(controls.top_p < 1, top_p, -jnp.inf)
  min_p = jnp.log(controls.min_p) * temperature
  filtered = jnp.maximum(jnp.maximum(top_k, top_p), min_p)
  log_total = jnp.log(jnp.exp(below_top).sum(axis=-1))
  floor = jnp.log(controls.uniform_floor) + log_total
  likely = jnp.where(floor <= 0, jnp.maximum(top_k, floor), top_k)
  return jnp.where(uniform, likely, filtered)


def _no_cutoffs(logits, top, controls):
  del logits, top
  return jnp.full(controls.top_p.shape, -jnp.inf)


def _any_filter(controls: Controls) -> Bool[Array, ""]:
  filters = (controls.top_k > 0) | (controls.top_p < 1) | (controls.min_p > 0)
  filters |= controls.uniform_top > 0
  return (filters | (controls.temperature == 0)).any()


def _invert(
  logits: Float[Array, "B V"],
  top: Float[Array, "B 1"],
  temperature: Float[Array, "B"],
  uniform: Float[Array, "B 2"],
) -> tuple[Int[Array, "B"], Float[Array, "B"]]:
  """Draws a token per row and returns it with its log-prob.

  First a block of tokens is drawn and then a token of the block, so that no
  cumulative sum runs over the vocabulary.
  """
  rows, vocab_size = logits.shape
  size = min(BLOCK, vocab_size)
  pad = ((0, 0), (0, -vocab_size % size))
  logits = jnp.pad(logits, pad, constant_values=-jnp.inf)
  blocks = logits.reshape(rows, -1, size)
  scaled = (blocks - top[..., None]) / temperature[:, None, None]
  mass = jnp.exp(scaled).sum(axis=-1)
  block = _pick(mass, uniform[:, 0])
  chosen = jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]
  tempered = (chosen - top) / temperature[:, None]
  index = _pick(jnp.exp(tempered), uniform[:, 1])
  return (
    block * size + index,
    _at(tempered, index) - jnp.log(mass.sum(axis=-1)),
  )


def _pick(
  mass: Float[Array, "B N"], uniform: Float[Array, "B"]
) -> Int[Array, "B"]:
  """Returns the first index whose cumulative mass exceeds uniform * total."""
  cumulative = jnp.cumsum(mass, axis=-1)
  total = cumulative[:, -1]
  # A product that rounds up to the total would exceed every entry.
  threshold = jnp.minimum(uniform * total, jnp.nextafter(total, 0.0))
  index = jnp.argmax(cumulative > threshold[:, None], axis=-1)
  return index.astype(jnp.int32)


def _normaliser_and_entropy(
  logits: Float[Array, "B V"],
  top: Float[Array, "B 1"],
  temperature: Float[Array, "B"],
) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
  """Returns log(sum(exp(tempered))), relative to the top, and the entropy."""
  tempered = (logits - top) / temperature[:, None]
  p = jnp.exp(tempered)
  total = p.sum(axis=-1)
  # The bound turns 0 * -inf of an excluded token into 0.
  weighted = (p * jnp.maximum(tempered, -1e4)).sum(axis=-1)
  return jnp.log(total), jnp.log(total) - weighted / total


def _at(x: Float[Array, "B V"], index: Int[Array, "B"]) -> Float[Array, "B"]:
  return jnp.take_along_axis(x, index[:, None], axis=-1)[:, 0]
