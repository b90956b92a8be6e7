"""Rotary position embedding (Su et al., 2104.09864) and its length scalings.

The half-split convention of Hugging Face: dimension `i` is rotated with
dimension `i + d / 2`.
"""

import dataclasses
import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np

KINDS = ("default", "linear", "llama3", "yarn")


@dataclasses.dataclass(frozen=True)
class Rope:
  """Frequencies of the rotary embedding.

  Attributes:
    theta: base of the geometric series of wavelengths.
    kind: "default"; "linear" (every frequency / factor); "llama3" (low
      frequencies / factor, a smooth step between); "yarn" (2309.00071).
    factor: how many times longer than `original_length` the context became.
    original_length: tokens of the context before scaling (llama3, yarn).
    low_freq_factor: llama3: wavelengths above original_length / this scale.
    high_freq_factor: llama3: wavelengths below original_length / this do not.
    beta_fast: yarn: dimensions with more rotations than this do not scale.
    beta_slow: yarn: dimensions with fewer rotations than this scale fully.
    truncate: yarn: round the two dimensions above to integers.
    attention_factor: yarn: multiplies the rotated queries and keys.
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

  def __post_init__(self):
    if self.kind not in KINDS:
      raise ValueError(
        f"rope kind {self.kind!r} is not supported; one of {', '.join(KINDS)}"
      )
    if self.kind in ("llama3", "yarn") and self.original_length < 1:
      raise ValueError(f"rope kind {self.kind!r} needs original_length")

  @property
  def stretched_length(self) -> int:
    """Longest context under YaRN scaling, tokens; 0 for the other kinds."""
    if self.kind != "yarn":
      return 0
    return int(self.factor * self.original_length)


def inverse_frequencies(rope: Rope, head_dim: int) -> np.ndarray:
  """Radians a token for each rotated pair, float64[head_dim / 2]."""
  exponent = np.arange(0, head_dim, 2) / head_dim
  plain = rope.theta**-exponent
  scaled = plain / rope.factor
  if rope.kind == "default":
    return plain
  if rope.kind == "linear":
    return scaled
  keep = _llama3_keep if rope.kind == "llama3" else _yarn_keep
  share = keep(rope, plain, head_dim)
  return share * plain + (1 - share) * scaled


def _llama3_keep(rope: Rope, plain: np.ndarray, head_dim: int) -> np.ndarray:
  """The share of each frequency that is left unscaled."""
  del head_dim
  turns = rope.original_length * plain / (2 * math.pi)
  span = rope.high_freq_factor - rope.low_freq_factor
  return np.clip((turns - rope.low_freq_factor) / span, 0, 1)


def _yarn_keep(rope: Rope, plain: np.ndarray, head_dim: int) -> np.ndarray:
  """The share of each frequency that is left unscaled (2309.00071, eq. 23)."""

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
  """cos and sin of every position's angles, float32."""
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
  """`x` turned by the angles of its positions, in float32, in x's dtype."""
  cos, sin = (r[..., None, :] for r in rotation)
  first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  turned = (first * cos - second * sin, second * cos + first * sin)
  return jnp.concatenate(turned, axis=-1).astype(x.dtype)
