"""The decoding loop: one token per slot and step, or more with drafts."""

import functools

from flax import struct
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


@struct.dataclass
class Draft:
  """Guesses of each slot's next tokens.

  Attributes:
    tokens: K proposed ids.
    count: how many of them are verified, from the first; 0 without a draft.
  """

  tokens: Int[Array, "B K"]
  count: Int[Array, "B"]


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

  def plan(slots):
    """Returns the next draft and the conditions of the loops.

    Loops must run equally often on all shards, since XLA may put collectives
    of the whole mesh into them.
    """
    draft, pays = _propose(slots, drafts)
    left = slots.active.sum()
    leave = started - left >= slots.min_finished[0]
    local = jnp.stack([left > 0, leave, pays]).astype(jnp.int32)
    return draft, jax.lax.pmax(local, sharding.ROWS)

  def advance(state, *, drafted):
    step, (proposed, _), cache, slots, decoded = state
    draft = proposed if drafted else _no_draft(slots)
    cache, drawn = verify(cache, slots, draft)
    slots = _observe(slots, proposed, drawn, drafted)
    slots, decoded = _append(slots, decoded, drawn, draft)
    return step + 1, plan(slots), cache, slots, decoded

  def unfinished(state):
    step, (_, (left, leave, _)), *_ = state
    return (step < steps) & (left > 0) & (leave == 0)

  def run(drafted, state):
    """Steps while drafts pay, or while they do not."""

    def condition(state):
      _, (_, (*_, pays)), *_ = state
      return unfinished(state) & (pays == int(drafted))

    body = functools.partial(advance, drafted=drafted)
    return jax.lax.while_loop(condition, body, state)

  decoded = _empty(slots, steps + drafts)
  state = (jnp.int32(0), plan(slots), cache, slots, decoded)
  if drafts:
    # Two loops in one: XLA would copy the cache for a conditional.
    state = jax.lax.while_loop(
      unfinished, lambda state: run(True, run(False, state)), state
    )
  else:
    state = run(False, state)
  *_, cache, slots, decoded = state
  if slots.drafts is not None:
    no_history = slots.drafts.history[:, :0]
    decoded = decoded.replace(drafts=slots.drafts.replace(history=no_history))
  return cache, decoded


def _propose(slots: Slots, size: int) -> tuple[Draft, Bool[Array, ""]]:
  """Returns a draft for each slot, and whether verifying them pays."""
  state = slots.drafts
  if state is None:
    return _no_draft(slots), jnp.bool_(False)
  tokens, exists = drafts_lib.propose(state.history, slots.position + 1, size)
  # The token that follows the draft needs room too.
  room = jnp.minimum(slots.budget - 1, size)
  count = jnp.where(exists & slots.active, room, 0)
  expected = jnp.where(
    count > 0, drafts_lib.expected_hits(state.hit_rate, size), 0.0
  )
  active = slots.active.sum().astype(jnp.float32)
  return Draft(tokens, count), expected.sum() > (state.cost[0] - 1) * active


def _observe(
  slots: Slots, proposed: Draft, drawn: Draw, drafted: bool
) -> Slots:
  """Updates the hit rates and counts after a step, with a draft or not."""
  state = slots.drafts
  if state is None:
    return slots
  right = drawn.token[:, 0] == proposed.tokens[:, 0]
  state = state.replace(
    hit_rate=drafts_lib.update_hit_rate(
      state.hit_rate, proposed.count > 0, right
    ),
    steps=state.steps + 1,
    draft_steps=state.draft_steps + int(drafted),
  )
  return slots.replace(drafts=state)


def _no_draft(slots: Slots) -> Draft:
  rows = slots.token.shape[0]
  return Draft(jnp.zeros((rows, 0), jnp.int32), jnp.zeros(rows, jnp.int32))


def _verify(
  weights: Params,
  cache: Cache,
  slots: Slots,
  draft: Draft,
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
    config: the model.
    pages_per_block: see `paged.View`.
    transposed_kernels: as passed to `decoding.weights`.

  Returns:
    The cache and the draws, [B, 1 + K].
  """
  tokens = jnp.concatenate([slots.token[:, None], draft.tokens], axis=1)
  length = tokens.shape[1]
  new = jnp.where(slots.active, 1 + draft.count, 0)
  in_use = paged.pages_in_use(slots.position, new, cache.page_size)
  in_use = jax.lax.pmax(in_use, sharding.ROWS)
  view = View(slots.table, slots.position, new, in_use, pages_per_block)
  hidden, cache = decoding.forward(weights, config, cache, tokens, view)
  hidden = hidden.reshape(-1, hidden.shape[-1])
  drawn = logits_lib.draw(
    decoding.logits(weights, config, hidden, transposed_kernels),
    jax.tree.map(lambda x: jnp.repeat(x, length), slots.controls).at(
      _positions(slots, length)
    ),
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

  return jax.vmap(one)(
    jnp.repeat(slots.seed, length),
    jnp.repeat(slots.sample, length),
    _positions(slots, length),
  )


def _positions(slots: Slots, length: int) -> Int[Array, "R"]:
  """Returns the positions from each slot's last token on, `length` each."""
  offset = jnp.arange(length, dtype=jnp.int32)
  return (slots.position[:, None] + offset[None]).reshape(-1)


def _append(
  slots: Slots,
  decoded: Decoded,
  drawn: Draw,
  draft: Draft,
) -> tuple[Slots, Decoded]:
  """Appends the drawn tokens up to the first one that the draft got wrong.

  A token drawn after a wrong one continues another text, so it is discarded. A
  stop id ends the sequence.
  """
  length = draft.tokens.shape[1]
  right = drawn.token[:, :length] == draft.tokens
  right &= jnp.arange(length)[None] < draft.count[:, None]
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
      drafted=state.drafted + draft.count,
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
