"""Rotary position embedding (Su et al., 2104.09864) and its length scalings.

The half-split convention of Hugging Face: dimension `i` is rotated with
dimension `i + d / 2`.
"""

import dataclasses
import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np

KINDS = ("default", "none", "linear", "llama3", "yarn", "longrope")


@dataclasses.dataclass(frozen=True)
class Rope:
  """Frequencies of the rotary embedding.

  Attributes:
    theta: base of the geometric series of wavelengths.
    kind: "default"; "none" (no rotation); "linear" (every frequency / factor);
      "llama3" (low frequencies / factor, a smooth step between); "yarn"
      (2309.00071); "longrope" (2402.13753, a divisor for each frequency).
    factor: how many times longer than `original_length` the context became.
    original_length: tokens of the context before scaling (llama3, yarn,
      longrope).
    low_freq_factor: llama3: wavelengths above original_length / this scale.
    high_freq_factor: llama3: wavelengths below original_length / this do not.
    beta_fast: yarn: dimensions with more rotations than this do not scale.
    beta_slow: yarn: dimensions with fewer rotations than this scale fully.
    truncate: yarn: round the two dimensions above to integers.
    attention_factor: yarn, longrope: multiplies rotated queries and keys.
    rotated: fraction of each head's dimensions that is rotated, from the first.
    short_factors: longrope: divisors up to `original_length`.
    long_factors: longrope: divisors beyond it.
    long: longrope: whether contexts may be longer than `original_length`.
  """

  theta: float = 10000.0
  kind: str = "default"
  factor: float = 1.0
  original_length: int = 0
  low_freq_factor: float = 1.0
  high_freq_factor: float = 4.0
  beta_fast: float = 32.0
  beta_slow: float = 1.0
  truncate: bool = True
  attention_factor: float = 1.0
  rotated: float = 1.0
  short_factors: tuple[float, ...] = ()
  long_factors: tuple[float, ...] = ()
  long: bool = False

  def __post_init__(self) -> None:
    if self.kind not in KINDS:
      raise ValueError(
        f"rope kind {self.kind!r} is not supported; one of {', '.join(KINDS)}"
      )
    scaled = self.kind in ("llama3", "yarn", "longrope")
    if scaled and self.original_length < 1:
      raise ValueError(f"rope kind {self.kind!r} needs original_length")

  @property
  def stretched_length(self) -> int:
    """Returns the longest context of YaRN and LongRoPE, tokens; else 0."""
    if self.kind not in ("yarn", "longrope"):
      return 0
    return int(self.factor * self.original_length)


def inverse_frequencies(rope: Rope, head_dim: int) -> np.ndarray:
  """Computes radians per token of each rotated pair of dimensions, float64.

  Args:
    rope: the frequencies and their scaling.
    head_dim: width d of one head, even.

  Returns:
    Angles, [int(d * rope.rotated) / 2]; dimension i and its partner share one.
  """
  width = int(head_dim * rope.rotated)
  exponent = np.arange(0, width, 2) / width
  plain = rope.theta**-exponent
  scaled = plain / rope.factor
  if rope.kind == "default":
    return plain
  if rope.kind == "none":
    return np.zeros_like(plain)
  if rope.kind == "longrope":
    return plain / (rope.long_factors if rope.long else rope.short_factors)
  if rope.kind == "linear":
    return scaled
  keep = _llama3_keep if rope.kind == "llama3" else _yarn_keep
  share = keep(rope, plain, width)
  return share * plain + (1 - share) * scaled


def _llama3_keep(rope: Rope, plain: np.ndarray, head_dim: int) -> np.ndarray:
  """Computes the share of each frequency that is left unscaled."""
  del head_dim
  turns = rope.original_length * plain / (2 * math.pi)
  span = rope.high_freq_factor - rope.low_freq_factor
  return np.clip((turns - rope.low_freq_factor) / span, 0, 1)


def _yarn_keep(rope: Rope, plain: np.ndarray, head_dim: int) -> np.ndarray:
  """Computes the unscaled share of each frequency (2309.00071, eq. 23)."""

  def dimension(turns: float) -> float:
    wavelength = rope.original_length / (turns * 2 * math.pi)
    return head_dim * math.log(wavelength) / (2 * math.log(rope.theta))

  low, high = dimension(rope.beta_fast), dimension(rope.beta_slow)
  if rope.truncate:
    low, high = math.floor(low), math.ceil(high)
  low, high = max(low, 0), min(high, head_dim - 1)
  # Negative when the context is short: as transformers does.
  span = high - low if high != low else 1e-3
  return 1 - np.clip((np.arange(plain.size) - low) / span, 0, 1)


def rotations(
  rope: Rope, head_dim: int, positions: Int[Array, "*B"]
) -> tuple[Float[Array, "*B half"], Float[Array, "*B half"]]:
  """Computes cos and sin of every position's angles, float32.

  Args:
    rope: the frequencies and their scaling.
    head_dim: width d of one head, even.
    positions: place of each token in its sequence, from 0.

  Returns:
    Both multiplied by `rope.attention_factor`; `half` is half the number of
    rotated dimensions.
  """
  frequency = jnp.asarray(inverse_frequencies(rope, head_dim), jnp.float32)
  angle = positions[..., None].astype(jnp.float32) * frequency.reshape(
    (1,) * positions.ndim + (-1,)
  )
  return (
    jnp.cos(angle) * rope.attention_factor,
    jnp.sin(angle) * rope.attention_factor,
  )


def rotate(
  x: Float[Array, "*B heads dim"],
  rotation: tuple[Float[Array, "*B half"], Float[Array, "*B half"]],
) -> Float[Array, "*B heads dim"]:
  """Rotates the first 2 * half dimensions of `x`, in float32.

  Args:
    x: queries or keys of any dtype, which the result has too.
    rotation: cos and sin of each token's position, as `rotations` makes them.

  Returns:
    The rotated heads; dimensions after the first 2 * half are as they were.
  """
  cos, sin = (r[..., None, :] for r in rotation)
  half = cos.shape[-1]
  first, second, rest = jnp.split(x, (half, 2 * half), axis=-1)
  first, second = first.astype(jnp.float32), second.astype(jnp.float32)
  turned = (first * cos - second * sin, second * cos + first * sin)
  kept = (values.astype(x.dtype) for values in turned)
  return jnp.concatenate((*kept, rest), axis=-1)
