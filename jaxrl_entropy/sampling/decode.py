"""The decoding loop: one token per slot and step, or more with drafts."""

from collections.abc import Callable
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxrl_entropy import sharding
from jaxrl_entropy.models import decoding
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.decoding import Cache
from jaxrl_entropy.ops.attention import paged
from jaxrl_entropy.ops.attention.paged import View
from jaxrl_entropy.sampling import drafts as drafts_lib, logits as logits_lib
from jaxrl_entropy.sampling.logits import Draw
from jaxrl_entropy.sampling.programs import Decoded, Slots
from jaxrl_entropy.types import Params

Verify = Callable[
  [Cache, Slots, Int[Array, "B K"], Int[Array, "B"]], tuple[Cache, Draw]
]


def decode(
  weights: Params,
  cache: Cache,
  slots: Slots,
  *,
  config: TransformerConfig,
  steps: int,
  drafts: int,
  pages_per_block: int,
  transposed_kernels: bool,
) -> tuple[Cache, Decoded]:
  """Samples tokens for every slot until its budget is used up.

  Returns early after `steps` forward passes, when all sequences have finished,
  or when `slots.min_finished` of them have.

  Args:
    weights: as `decoding.weights` makes them.
    cache: pages of every layer.
    slots: the sequences.
    config: the model.
    steps: most forward passes, and most tokens of a slot.
    drafts: tokens of a draft; 0 turns drafts off, else `slots.drafts` is set.
    pages_per_block: see `paged.View`.
    transposed_kernels: as passed to `decoding.weights`.

  Returns:
    The cache and the sampled tokens.
  """
  started = slots.active.sum()
  verify = functools.partial(
    _verify,
    weights,
    config=config,
    pages_per_block=pages_per_block,
    transposed_kernels=transposed_kernels,
  )

  def loop_state(slots):
    """Returns what the loop condition needs, equal on all shards.

    Loops must run equally often on all shards, since XLA may put collectives
    of the whole mesh into them.
    """
    left = slots.active.sum()
    leave = started - left >= slots.min_finished[0]
    local = jnp.stack([left, leave.astype(left.dtype)])
    return jax.lax.pmax(local, sharding.ROWS)

  def unfinished(state):
    step, (left, leave), *_ = state
    return (step < steps) & (left > 0) & (leave == 0)

  def advance(state):
    step, _, cache, slots, decoded = state
    if drafts:
      cache, slots, decoded = _draft_step(verify, cache, slots, decoded, drafts)
    else:
      draft, count = _no_draft(slots)
      cache, drawn = verify(cache, slots, draft, count)
      slots, decoded = _append(slots, decoded, drawn, draft, count)
    return step + 1, loop_state(slots), cache, slots, decoded

  decoded = _empty(slots, steps + drafts)
  state = (jnp.int32(0), loop_state(slots), cache, slots, decoded)
  *_, cache, slots, decoded = jax.lax.while_loop(unfinished, advance, state)
  if slots.drafts is not None:
    no_history = slots.drafts.history[:, :0]
    decoded = decoded.replace(drafts=slots.drafts.replace(history=no_history))
  return cache, decoded


def _draft_step(
  verify: Verify, cache: Cache, slots: Slots, decoded: Decoded, size: int
) -> tuple[Cache, Slots, Decoded]:
  """Runs a step that verifies drafts if they are expected to pay."""
  state = slots.drafts
  assert state is not None
  draft, exists = drafts_lib.propose(state.history, slots.position + 1, size)
  exists = exists & slots.active
  # The token that follows the draft needs room too.
  count = jnp.where(exists, jnp.minimum(slots.budget - 1, size), 0)
  expected = jnp.where(
    count > 0, drafts_lib.expected_hits(state.hit_rate, size), 0.0
  )
  active = slots.active.sum().astype(jnp.float32)
  pays = expected.sum() > (state.cost[0] - 1) * active
  pays = jax.lax.pmax(pays.astype(jnp.int32), sharding.ROWS)
  count = count * pays

  def without(cache):
    cache, drawn = verify(cache, slots, *_no_draft(slots))
    pad = ((0, 0), (0, size))
    return cache, jax.tree.map(lambda x: jnp.pad(x, pad), drawn)

  def with_drafts(cache):
    return verify(cache, slots, draft, count)

  cache, drawn = jax.lax.cond(pays > 0, with_drafts, without, cache)
  right = drawn.token[:, 0] == draft[:, 0]
  state = state.replace(
    hit_rate=drafts_lib.update_hit_rate(state.hit_rate, exists, right),
    steps=state.steps + 1,
    draft_steps=state.draft_steps + pays,
  )
  slots = slots.replace(drafts=state)
  return cache, *_append(slots, decoded, drawn, draft, count)


def _no_draft(slots: Slots) -> tuple[Int[Array, "B 0"], Int[Array, "B"]]:
  rows = slots.token.shape[0]
  return jnp.zeros((rows, 0), jnp.int32), jnp.zeros(rows, jnp.int32)


