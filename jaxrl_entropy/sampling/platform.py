"""What is fast where: the sampler's choices that depend on the machine."""

import dataclasses

from jax.sharding import Mesh


@dataclasses.dataclass(frozen=True)
class Platform:
  """Sizes of the sampler's programs.

  Attributes:
    page_size: tokens of a page of the cache.
    chunk: tokens of a prompt computed as one row; a long prompt has several.
    prefill_tokens: tokens of all prompts computed in one call, at most.
    span: pages of each sequence attended to at one time.
    steps: tokens that a slot makes between two visits of the host.
    narrowest: programs exist for all slots, half of them, and so on down to
      this many, so that a few last sequences do not pay for all slots.
    kernel: attend with JAX's TPU kernel where it can compute the heads. Off
      by default: it has not run on a TPU yet.
    weights_first: how products are computed, see `layers.weights_first`.
  """

  page_size: int = 64
  chunk: int = 16
  prefill_tokens: int = 512
  span: int = 1
  steps: int = 32
  narrowest: int = 8
  kernel: bool = False
  weights_first: bool = False

  def widths(self, slots: int) -> tuple[int, ...]:
    """Numbers of slots that a decode program is made for, ascending."""
    widths = [slots]
    while widths[-1] // 2 >= self.narrowest:
      widths.append(widths[-1] // 2)
    return tuple(reversed(widths))

  def fill_widths(self, chunk: int) -> tuple[int, ...]:
    """Rows of `chunk` tokens that a prefill program is made for, ascending."""
    rows = max(self.prefill_tokens // chunk, 1)
    return (self.narrowest, rows) if self.narrowest < rows else (rows,)


PLATFORMS = {
  # A step's cost grows with its rows.
  "cpu": Platform(page_size=32, weights_first=True),
  # Reading the weights dominates: idle rows are free, host visits are not. On
  # an H100, pages one by one made decoding take twice as long.
  "gpu": Platform(
    steps=64, chunk=256, prefill_tokens=4096, narrowest=64, span=16
  ),
  "tpu": Platform(
    page_size=128, steps=64, chunk=256, prefill_tokens=4096, narrowest=64
  ),
}


def of(mesh: Mesh) -> Platform:
  """The choices for the devices of a mesh."""
  return PLATFORMS.get(mesh.devices.flat[0].platform, PLATFORMS["gpu"])
