"""The soft cap of Gemma 2 (2408.00118, section 2)."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def soft_cap(x: Float[Array, "*S"], cap: float) -> Float[Array, "*S"]:
  """Returns `cap tanh(x / cap)`, or `x` itself if `cap` is 0.

  Args:
    x: values to bound.
    cap: bound of the absolute value, a Python number at least 0.
  """
  return cap * jnp.tanh(x / cap) if cap else x
