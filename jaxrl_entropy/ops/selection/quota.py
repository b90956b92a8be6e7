"""Exact counts: how many tokens a share of the mini-batch is."""

import math

from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

_DIGIT = 16
_LOW = (1 << _DIGIT) - 1
_DIGITS = 7


def _carry(columns: list) -> list:
  """Returns base-2^16 digits of column sums, lowest first."""
  digits, carry = [], jnp.uint32(0)
  for column in columns:
    column = column + carry
    digits.append(column & _LOW)
    carry = column >> _DIGIT
  return digits


def _times(mantissa: int, count: UInt32[Array, "*s"]) -> list:
  columns = [jnp.uint32(0)] * _DIGITS
  for i in range(4):
    a = jnp.uint32((mantissa >> (_DIGIT * i)) & _LOW)
    for j, b in enumerate((count & _LOW, count >> _DIGIT)):
      product = a * b
      columns[i + j] += product & _LOW
      columns[i + j + 1] += product >> _DIGIT
  return _carry(columns)


def _shifted(digits: list, shift: int) -> UInt32[Array, "*s"]:
  """Returns the number that the digits from bit `shift` on form, mod 2^32."""
  first, bits = divmod(shift, _DIGIT)
  low, middle, high = (digits + [jnp.uint32(0)] * 3)[first : first + 3]
  # Two shifts, as one by the full width of 32 bits would be undefined.
  high = (high << (_DIGIT - bits)) << _DIGIT
  return (low >> bits) | (middle << (_DIGIT - bits)) | high


def _add_power(digits: list, exponent: UInt32[Array, "*s"]) -> list:
  place, bit = exponent // _DIGIT, exponent % _DIGIT
  power = jnp.uint32(1) << bit
  return _carry(
    [digit + jnp.where(place == i, power, 0) for i, digit in enumerate(digits)]
  )


def floor_share(
  ratio: float | Float[Array, ""], count: UInt32[Array, "*s"]
) -> UInt32[Array, "*s"]:
  """Returns `int(ratio * count)`, capped at `count`.

  For a Python number the result is that of double precision, although nothing
  here is: int(0.29 * 100) is 28, and int(0.7 * 10) is 7. A traced ratio is
  a float32 product.

  Args:
    ratio: share, at least 0.
    count: number of tokens, below 2^32 (2^24 for a traced ratio).
  """
  if not isinstance(ratio, (int, float)):
    share = jnp.floor(ratio * count.astype(jnp.float32))
    return jnp.minimum(jnp.maximum(share, 0.0).astype(jnp.uint32), count)
  if not ratio >= 0:
    raise ValueError(f"a share of the tokens must be at least 0, not {ratio}")
  if ratio >= 1:
    return count
  fraction, exponent = math.frexp(ratio)
  down = 54 - exponent
  if ratio == 0 or down > _DIGIT * _DIGITS - 1:
    return jnp.zeros_like(count)
  # ratio = 2 mantissa / 2^down. The double nearest to the exact product is an
  # integer when that lies within half a unit in the last place below it.
  product = _times(2 * int(fraction * 2**53), count)
  whole = _shifted(product, down)
  length = 32 - lax.clz(whole)
  half_unit = jnp.uint32(down - 54) + length
  return _shifted(_add_power(product, half_unit), down)
