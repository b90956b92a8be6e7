"""Causal attention over keys and values that live in pages.

A layer's cache is a pool of pages, each of P consecutive tokens of one
sequence; a row's table says which page holds its tokens [0, P), [P, 2P) and so
on. Rows may name the same page: a shared prefix is stored once. Page 0 belongs
to nobody, and takes what padding writes.

The layout is [pages, kv heads, page tokens, head dim]: pages split over the
data axes of a mesh (each part with its own page 0), heads over the tensor axis.
"""

from typing import ClassVar, TypeVar

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

PagesT = TypeVar("PagesT")
_NEVER = float(jnp.finfo(jnp.float32).min)


@struct.dataclass
class View:
  """Which tokens the rows of one call hold.

  Attributes:
    table: the row's pages in order of their tokens; 0 beyond the last one.
    start: position in its sequence of each row's first token.
    count: how many tokens of each row are real; the rest is padding.
    columns: of the tables that any row needs, see `columns`.
    span: columns that are attended to at one time.
  """

  table: Int[Array, "B M"]
  start: Int[Array, "B"]
  count: Int[Array, "B"]
  columns: Int[Array, ""]
  span: int = struct.field(pytree_node=False, default=1)

  def positions(self, length: int) -> Int[Array, "B T"]:
    return self.start[:, None] + jnp.arange(length, dtype=jnp.int32)[None]

  def real(self, length: int) -> Bool[Array, "B T"]:
    return jnp.arange(length)[None] < self.count[:, None]

  def places(
    self, length: int, size: int
  ) -> tuple[Int[Array, "B T"], Int[Array, "B T"]]:
    """The page of each token and its place there; page 0 for padding."""
    position = self.positions(length)
    column = jnp.minimum(position // size, self.table.shape[1] - 1)
    page = jnp.take_along_axis(self.table, column, axis=1)
    return jnp.where(self.real(length), page, 0), position % size


def columns(
  start: Int[Array, "B"], count: Int[Array, "B"], page_size: int
) -> Int[Array, ""]:
  """Pages of the longest row that has new tokens."""
  end = jnp.max(jnp.where(count > 0, start + count, 0))
  return (end + page_size - 1) // page_size


@struct.dataclass
class Pages:
  """The keys and values of one layer, for XLA.

  `ops.ragged_attention` has the same methods over a layout of its own.
  """

  HEADS: ClassVar[int] = 1
  """The axis of the key heads."""

  k: Float[Array, "N K P d"]
  v: Float[Array, "N K P d"]

  @property
  def size(self) -> int:
    """Tokens a page holds."""
    return self.k.shape[2]

  def write(
    self,
    k: Float[Array, "B T K d"],
    v: Float[Array, "B T K d"],
    view: View,
  ) -> "Pages":
    """The pages with the rows' new tokens in them."""
    page, place = view.places(k.shape[1], self.size)
    index = (page, slice(None), place)
    return Pages(
      self.k.at[index].set(k.astype(self.k.dtype), mode="promise_in_bounds"),
      self.v.at[index].set(v.astype(self.v.dtype), mode="promise_in_bounds"),
    )

  def attend(
    self, q: Float[Array, "B T H d"], view: View, window: int = 0
  ) -> Float[Array, "B T H d"]:
    """Each token attends to the tokens of its row up to itself.

    A span of the tables' columns at a time, with a running softmax: the work
    follows the longest row in use, not the table's width, and no more of a
    row's keys than that is ever gathered.

    Args:
      q: queries of tokens that `write` has already put in the pages.
      view: where the rows are.
      window: tokens that a query sees, itself included; 0: all before it.
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

    span = min(view.span, view.table.shape[1])
    # Behind the last column as in it: page 0, which no token sees.
    table = jnp.pad(view.table, ((0, 0), (0, -view.table.shape[1] % span)))
    places = jnp.arange(span * size).reshape(1, 1, 1, -1)

    def gather(x, page):
      found = x.at[page].get(mode="promise_in_bounds").swapaxes(1, 2)
      return found.reshape(rows, kv_heads, span * size, dim)

    def attend_span(index, carry):
      page = jax.lax.dynamic_slice_in_dim(table, index * span, span, axis=1)
      scores = jnp.einsum(
        "bkqd,bkpd->bkqp",
        q,
        gather(self.k, page),
        preferred_element_type=jnp.float32,
      )
      back = position - (index * span * size + places)
      seen = (back >= 0) & (back < window) if window else back >= 0
      scores = jnp.where(seen, scores, _NEVER)
      return _accumulate(carry, scores, gather(self.v, page))

    statistics = (rows, kv_heads, length * groups)
    carry = (
      jnp.full(statistics, _NEVER),
      jnp.zeros(statistics),
      jnp.zeros((*statistics, dim)),
    )
    # One span needs no loop, whose end would be asked for on the host.
    alone = span == view.table.shape[1]
    turns = 1 if alone else (view.columns + span - 1) // span
    _, total, mixed = jax.lax.fori_loop(0, turns, attend_span, carry)
    mixed = mixed / jnp.maximum(total, 1e-30)[..., None]
    mixed = mixed.reshape(rows, kv_heads, length, groups, dim).swapaxes(1, 2)
    return mixed.reshape(rows, length, heads, dim).astype(q.dtype)


def _accumulate(carry, scores, v):
  """One page more into the running softmax (Milakov, 1805.02867)."""
  peak, total, mixed = carry
  higher = jnp.maximum(peak, scores.max(axis=-1))
  fade = jnp.exp(peak - higher)
  weights = jnp.exp(scores - higher[..., None])
  added = jnp.einsum(
    "bkqp,bkpd->bkqd",
    weights.astype(v.dtype),
    v,
    preferred_element_type=jnp.float32,
  )
  return (
    higher,
    total * fade + weights.sum(axis=-1),
    mixed * fade[..., None] + added,
  )


def copy(
  pages: PagesT, source: Int[Array, "C"], target: Int[Array, "C"], count: Array
) -> PagesT:
  """The pages with the first `count` sources copied over their targets."""

  def one(index, pages):
    def move(x):
      page = jax.lax.dynamic_index_in_dim(x, source[index], 0)
      return jax.lax.dynamic_update_index_in_dim(x, page, target[index], 0)

    return jax.tree.map(move, pages)

  return jax.lax.fori_loop(0, count, one, pages)
