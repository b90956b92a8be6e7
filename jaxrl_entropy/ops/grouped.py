"""Products of rows, sorted by group, with the kernel of their group.

XLA on CPU multiplies all rows with every kernel (`jax.lax.ragged_dot` took as
many times a single product as there are groups). There the rows of each group
are padded to whole blocks instead, and every block meets one kernel.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxrl_entropy import sharding

MIN_BLOCK, MAX_BLOCK = 8, 128
"""Rows of a block: about those of a group, within these bounds."""


def grouped_dot(
  x: Float[Array, "R I"],
  kernels: Float[Array, "E I O"],
  sizes: Int[Array, " E"],
) -> Float[Array, "R O"]:
  """Computes `x[r] @ kernels[g]` for each row r of group g.

  Args:
    x: rows, those of the first group first.
    kernels: one for each group.
    sizes: rows of each group; the results of rows after the last group are
      undefined.
  """
  if sharding.platform() != "cpu":
    return jax.lax.ragged_dot(x, kernels, sizes)
  return _blocked_dot(x, kernels, sizes)


@dataclasses.dataclass(frozen=True)
class _Blocks:
  """Where the rows of each group are once these begin at whole blocks.

  Attributes:
    size: rows of a block.
    source: the row of each place; beyond the rows where it is padding.
    place: the place of each row; beyond the places after the last group.
    group: of each block.
    used: blocks that hold rows.
  """

  size: int
  source: jax.Array
  place: jax.Array
  group: jax.Array
  used: jax.Array

  def pad(self, x: jax.Array) -> jax.Array:
    """Returns the rows at their places, [blocks * size, I]."""
    return x.at[self.source].get(mode="fill", fill_value=0)

  def rows(self, padded: jax.Array) -> jax.Array:
    """Inverts `pad`."""
    return padded.at[self.place].get(mode="fill", fill_value=0)

  def block(self, padded: jax.Array, index: jax.Array) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(padded, index * self.size, self.size)

  def fold(
    self, step: Callable[[jax.Array, jax.Array], jax.Array], value: jax.Array
  ) -> jax.Array:
    """Returns `value` after `step(index, value)` of every block in use."""
    count = len(self.group)

    def more(state: tuple[jax.Array, jax.Array]) -> jax.Array:
      # The second bound is for readers of the program, who count FLOPs.
      return (state[0] < self.used) & (state[0] < count)

    def one(state: tuple[jax.Array, jax.Array]) -> Any:
      index, value = state
      return index + 1, step(index, value)

    return jax.lax.while_loop(more, one, (jnp.int32(0), value))[1]


def _blocks(sizes: jax.Array, rows: int) -> _Blocks:
  groups = len(sizes)
  size = MIN_BLOCK
  while size < MAX_BLOCK and size * groups < rows:
    size *= 2
  count = rows // size + groups
  ends = jnp.cumsum(sizes)
  padded = -(-sizes // size) * size
  padded_ends = jnp.cumsum(padded)
  # A last group of no rows stands for all that belongs to none.
  starts, padded_starts = (
    jnp.concatenate([x - y, x[-1:]])
    for x, y in ((ends, sizes), (padded_ends, padded))
  )
  row, place = jnp.arange(rows), jnp.arange(count * size)
  of_row = jnp.searchsorted(ends, row, side="right")
  of_place = jnp.searchsorted(padded_ends, place, side="right")
  offset = place - padded_starts[of_place]
  real = offset < jnp.append(sizes, 0)[of_place]
  return _Blocks(
    size,
    source=jnp.where(real, starts[of_place] + offset, rows),
    place=jnp.where(
      of_row < groups, padded_starts[of_row] + row - starts[of_row], len(place)
    ),
    group=jnp.minimum(of_place[::size], groups - 1),
    used=padded_ends[-1] // size,
  )


@jax.custom_vjp
def _blocked_dot(
  x: jax.Array, kernels: jax.Array, sizes: jax.Array
) -> jax.Array:
  blocks = _blocks(sizes, len(x))
  return blocks.rows(_products(blocks, blocks.pad(x), kernels))


def _products(
  blocks: _Blocks, padded: jax.Array, kernels: jax.Array
) -> jax.Array:
  """Multiplies each block that is used with its group's kernel."""

  def multiply(index: jax.Array, out: jax.Array) -> jax.Array:
    product = blocks.block(padded, index) @ kernels[blocks.group[index]]
    start = index * blocks.size
    return jax.lax.dynamic_update_slice_in_dim(out, product, start, 0)

  out = jnp.zeros((len(padded), kernels.shape[-1]), padded.dtype)
  return blocks.fold(multiply, out)


def _forward(x: jax.Array, kernels: jax.Array, sizes: jax.Array) -> Any:
  return _blocked_dot(x, kernels, sizes), (x, kernels, sizes)


def _backward(residuals: Any, cotangent: jax.Array) -> Any:
  x, kernels, sizes = residuals
  blocks = _blocks(sizes, len(x))
  padded, cotangents = blocks.pad(x), blocks.pad(cotangent)

  def add(index: jax.Array, total: jax.Array) -> jax.Array:
    product = blocks.block(padded, index).T @ blocks.block(cotangents, index)
    return total.at[blocks.group[index]].add(product)

  d_kernels = blocks.fold(add, jnp.zeros_like(kernels))
  d_x = _products(blocks, cotangents, kernels.swapaxes(1, 2))
  return blocks.rows(d_x), d_kernels, None


_blocked_dot.defvjp(_forward, _backward)
