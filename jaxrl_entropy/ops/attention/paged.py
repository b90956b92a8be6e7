"""Causal attention over keys and values stored in pages.

A layer's cache is a pool of pages, each with P consecutive tokens of one
sequence. A row's page table lists the pages of its tokens [0, P), [P, 2P), and
so on. Rows may list the same page, so a shared prefix is stored once. Page 0
belongs to no sequence and receives the writes of padding.

The layout is [pages, kv heads, page tokens, head dim]. Pages are split over the
data axes of a mesh, where each shard has its own page 0, and heads over tensor.
"""

import dataclasses
from typing import ClassVar, TypeVar

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxrl_entropy.ops.softcap import soft_cap

PagesT = TypeVar("PagesT")
_MASKED = float(jnp.finfo(jnp.float32).min)


@struct.dataclass
class View:
  """Positions and pages of the tokens in one call.

  Attributes:
    table: pages of each row, in the order of their tokens; 0 after the last.
    start: position in its sequence of each row's first token.
    count: number of real tokens in each row; the rest is padding.
    pages_in_use: table entries that any row needs, see `pages_in_use`.
    pages_per_block: table entries attended to at one time.
  """

  table: Int[Array, "B M"]
  start: Int[Array, "B"]
  count: Int[Array, "B"]
  pages_in_use: Int[Array, ""]
  pages_per_block: int = struct.field(pytree_node=False, default=1)

  def positions(self, length: int) -> Int[Array, "B T"]:
    """Returns the position of each token in its sequence.

    Args:
      length: tokens T of each row, padding included.
    """
    return self.start[:, None] + jnp.arange(length, dtype=jnp.int32)[None]

  def is_real(self, length: int) -> Bool[Array, "B T"]:
    """Returns which tokens are not padding.

    Args:
      length: tokens T of each row, padding included.
    """
    return jnp.arange(length)[None] < self.count[:, None]

  def slots(
    self, length: int, page_size: int
  ) -> tuple[Int[Array, "B T"], Int[Array, "B T"]]:
    """Returns each token's page (0 for padding) and its offset there.

    Args:
      length: tokens T of each row, padding included.
      page_size: tokens per page.

    Returns:
      Pages and offsets, int32: entry [b, t] is where the t-th token of row b is
      stored.
    """
    position = self.positions(length)
    entry = jnp.minimum(position // page_size, self.table.shape[1] - 1)
    page = jnp.take_along_axis(self.table, entry, axis=1)
    return jnp.where(self.is_real(length), page, 0), position % page_size


def pages_in_use(
  start: Int[Array, "B"], count: Int[Array, "B"], page_size: int
) -> Int[Array, ""]:
  """Returns the number of pages of the longest row that has new tokens.

  Args:
    start: position in its sequence of each row's first new token.
    count: number of new tokens of each row; rows with 0 are left out.
    page_size: tokens per page.
  """
  end = jnp.max(jnp.where(count > 0, start + count, 0))
  return (end + page_size - 1) // page_size


@struct.dataclass
class Pages:
  """Keys and values of one layer, for XLA.

  `ragged.RaggedPages` has the same methods over another layout.

  Attributes:
    k: rotated keys, in the dtype that they are stored in.
    v: values.
  """

  HEADS: ClassVar[int] = 1
  """The axis of the key heads."""

  k: Float[Array, "N K P d"]
  v: Float[Array, "N K P d"]

  @property
  def page_size(self) -> int:
    """Tokens per page."""
    return self.k.shape[2]

  def write(
    self,
    k: Float[Array, "B T K d"],
    v: Float[Array, "B T K d"],
    view: View,
  ) -> "Pages":
    """Returns the pages with the rows' new tokens in them.

    Args:
      k: keys of the new tokens, rotated.
      v: their values.
      view: positions and pages of the rows. Padding is written to page 0.
    """
    page, offset = view.slots(k.shape[1], self.page_size)
    index = (page, slice(None), offset)
    return dataclasses.replace(
      self,
      k=self.k.at[index].set(k.astype(self.k.dtype), mode="promise_in_bounds"),
      v=self.v.at[index].set(v.astype(self.v.dtype), mode="promise_in_bounds"),
    )

  def attend(
    self,
    q: Float[Array, "B T H d"],
    view: View,
    window: int = 0,
    softcap: float = 0.0,
  ) -> Float[Array, "B T H d"]:
    """Computes causal attention of each token over the row up to itself.

    A loop over blocks of pages keeps a running softmax: the work follows the
    longest row in use instead of the width of the table, and only one block of
    keys is gathered at a time. With a window each row begins at the first block
    that it reaches, so the work follows the window.

    Args:
      q: queries of tokens that `write` has already put into the pages.
      view: positions and pages of the rows.
      window: number of tokens a query sees, itself included; 0 means all.
      softcap: c, if not 0: scores become `c tanh(scores / c)`.

    Returns:
      The weighted values, in the dtype of `q`.
    """
    rows, length, heads, dim = q.shape
    kv_heads, size = self.k.shape[1:3]
    groups = heads // kv_heads
    # Queries of one key head side by side: [B, K, T * groups, d].
    q = q.reshape(rows, length, kv_heads, groups, dim)
    q = q.swapaxes(1, 2).reshape(rows, kv_heads, -1, dim) * dim**-0.5
    position = jnp.repeat(view.positions(length), groups, axis=1)[
      :, None, :, None
    ]

    per_block = min(view.pages_per_block, view.table.shape[1])
    # The table is padded with page 0, whose positions no token sees.
    padding = -view.table.shape[1] % per_block
    table = jnp.pad(view.table, ((0, 0), (0, padding)))
    tokens = per_block * size
    offsets = jnp.arange(tokens).reshape(1, 1, 1, -1)

    def gather(x, page):
      block = x.at[page].get(mode="promise_in_bounds").swapaxes(1, 2)
      return block.reshape(rows, kv_heads, tokens, dim)

    first = jnp.maximum(view.start - window + 1, 0) // tokens
    first = first if window else jnp.zeros_like(first)

    def attend_block(index, carry):
      # Behind the table's end the last block repeats, at positions unseen.
      block = (first + index)[:, None]
      page = jnp.take_along_axis(
        table,
        block * per_block + jnp.arange(per_block)[None],
        axis=1,
        mode="clip",
      )
      scores = jnp.einsum(
        "bkqd,bkpd->bkqp",
        q,
        gather(self.k, page),
        preferred_element_type=jnp.float32,
      )
      scores = soft_cap(scores, softcap)
      distance = position - (block[..., None, None] * tokens + offsets)
      seen = distance >= 0
      if window:
        seen &= distance < window
      scores = jnp.where(seen, scores, _MASKED)
      return _accumulate(carry, scores, gather(self.v, page))

    shape = (rows, kv_heads, length * groups)
    carry = (
      jnp.full(shape, _MASKED),
      jnp.zeros(shape),
      jnp.zeros((*shape, dim)),
    )
    # With one block in all, a constant trip count saves a device-to-host check.
    one_block = per_block == view.table.shape[1]
    blocks = 1 if one_block else -(-view.pages_in_use // per_block)
    if window and not one_block:
      reached = -(-(window + length - 2) // tokens) + 1
      blocks = jnp.minimum(blocks, reached)
    _, total, mixed = jax.lax.fori_loop(0, blocks, attend_block, carry)
    mixed = mixed / jnp.maximum(total, 1e-30)[..., None]
    mixed = mixed.reshape(rows, kv_heads, length, groups, dim).swapaxes(1, 2)
    return mixed.reshape(rows, length, heads, dim).astype(q.dtype)


def _accumulate(carry, scores, v):
  """Adds one block to the running softmax (Milakov, arXiv 1805.02867)."""
  peak, total, mixed = carry
  new_peak = jnp.maximum(peak, scores.max(axis=-1))
  decay = jnp.exp(peak - new_peak)
  weights = jnp.exp(scores - new_peak[..., None])
  added = jnp.einsum(
    "bkqp,bkpd->bkqd",
    weights.astype(v.dtype),
    v,
    preferred_element_type=jnp.float32,
  )
  return (
    new_peak,
    total * decay + weights.sum(axis=-1),
    mixed * decay[..., None] + added,
  )


def copy(
  pages: PagesT, source: Int[Array, "C"], target: Int[Array, "C"], count: Array
) -> PagesT:
  """Copies the first `count` source pages over their targets.

  Args:
    pages: a tree of arrays whose first axis is the page, as `Pages` is.
    source: pages to read.
    target: pages to overwrite, one for each source.
    count: scalar, number of entries that are real; the rest is ignored. Copies
      run in order, so a target may be a later source.

  Returns:
    The tree with the copies made.
  """

  def copy_one(index, pages):
    def move(x):
      page = jax.lax.dynamic_index_in_dim(x, source[index], 0)
      return jax.lax.dynamic_update_index_in_dim(x, page, target[index], 0)

    return jax.tree.map(move, pages)

  return jax.lax.fori_loop(0, count, copy_one, pages)
