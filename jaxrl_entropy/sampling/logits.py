"""From logits to one token: temperature, top-k, top-p, min-p, and the draw.

Three distributions of a row matter and are told apart everywhere:

* raw: `softmax(logits)`, what the model says;
* tempered: `softmax(logits / temperature)`, whose entropy is reported and which
  the trainer recomputes;
* sampled: the tempered one without the tokens that top-k, top-p and min-p
  exclude, renormalised. The token is drawn from it.
"""

from typing import Any, TypeAlias

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

BLOCK = 256
"""Tokens of the vocabulary whose mass is summed before one of them is drawn."""


AnyArray: TypeAlias = Any
"""A jax.Array in a program; a NumPy array before and after it, on the host."""


@struct.dataclass
class Controls:
  """How each row is sampled.

  Attributes:
    temperature: divides the logits; 0: the most likely token, always.
    top_k: only the k most likely tokens; 0: all.
    top_p: only the most likely tokens that together reach this mass; 1: all.
    min_p: only tokens at least this often as likely as the most likely one.
  """

  temperature: Float[AnyArray, "B"]
  top_k: Int[AnyArray, "B"]
  top_p: Float[AnyArray, "B"]
  min_p: Float[AnyArray, "B"]


@struct.dataclass
class Draw:
  """One token a row, and how likely it was, nats.

  Attributes:
    token: the id.
    logp: under the sampled distribution.
    raw_logp: under the raw distribution.
    entropy: of the tempered distribution over the whole vocabulary.
  """

  token: Int[AnyArray, "B"]
  logp: Float[AnyArray, "B"]
  raw_logp: Float[AnyArray, "B"]
  entropy: Float[AnyArray, "B"]


def draw(
  logits: Float[Array, "B V"],
  controls: Controls,
  uniform: Float[Array, "B 2"],
) -> Draw:
  """Samples every row by inverting its cumulative distribution.

  Args:
    logits: of the next token; -inf excludes a token.
    controls: of each row.
    uniform: two independent numbers in [0, 1) for each row.
  """
  logits = logits.astype(jnp.float32)
  top = logits.max(axis=-1, keepdims=True)
  greedy = controls.temperature == 0
  heat = jnp.where(greedy, 1.0, controls.temperature)
  # Nothing but reductions reads all logits: what they reduce is fused into
  # them, and no second array of that size is written.
  cutoff = jax.lax.cond(
    _any_filter(controls), cutoffs, _no_cutoffs, logits, top, controls
  )
  kept = logits - top >= cutoff[:, None]
  # Of tokens that tie for the most likely, the first.
  uniform = jnp.where(greedy[:, None], 0.0, uniform)
  token, logp = _invert(jnp.where(kept, logits, -jnp.inf), top, heat, uniform)
  raw = _at(logits - top, token) - jnp.log(jnp.exp(logits - top).sum(axis=-1))
  return Draw(
    token,
    jnp.where(greedy, 0.0, logp),
    raw,
    jnp.where(greedy, 0.0, _entropy(logits, top, heat)),
  )


def cutoffs(
  logits: Float[Array, "B V"], top: Float[Array, "B 1"], controls: Controls
) -> Float[Array, "B"]:
  """What `logits - top` of a token must reach to be kept.

  Not divided by the temperature: XLA may round a quotient in two ways in two
  places, and the last token to be kept must be found equal to itself.

  Top-k, then top-p among what is left, then min-p. Tokens that tie with the
  last one kept are kept too. At temperature 0 the most likely token is left,
  with its ties.

  Args:
    logits: before the temperature.
    top: the largest of each row.
    controls: of each row.
  """
  greedy = controls.temperature == 0
  heat = jnp.where(greedy, 1.0, controls.temperature)
  back = logits - top
  count = jnp.where(controls.top_k > 0, controls.top_k, logits.shape[-1])
  count = jnp.where(greedy, 1, count).astype(jnp.float32)
  likeliest = _cutoff(back, jnp.ones_like(back), count)
  kept = jnp.where(back >= likeliest[:, None], back, -jnp.inf)
  mass = jnp.exp(kept / heat[:, None])
  nucleus = _cutoff(kept, mass, controls.top_p * mass.sum(axis=-1))
  nucleus = jnp.where(controls.top_p < 1, nucleus, -jnp.inf)
  least = jnp.log(controls.min_p) * heat
  return jnp.maximum(jnp.maximum(likeliest, nucleus), least)


