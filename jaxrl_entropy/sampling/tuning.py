"""Sizes of the sampler's programs that make it fast on each platform."""

import dataclasses

from jax.sharding import Mesh


@dataclasses.dataclass(frozen=True)
class Tuning:
  """Sizes of the sampler's programs.

  Attributes:
    page_size: tokens per page of the cache.
    chunk: tokens of a prompt in one row of a prefill; a long prompt has several
      rows.
    prefill_tokens: most tokens of all prompts in one prefill.
    pages_per_block: pages of each sequence attended to at one time.
    steps: decoding steps per call, after which the host schedules again.
    min_bucket: decode programs exist for all slots, half of them, and so on
      down to this many, so that the last few sequences do not pay for all.
    kernel: attend with JAX's TPU kernel where it supports the heads. Off by
      default; `training.kernels` turns it on where it has been tried.
    transposed_kernels: store kernels transposed, see
      `layers.transposed_matmul`.
    draft_bucket: largest bucket whose decode program drafts, if drafts are on.
    draft_cost: duration of a step with drafts in steps without; None measures
      it while sampling.
  """

  page_size: int = 64
  chunk: int = 16
  prefill_tokens: int = 512
  pages_per_block: int = 1
  steps: int = 32
  min_bucket: int = 8
  kernel: bool = False
  transposed_kernels: bool = False
  draft_bucket: int = 64
  draft_cost: float | None = None

  def batch_buckets(self, slots: int) -> tuple[int, ...]:
    """Returns the batch sizes that decode programs are made for, ascending."""
    buckets = [slots]
    while buckets[-1] // 2 >= self.min_bucket:
      buckets.append(buckets[-1] // 2)
    return tuple(reversed(buckets))

  def prefill_buckets(self, chunk: int) -> tuple[int, ...]:
    """Returns the row counts that prefill programs are made for, ascending."""
    rows = max(self.prefill_tokens // chunk, 1)
    return (self.min_bucket, rows) if self.min_bucket < rows else (rows,)


TUNINGS = {
  # The cost of a step grows with its rows, so drafts lose in larger buckets.
  "cpu": Tuning(page_size=32, transposed_kernels=True, draft_bucket=4),
  # Reading the weights dominates: idle rows are free, host round trips are not.
  # On an H100, attention to single pages made decoding take twice as long.
  "gpu": Tuning(
    steps=64,
    chunk=256,
    prefill_tokens=4096,
    min_bucket=64,
    pages_per_block=16,
  ),
  "tpu": Tuning(
    page_size=128, steps=64, chunk=256, prefill_tokens=4096, min_bucket=64
  ),
}


def for_mesh(mesh: Mesh) -> Tuning:
  """Returns the tuning for the platform of the mesh's devices."""
  return TUNINGS.get(mesh.devices.flat[0].platform, TUNINGS["gpu"])
