"""Functions of rows, sorted by group, with the kernels of their group.

XLA on CPU multiplies all rows with every kernel (`jax.lax.ragged_dot` took as
many times a single product as there are groups). There blocks of rows, each of
one group, meet their kernels in turn instead, in the gradient as well.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxrl_entropy import sharding

Dot = Callable[[jax.Array, jax.Array], jax.Array]
Kernels = tuple[Float[Array, "E _ _"], ...]

MIN_BLOCK, MAX_BLOCK = 8, 128
"""Rows of a block: about those of a group, within these bounds."""


def grouped_map(
  function: Callable[..., jax.Array],
  x: Float[Array, "R I"],
  kernels: Kernels,
  sizes: Int[Array, " E"],
) -> Float[Array, "R O"]:
  """Computes `function(dot, x, *kernels)`, each row with its group's kernels.

  Args:
    function: works on each row alone; `dot(x, kernel)` multiplies rows with the
      kernel of their group. On CPU its inner values are computed again for the
      gradient, which costs less there than memory for them.
    x: rows, those of the first group first.
    kernels: one of each for each group.
    sizes: rows of each group; the results of rows after the last group are
      undefined.
  """
  if sharding.platform() != "cpu":
    dot = functools.partial(jax.lax.ragged_dot, group_sizes=sizes)
    return function(dot, x, *kernels)
  return _map(functools.partial(function, jnp.matmul), x, kernels, sizes)


@dataclasses.dataclass(frozen=True)
class _Blocks:
  """Blocks of rows, in their order.

  The last block of a group reaches into the rows of the next group, whose own
  blocks come later and write over what it wrote there.

  Attributes:
    size: rows of a block.
    group: of each block.
    start: the first row of each block.
    stop: the first row after the group of each block.
    used: blocks that hold rows of a group.
  """

  size: int
  group: jax.Array
  start: jax.Array
  stop: jax.Array
  used: jax.Array

  def pad(self, x: jax.Array) -> jax.Array:
    """Appends rows that the last block may reach into."""
    return jnp.pad(x, ((0, self.size), (0, 0)))

  def read(self, padded: jax.Array, index: jax.Array) -> jax.Array:
    start = self.start[index]
    return jax.lax.dynamic_slice_in_dim(padded, start, self.size)

  def write(
    self, padded: jax.Array, index: jax.Array, block: jax.Array
  ) -> jax.Array:
    start = self.start[index]
    return jax.lax.dynamic_update_slice_in_dim(padded, block, start, 0)

  def own(self, index: jax.Array, block: jax.Array) -> jax.Array:
    """Zeroes the rows that are the next group's."""
    row = self.start[index] + jnp.arange(self.size)
    return jnp.where((row < self.stop[index])[:, None], block, 0)

  def fold(self, step: Callable[[jax.Array, Any], Any], value: Any) -> Any:
    """Returns `value` after `step(index, value)` of every block in use."""
    count = len(self.group)

    def more(state: tuple[jax.Array, Any]) -> jax.Array:
      # The second bound is for readers of the program, who count FLOPs.
      return (state[0] < self.used) & (state[0] < count)

    def one(state: tuple[jax.Array, Any]) -> Any:
      index, value = state
      return index + 1, step(index, value)

    return jax.lax.while_loop(more, one, (jnp.int32(0), value))[1]


def _blocks(sizes: jax.Array, rows: int) -> _Blocks:
  groups = len(sizes)
  size = MIN_BLOCK
  while size < MAX_BLOCK and size * groups < rows:
    size *= 2
  counts, stops = -(-sizes // size), jnp.cumsum(sizes)
  ends = jnp.cumsum(counts)
  index = jnp.arange(rows // size + groups)
  group = jnp.searchsorted(ends, index, side="right")
  group = jnp.minimum(group, groups - 1)
  before = (ends - counts)[group]
  start = (stops - sizes)[group] + (index - before) * size
  return _Blocks(size, group, start, stops[group], used=ends[-1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _map(
  function: Callable[..., jax.Array],
  x: jax.Array,
  kernels: Kernels,
  sizes: jax.Array,
) -> jax.Array:
  """Computes `function(x, *kernels)` block by block."""
  blocks = _blocks(sizes, len(x))
  padded = blocks.pad(x)

  def step(index: jax.Array, out: jax.Array) -> jax.Array:
    own = (kernel[blocks.group[index]] for kernel in kernels)
    return blocks.write(out, index, function(blocks.read(padded, index), *own))

  out = jax.eval_shape(function, padded, *(kernel[0] for kernel in kernels))
  return blocks.fold(step, jnp.zeros(out.shape, out.dtype))[: len(x)]


def _forward(
  function: Callable[..., jax.Array],
  x: jax.Array,
  kernels: Kernels,
  sizes: jax.Array,
) -> Any:
  return _map(function, x, kernels, sizes), (x, kernels, sizes)


def _backward(
  function: Callable[..., jax.Array], residuals: Any, cotangent: jax.Array
) -> Any:
  x, kernels, sizes = residuals
  blocks = _blocks(sizes, len(x))
  padded, cotangent = blocks.pad(x), blocks.pad(cotangent)

  def step(index: jax.Array, gradients: Any) -> Any:
    d_x, d_kernels = gradients
    group = blocks.group[index]
    inputs = blocks.read(padded, index), *(kernel[group] for kernel in kernels)
    pull = jax.vjp(function, *inputs)[1]
    d_block, *added = pull(blocks.own(index, blocks.read(cotangent, index)))
    pairs = zip(d_kernels, added, strict=True)
    d_kernels = tuple(total.at[group].add(new) for total, new in pairs)
    return blocks.write(d_x, index, d_block), d_kernels

  zeros = jax.tree.map(jnp.zeros_like, (padded, kernels))
  d_x, d_kernels = blocks.fold(step, zeros)
  return d_x[: len(x)], d_kernels, None


_map.defvjp(_forward, _backward)
