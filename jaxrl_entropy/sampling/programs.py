"""What the device does for the sampler: pure functions over slots and pages.

Each sees one part of the mesh's data axes; `engine` lifts them to all parts.
"""

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt

from jaxrl_entropy import sharding
from jaxrl_entropy.models import decoding
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.decoding import Cache
from jaxrl_entropy.ops import paged_attention
from jaxrl_entropy.ops.paged_attention import View
from jaxrl_entropy.sampling import logits as logits_lib
from jaxrl_entropy.sampling.logits import AnyArray, Controls, Draw
from jaxrl_entropy.types import Params


@struct.dataclass
class Chunk:
  """Consecutive tokens of some prompts.

  Attributes:
    tokens: a prompt's tokens in each row, padded at the end.
    table: pages of each prompt.
    start: position of each row's first token.
    count: tokens of each row that are real.
  """

  tokens: Int[AnyArray, "R C"]
  table: Int[AnyArray, "R M"]
  start: Int[AnyArray, "R"]
  count: Int[AnyArray, "R"]


@struct.dataclass
class Copies:
  """Pages to copy; the first `count[0]` entries of a part are real."""

  source: Int[AnyArray, "B"]
  target: Int[AnyArray, "B"]
  count: Int[AnyArray, "1"]


@struct.dataclass
class Slots:
  """The sequences being decoded, one a slot.

  Attributes:
    token: the last token of the sequence, not yet in the cache.
    position: its position.
    budget: tokens to produce in this call; 0: an idle slot.
    seed: of the request.
    sample: which of the request's continuations.
    stop_ids: tokens that end the sequence; -1 in unused places.
    controls: sampling controls.
    table: pages of the sequence.
    patience: [1], leave when this many sequences have ended.
  """

  token: Int[AnyArray, "B"]
  position: Int[AnyArray, "B"]
  budget: Int[AnyArray, "B"]
  seed: UInt[AnyArray, "B"]
  sample: Int[AnyArray, "B"]
  stop_ids: Int[AnyArray, "B S"]
  controls: Controls
  table: Int[AnyArray, "B M"]
  patience: Int[AnyArray, "1"]

  @property
  def active(self) -> Bool[AnyArray, "B"]:
    return self.budget > 0


@struct.dataclass
class Produced:
  """What `decode` sampled; slot b holds `count[b]` tokens.

  Attributes:
    draws: tokens and their log-probs, [B, steps].
    count: tokens of each slot.
    stopped: the slot's last token is one of its stop ids.
  """

  draws: Draw
  count: Int[AnyArray, "B"]
  stopped: Bool[AnyArray, "B"]


def prefill(
  weights: Params,
  cache: Cache,
  chunk: Chunk,
  *,
  config: TransformerConfig,
  span: int,
) -> Cache:
  """The cache with the chunk's tokens in it."""
  columns = paged_attention.columns(chunk.start, chunk.count, cache[0].size)
  columns = jax.lax.pmax(columns, sharding.ROWS)
  view = View(chunk.table, chunk.start, chunk.count, columns, span)
  _, cache = decoding.forward(weights, config, cache, chunk.tokens, view)
  return cache


def copy_pages(weights: None, cache: Cache, copies: Copies) -> Cache:
  """The cache with some pages copied, so that a sequence may write to them."""
  del weights
  count = copies.count[0]
  return tuple(
    paged_attention.copy(pages, copies.source, copies.target, count)
    for pages in cache
  )


def decode(
  weights: Params,
  cache: Cache,
  slots: Slots,
  *,
  config: TransformerConfig,
  steps: int,
  span: int,
  weights_first: bool,
) -> tuple[Cache, Produced]:
  """Up to `steps` tokens for every slot, fewer where slots fall idle.

  Leaves early when all have ended, or as many as the caller waits for.
  """
  started = slots.active.sum()

  def outlook(slots):
    """What the next step needs to know, equal on all parts.

    Loops must turn equally often everywhere: XLA may put collectives of the
    whole mesh into them.
    """
    left = slots.active.sum()
    columns = paged_attention.columns(
      slots.position, slots.active.astype(jnp.int32), cache[0].size
    )
    leave = started - left >= slots.patience[0]
    local = jnp.stack([left, leave.astype(left.dtype), columns])
    return jax.lax.pmax(local, sharding.ROWS)

  def unfinished(state):
    step, (left, leave, _), *_ = state
    return (step < steps) & (left > 0) & (leave == 0)

  def advance(state):
    step, (_, _, columns), cache, slots, produced = state
    active = slots.active
    new = active.astype(jnp.int32)
    view = View(slots.table, slots.position, new, columns, span)
    hidden, cache = decoding.forward(
      weights, config, cache, slots.token[:, None], view
    )
    drawn = logits_lib.draw(
      decoding.logits(weights, config, hidden[:, 0], weights_first),
      slots.controls,
      _uniforms(slots),
    )
    stopped = active & (drawn.token[:, None] == slots.stop_ids).any(axis=-1)
    produced = Produced(
      jax.tree.map(
        lambda made, new: made.at[:, step].set(new), produced.draws, drawn
      ),
      produced.count + active.astype(jnp.int32),
      produced.stopped | stopped,
    )
    slots = slots.replace(
      token=jnp.where(active, drawn.token, slots.token),
      position=slots.position + active.astype(jnp.int32),
      budget=jnp.where(active & ~stopped, slots.budget - 1, 0),
    )
    return step + 1, outlook(slots), cache, slots, produced

  state = (jnp.int32(0), outlook(slots), cache, slots, _nothing(slots, steps))
  _, _, cache, _, produced = jax.lax.while_loop(unfinished, advance, state)
  return cache, produced


def _nothing(slots: Slots, steps: int) -> Produced:
  rows = slots.token.shape[0]
  numbers = jnp.zeros((rows, steps))
  return Produced(
    Draw(jnp.zeros((rows, steps), jnp.int32), numbers, numbers, numbers),
    jnp.zeros(rows, jnp.int32),
    jnp.zeros(rows, bool),
  )


def _uniforms(slots: Slots) -> Float[Array, "B 2"]:
  """Random numbers that depend on the request, the sample and the position.

  And on nothing else: not on the slot, the neighbours, or how often the
  sequence was interrupted.
  """

  def row(seed, sample, position):
    key = jax.random.fold_in(jax.random.key(seed), sample)
    return jax.random.uniform(jax.random.fold_in(key, position), (2,))

  return jax.vmap(row)(slots.seed, slots.sample, slots.position)
