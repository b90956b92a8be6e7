"""The sampler's device programs: pure functions over slots and pages.

Each sees one shard of the mesh's data axes; `engine` maps them over all shards.
"""

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt

from jaxrl_entropy import sharding
from jaxrl_entropy.models import decoding
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.decoding import Cache
from jaxrl_entropy.ops.attention import paged
from jaxrl_entropy.ops.attention.paged import View
from jaxrl_entropy.sampling import logits as logits_lib
from jaxrl_entropy.sampling.logits import AnyArray, Controls, Draw
from jaxrl_entropy.types import Params


@struct.dataclass
class PrefillRows:
  """Consecutive tokens of some prompts, one chunk per row.

  Attributes:
    tokens: token ids, padded at the end.
    table: pages of each prompt.
    start: position of each row's first token.
    count: number of real tokens in each row.
  """

  tokens: Int[AnyArray, "R C"]
  table: Int[AnyArray, "R M"]
  start: Int[AnyArray, "R"]
  count: Int[AnyArray, "R"]


@struct.dataclass
class PageCopies:
  """Pages to copy; the first `count[0]` entries of a shard are real."""

  source: Int[AnyArray, "B"]
  target: Int[AnyArray, "B"]
  count: Int[AnyArray, "1"]


@struct.dataclass
class Slots:
  """The sequences being decoded, one per slot.

  Attributes:
    token: last token of the sequence, not in the cache yet.
    position: its position.
    budget: tokens to produce in this call; 0 marks an idle slot.
    seed: the request's seed.
    sample: index of the continuation in its request.
    stop_ids: tokens that end the sequence; -1 in unused entries.
    controls: sampling settings.
    table: pages of the sequence.
    min_finished: [1], return once this many sequences have finished.
  """

  token: Int[AnyArray, "B"]
  position: Int[AnyArray, "B"]
  budget: Int[AnyArray, "B"]
  seed: UInt[AnyArray, "B"]
  sample: Int[AnyArray, "B"]
  stop_ids: Int[AnyArray, "B S"]
  controls: Controls
  table: Int[AnyArray, "B M"]
  min_finished: Int[AnyArray, "1"]

  @property
  def active(self) -> Bool[AnyArray, "B"]:
    """Which slots still produce tokens."""
    return self.budget > 0


@struct.dataclass
class Decoded:
  """Tokens sampled by `decode`; slot b has `count[b]` of them.

  Attributes:
    draws: tokens and their log-probs, [B, steps].
    count: number of tokens of each slot.
    stopped: whether the slot's last token is one of its stop ids.
  """

  draws: Draw
  count: Int[AnyArray, "B"]
  stopped: Bool[AnyArray, "B"]


def prefill(
  weights: Params,
  cache: Cache,
  rows: PrefillRows,
  *,
  config: TransformerConfig,
  pages_per_block: int,
) -> Cache:
  """Returns the cache with the rows' tokens in it."""
  in_use = paged.pages_in_use(rows.start, rows.count, cache[0].page_size)
  in_use = jax.lax.pmax(in_use, sharding.ROWS)
  view = View(rows.table, rows.start, rows.count, in_use, pages_per_block)
  _, cache = decoding.forward(weights, config, cache, rows.tokens, view)
  return cache


def copy_pages(weights: None, cache: Cache, copies: PageCopies) -> Cache:
  """Returns the cache with some pages copied, for sequences to write to."""
  del weights
  count = copies.count[0]
  return tuple(
    paged.copy(pages, copies.source, copies.target, count) for pages in cache
  )


def decode(
  weights: Params,
  cache: Cache,
  slots: Slots,
  *,
  config: TransformerConfig,
  steps: int,
  pages_per_block: int,
  transposed_kernels: bool,
) -> tuple[Cache, Decoded]:
  """Samples up to `steps` tokens for every slot.

  Returns early when all sequences have finished, or `slots.min_finished` have.
  """
  started = slots.active.sum()

  def loop_state(slots):
    """Returns what the loop condition needs, equal on all shards.

    Loops must run equally often on all shards, since XLA may put collectives
    of the whole mesh into them.
    """
    left = slots.active.sum()
    in_use = paged.pages_in_use(
      slots.position, slots.active.astype(jnp.int32), cache[0].page_size
    )
    leave = started - left >= slots.min_finished[0]
    local = jnp.stack([left, leave.astype(left.dtype), in_use])
    return jax.lax.pmax(local, sharding.ROWS)

  def unfinished(state):
    step, (left, leave, _), *_ = state
    return (step < steps) & (left > 0) & (leave == 0)

  def advance(state):
    step, (_, _, in_use), cache, slots, decoded = state
    active = slots.active
    new = active.astype(jnp.int32)
    view = View(slots.table, slots.position, new, in_use, pages_per_block)
    hidden, cache = decoding.forward(
      weights, config, cache, slots.token[:, None], view
    )
    drawn = logits_lib.draw(
      decoding.logits(weights, config, hidden[:, 0], transposed_kernels),
      slots.controls,
      _uniforms(slots),
    )
    stopped = active & (drawn.token[:, None] == slots.stop_ids).any(axis=-1)
    decoded = Decoded(
      jax.tree.map(
        lambda sofar, new: sofar.at[:, step].set(new), decoded.draws, drawn
      ),
      decoded.count + new,
      decoded.stopped | stopped,
    )
    slots = slots.replace(
      token=jnp.where(active, drawn.token, slots.token),
      position=slots.position + new,
      budget=jnp.where(active & ~stopped, slots.budget - 1, 0),
    )
    return step + 1, loop_state(slots), cache, slots, decoded

  state = (jnp.int32(0), loop_state(slots), cache, slots, _empty(slots, steps))
  _, _, cache, _, decoded = jax.lax.while_loop(unfinished, advance, state)
  return cache, decoded


def _empty(slots: Slots, steps: int) -> Decoded:
  rows = slots.token.shape[0]
  numbers = jnp.zeros((rows, steps))
  return Decoded(
    Draw(jnp.zeros((rows, steps), jnp.int32), *(numbers,) * 4),
    jnp.zeros(rows, jnp.int32),
    jnp.zeros(rows, bool),
  )


def _uniforms(slots: Slots) -> Float[Array, "B 2"]:
  """Returns random numbers that depend on seed, sample and position alone.

  They do not depend on the slot, on other sequences, or on preemptions.
  """

  def row(seed, sample, position):
    key = jax.random.fold_in(jax.random.key(seed), sample)
    return jax.random.uniform(jax.random.fold_in(key, position), (2,))

  return jax.vmap(row)(slots.seed, slots.sample, slots.position)