def _verify(
  weights: Params,
  cache: Cache,
  slots: Slots,
  draft: Int[Array, "B K"],
  count: Int[Array, "B"],
  *,
  config: TransformerConfig,
  pages_per_block: int,
  transposed_kernels: bool,
) -> tuple[Cache, Draw]:
  """Draws the token after each slot's last one and after each drafted one.

  Args:
    weights: as `decoding.weights` makes them.
    cache: pages of every layer.
    slots: the sequences.
    draft: proposed tokens.
    count: number of proposed tokens of each slot that are real.
    config: the model.
    pages_per_block: see `paged.View`.
    transposed_kernels: as passed to `decoding.weights`.

  Returns:
    The cache and the draws, [B, 1 + K].
  """
  tokens = jnp.concatenate([slots.token[:, None], draft], axis=1)
  length = tokens.shape[1]
  new = jnp.where(slots.active, 1 + count, 0)
  in_use = paged.pages_in_use(slots.position, new, cache[0].page_size)
  in_use = jax.lax.pmax(in_use, sharding.ROWS)
  view = View(slots.table, slots.position, new, in_use, pages_per_block)
  hidden, cache = decoding.forward(weights, config, cache, tokens, view)
  hidden = hidden.reshape(-1, hidden.shape[-1])
  drawn = logits_lib.draw(
    decoding.logits(weights, config, hidden, transposed_kernels),
    jax.tree.map(lambda x: jnp.repeat(x, length), slots.controls),
    _uniforms(slots, length),
  )
  return cache, jax.tree.map(lambda x: x.reshape(-1, length), drawn)


def _uniforms(slots: Slots, length: int) -> Float[Array, "R 2"]:
  """Returns random numbers for `length` positions from each slot's last token.

  They depend on seed, sample and position alone: not on the slot, on other
  sequences, on drafts, or on preemptions.
  """

  def one(seed, sample, position):
    key = jax.random.fold_in(jax.random.key(seed), sample)
    return jax.random.uniform(jax.random.fold_in(key, position), (2,))

  position = slots.position[:, None] + jnp.arange(length, dtype=jnp.int32)[None]
  return jax.vmap(one)(
    jnp.repeat(slots.seed, length),
    jnp.repeat(slots.sample, length),
    position.reshape(-1),
  )


def _append(
  slots: Slots,
  decoded: Decoded,
  drawn: Draw,
  draft: Int[Array, "B K"],
  count: Int[Array, "B"],
) -> tuple[Slots, Decoded]:
  """Appends the drawn tokens up to the first one that the draft got wrong.

  A token drawn after a wrong one continues another text, so it is discarded. A
  stop id ends the sequence.
  """
  length = draft.shape[1]
  right = drawn.token[:, :length] == draft
  right &= jnp.arange(length)[None] < count[:, None]
  accepted = jnp.cumprod(right.astype(jnp.int32), axis=1).sum(axis=1)
  stops = _is_stop(drawn.token, slots.stop_ids)
  before_stop = jnp.where(stops.any(axis=1), jnp.argmax(stops, axis=1), length)
  active, new = slots.active, jnp.minimum(accepted, before_stop) + 1
  new = jnp.where(active, new, 0).astype(jnp.int32)
  stopped = active & stops.any(axis=1) & (before_stop <= accepted)
  last = jnp.maximum(new - 1, 0)[:, None]
  token = jnp.take_along_axis(drawn.token, last, axis=1)[:, 0]
  decoded = Decoded(
    jax.tree.map(
      lambda rows, values: _write(rows, values, decoded.count),
      decoded.draws,
      drawn,
    ),
    decoded.count + new,
    decoded.stopped | stopped,
  )
  state = slots.drafts
  if state is not None:
    state = state.replace(
      history=_write(state.history, drawn.token, slots.position + 1),
      drafted=state.drafted + count,
      accepted=state.accepted + accepted,
    )
  return slots.replace(
    token=jnp.where(active, token, slots.token),
    position=slots.position + new,
    budget=jnp.where(active & ~stopped, slots.budget - new, 0),
    drafts=state,
  ), decoded


def _is_stop(
  tokens: Int[Array, "B T"], stop_ids: Int[Array, "B S"]
) -> Bool[Array, "B T"]:
  return (tokens[:, :, None] == stop_ids[:, None]).any(axis=-1)


def _write(
  rows: Float[Array, "B L"], values: Float[Array, "B T"], start: Int[Array, "B"]
) -> Float[Array, "B L"]:
  """Writes each row's values into it from `start` on."""
  write = jax.lax.dynamic_update_slice_in_dim
  return jax.vmap(lambda row, new, at: write(row, new, at, 0))(
    rows, values, start
  )


def _empty(slots: Slots, length: int) -> Decoded:
  rows = slots.token.shape[0]
  numbers = jnp.zeros((rows, length))
  return Decoded(
    Draw(jnp.zeros((rows, length), jnp.int32), *(numbers,) * 4),
    jnp.zeros(rows, jnp.int32),
    jnp.zeros(rows, bool),
  )