def _no_cutoffs(logits, top, controls):
  del logits, top
  return jnp.full(controls.top_p.shape, -jnp.inf)


def _any_filter(controls: Controls) -> Bool[Array, ""]:
  filters = (controls.top_k > 0) | (controls.top_p < 1) | (controls.min_p > 0)
  return (filters | (controls.temperature == 0)).any()


def _cutoff(
  x: Float[Array, "B V"],
  weights: Float[Array, "B V"],
  target: Float[Array, "B"],
) -> Float[Array, "B"]:
  """The largest c for which the weights at `x >= c` sum to the target.

  -inf where the whole row does not. Bisection on the bits of a float, which
  order as the values do for `x <= 0`: exact, no sort, and the only traffic
  between shards of the vocabulary is the sums.
  """

  def narrow(_, bits):
    low, high = bits  # of |c|: low reaches too little, high enough (or is inf)
    middle = low + (high - low) // 2
    cutoff = -jax.lax.bitcast_convert_type(middle, jnp.float32)
    reached = jnp.where(x >= cutoff[:, None], weights, 0.0).sum(-1) >= target
    return jnp.where(reached, low, middle), jnp.where(reached, middle, high)

  # A share of the mass may underflow, and a target of 0 needs no token at all.
  target = jnp.maximum(target, jnp.finfo(jnp.float32).tiny)
  infinity = jnp.int32(0x7F800000)
  low = jnp.full(target.shape, -1, jnp.int32)
  high = jnp.full(target.shape, infinity, jnp.int32)
  _, high = jax.lax.fori_loop(0, 32, narrow, (low, high))
  return -jax.lax.bitcast_convert_type(high, jnp.float32)


def _invert(
  logits: Float[Array, "B V"],
  top: Float[Array, "B 1"],
  heat: Float[Array, "B"],
  uniform: Float[Array, "B 2"],
) -> tuple[Int[Array, "B"], Float[Array, "B"]]:
  """A token of each row, and its log-prob.

  Two levels, first a block of tokens and then a token of it, so that no
  cumulative sum runs over the vocabulary.
  """
  rows, vocabulary = logits.shape
  size = min(BLOCK, vocabulary)
  pad = ((0, 0), (0, -vocabulary % size))
  logits = jnp.pad(logits, pad, constant_values=-jnp.inf)
  blocks = logits.reshape(rows, -1, size)
  mass = jnp.exp((blocks - top[..., None]) / heat[:, None, None]).sum(axis=-1)
  block = _pick(mass, uniform[:, 0])
  chosen = jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]
  tempered = (chosen - top) / heat[:, None]
  index = _pick(jnp.exp(tempered), uniform[:, 1])
  return (
    block * size + index,
    _at(tempered, index) - jnp.log(mass.sum(axis=-1)),
  )


def _pick(
  mass: Float[Array, "B N"], uniform: Float[Array, "B"]
) -> Int[Array, "B"]:
  """The first index whose cumulative mass passes the uniform share of it."""
  cumulative = jnp.cumsum(mass, axis=-1)
  total = cumulative[:, -1]
  # A share that rounds up to the whole would pass the end.
  share = jnp.minimum(uniform * total, jnp.nextafter(total, 0.0))
  index = jnp.argmax(cumulative > share[:, None], axis=-1)
  return index.astype(jnp.int32)


def _entropy(
  logits: Float[Array, "B V"], top: Float[Array, "B 1"], heat: Float[Array, "B"]
) -> Float[Array, "B"]:
  tempered = (logits - top) / heat[:, None]
  p = jnp.exp(tempered)
  total = p.sum(axis=-1)
  # The bound keeps an excluded token's 0 * -inf at 0.
  weighted = (p * jnp.maximum(tempered, -1e4)).sum(axis=-1)
  return jnp.log(total) - weighted / total


def _at(x: Float[Array, "B V"], index: Int[Array, "B"]) -> Float[Array, "B"]:
  return jnp.take_along_axis(x, index[:, None], axis=-1)[:, 0]
