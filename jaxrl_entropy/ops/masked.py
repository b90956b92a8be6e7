"""Reductions over the valid tokens of an array.

Padding may hold anything, NaN included: it reaches no result and no gradient.
Every function works on arrays sharded over any mesh; the only arrays that
cross devices are scalars and tables of one entry a response.
"""

from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped, UInt32

from jaxrl_entropy.ops.selection import radix

_LIMB_BITS = 8
_LIMBS = 3
_MAX_SHIFT = 100  # keeps powers of two finite where the range is tiny


def guard(
  x: Shaped[Array, "*#s"], mask: Bool[Array, "*#s"]
) -> Shaped[Array, "*_"]:
  """Returns `x` with 0 at masked positions, where the gradient is 0 too.

  Args:
    x: values of any dtype; NaN and inf at masked positions do no harm.
    mask: True at valid positions; broadcast against `x`.
  """
  return jnp.where(mask, x, jnp.zeros((), x.dtype))


def masked_sum(
  x: Float[Array, "*s"], mask: Bool[Array, "*s"]
) -> Float[Array, ""]:
  """Returns the sum over valid positions.

  Args:
    x: values; any at masked positions, NaN included.
    mask: True at valid positions.
  """
  return jnp.sum(guard(x, mask))


def masked_mean(
  x: Float[Array, "*s"], mask: Bool[Array, "*s"]
) -> Float[Array, ""]:
  """Returns the mean over valid positions; 0 where there is none.

  Args:
    x: values; any at masked positions, NaN included.
    mask: True at valid positions.
  """
  return masked_sum(x, mask) / jnp.maximum(jnp.sum(mask), 1).astype(x.dtype)


def masked_std(
  x: Float[Array, "*s"], mask: Bool[Array, "*s"], ddof: int = 1
) -> Float[Array, ""]:
  """Returns the standard deviation over valid positions, by `n - ddof`.

  0 where fewer than `ddof + 1` positions are valid.

  Args:
    x: values.
    mask: True at valid positions.
    ddof: degrees of freedom to take off the count.
  """
  centered = guard(x - masked_mean(x, mask), mask)
  freedom = jnp.maximum(jnp.sum(mask) - ddof, 1).astype(x.dtype)
  return jnp.sqrt(jnp.sum(centered**2) / freedom)


def segment_sum(
  x: Float[Array, "B T"], response: Int[Array, "B T"], num_responses: int
) -> Float[Array, " R"]:
  """Returns the sum of the tokens of each response.

  Args:
    x: values, 0 at masked positions.
    response: index of each token's response; those outside
      `[0, num_responses)` are left out.
    num_responses: static size `R` of the result.
  """
  table = jnp.zeros(num_responses, x.dtype)
  inside = (response >= 0) & (response < num_responses)
  return table.at[jnp.where(inside, response, num_responses)].add(
    x, mode="drop"
  )


def exact_mean(
  x: Float[Array, "*s"], mask: Bool[Array, "*s"]
) -> Float[Array, ""]:
  """Returns the mean over valid finite positions, whatever their order.

  Permuted, repacked, padded or sharded otherwise, equal values give equal bits;
  a constant array gives exactly that constant. The distances to the maximum
  are summed as fixed-point integers of 24 bits, in limbs that cannot overflow
  up to 2^24 tokens, so the error is below 2^-24 of the range of `x`.

  Args:
    x: values.
    mask: True at valid positions.
  """
  (mean,) = exact_means([x], mask)
  return mean


# Compiled as a whole, for where it is called outside of a compiled step.
@jax.jit
def exact_means(
  arrays: list[Float[Array, "*s"]], mask: Bool[Array, "*s"]
) -> list[Float[Array, ""]]:
  """Returns the `exact_mean` of each array, in two passes over all.

  Args:
    arrays: float32 arrays of one shape; one's NaN and inf are left out of its
      own mean alone.
    mask: True at valid positions of all of them.
  """
  valid = [mask & jnp.isfinite(x) for x in arrays]
  grids = [_grid(*ends) for ends in _extremes(arrays, valid)]
  limbs = [
    limb
    for x, v, grid in zip(arrays, valid, grids, strict=True)
    for limb in _limbs(x, v, grid)
  ]
  sums, per_array = _sums(limbs), _LIMBS + 1
  means = [
    _mean(sums[per_array * i : per_array * (i + 1)], grid)
    for i, grid in enumerate(grids)
  ]
  # Without the barrier XLA fuses these scalars into per-token loops and
  # recomputes them.
  return lax.optimization_barrier(means)


class _Grid(NamedTuple):
  """Fixed-point numbers: distances below `top`, in units.

  Attributes:
    top: the greatest number.
    unit: of the last place, a power of two.
    scale: its inverse.
  """

  top: Float[Array, ""]
  unit: Float[Array, ""]
  scale: Float[Array, ""]


def _grid(bottom: Float[Array, ""], top: Float[Array, ""]) -> _Grid:
  _, exponent = jnp.frexp(top - bottom)
  # Powers of two: multiplying by them is exact, so that it does not matter
  # which operations the compiler fuses.
  shift = _LIMBS * _LIMB_BITS - jnp.maximum(exponent, -_MAX_SHIFT)
  ends = lax.optimization_barrier(
    (jnp.ldexp(1.0, -shift), jnp.ldexp(1.0, shift))
  )
  return _Grid(top, *ends)


def _limbs(
  x: Float[Array, "*s"], valid: Bool[Array, "*s"], grid: _Grid
) -> list[UInt32[Array, "*s"]]:
  """Returns the limbs of each valid number, highest first, and 1 for it."""
  fixed = (guard(grid.top - x, valid) * grid.scale).astype(jnp.uint32)
  limbs = [
    (fixed >> (limb * _LIMB_BITS)) & ((1 << _LIMB_BITS) - 1)
    for limb in reversed(range(_LIMBS))
  ]
  return [*limbs, valid.astype(jnp.uint32)]


def _mean(sums: list[UInt32[Array, ""]], grid: _Grid) -> Float[Array, ""]:
  *limbs, count = sums
  distance = jnp.float32(0)
  for limb in limbs:
    distance = distance * 2.0**_LIMB_BITS + limb.astype(jnp.float32)
  distance /= jnp.maximum(count, 1).astype(jnp.float32)
  return jnp.where(count == 0, 0.0, grid.top - distance * grid.unit)


# Reductions by functions that stay the same: JAX compiles one for each anew.
def _extend(a: list, b: list) -> list:
  return [
    (jnp.minimum(low, low_), jnp.maximum(high, high_))
    for (low, high), (low_, high_) in zip(a, b, strict=True)
  ]


def _add(a: list, b: list) -> list:
  return [x + y for x, y in zip(a, b, strict=True)]


def _extremes(
  arrays: list[Float[Array, "*s"]], valid: list[Bool[Array, "*s"]]
) -> list[tuple[Float[Array, ""], Float[Array, ""]]]:
  """Returns the least and the greatest valid number of each, in one pass."""
  ends = jnp.uint32(2**32 - 1), jnp.uint32(0)
  # Compared as integers: XLA vectorizes that on CPUs, but not for floats.
  keys = [radix.ascending_bits(x) for x in arrays]
  extremes = lax.reduce(
    [
      tuple(jnp.where(v, key, end) for end in ends)
      for key, v in zip(keys, valid, strict=True)
    ],
    [ends] * len(arrays),
    _extend,
    tuple(range(arrays[0].ndim)),
  )
  return [
    (radix.from_ascending_bits(low), radix.from_ascending_bits(high))
    for low, high in extremes
  ]


def _sums(arrays: list[UInt32[Array, "*s"]]) -> list[UInt32[Array, ""]]:
  """Returns the sum of each array, in one pass over them all."""
  return lax.reduce(
    arrays,
    [jnp.uint32(0)] * len(arrays),
    _add,
    tuple(range(arrays[0].ndim)),
  )
