"""Converts the scheduler's objects to the arrays that the programs take."""

from collections.abc import Iterable, Sequence as ListLike
import itertools
from typing import Any

import numpy as np

from jaxrl_entropy.sampling.drafts import DraftState
from jaxrl_entropy.sampling.engine import Sizes
from jaxrl_entropy.sampling.logits import Controls
from jaxrl_entropy.sampling.programs import PageCopies, PrefillRows, Slots
from jaxrl_entropy.sampling.request import Uniform
from jaxrl_entropy.sampling.scheduler import Copy
from jaxrl_entropy.sampling.sequences import PrefillChunk, Sample, Sequence


class Packer:
  """Packs one value per object into arrays of `bucket` rows per shard."""

  def __init__(self, shards: ListLike[ListLike[Any]], bucket: int) -> None:
    """Lays out the rows.

    Args:
      shards: the objects of each shard, at most `bucket` each.
      bucket: rows per shard; the rows after a shard's objects are unused.
    """
    self._size = len(shards) * bucket
    starts = (i * bucket + np.arange(len(s)) for i, s in enumerate(shards))
    self._index = np.concatenate(list(starts))

  def vector(self, values: Iterable, dtype: Any, fill: Any = 0) -> np.ndarray:
    """Packs a scalar per object, with `fill` in unused rows.

    Args:
      values: one number per object, in the order of the shards.
      dtype: NumPy dtype of the result.
      fill: value of unused rows.

    Returns:
      [shards * bucket], on the host.
    """
    vector = np.full(self._size, fill, dtype)
    vector[self._index] = np.fromiter(values, dtype, len(self._index))
    return vector

  def table(
    self,
    values: Iterable[ListLike[int] | np.ndarray],
    width: int,
    fill: int = 0,
  ) -> np.ndarray:
    """Packs at most `width` integers per object, followed by `fill`.

    Args:
      values: integers of each object, in the order of the shards.
      width: columns of the result.
      fill: value behind an object's integers and in unused rows.

    Returns:
      int32 [shards * bucket, width], on the host.
    """
    table = np.full((self._size, width), fill, np.int32)
    for row, value in zip(self._index, values, strict=True):
      table[row, : len(value)] = value
    return table


def prefill_rows(
  shards: ListLike[ListLike[PrefillChunk]], bucket: int, sizes: Sizes
) -> PrefillRows:
  """Packs chunks of prompts as `bucket` rows per shard.

  Args:
    shards: chunks of each shard, at most `bucket` each.
    bucket: rows per shard; unused ones have a count of 0.
    sizes: static sizes of the programs; no chunk is longer than `sizes.chunk`.
  """
  packer = Packer(shards, bucket)
  chunks = list(itertools.chain.from_iterable(shards))
  tokens = [chunk.prefix.tokens[chunk.start : chunk.stop] for chunk in chunks]
  return PrefillRows(
    tokens=packer.table(tokens, sizes.chunk),
    table=packer.table(
      [chunk.prefix.pages for chunk in chunks], sizes.pages_per_sequence
    ),
    start=packer.vector((chunk.start for chunk in chunks), np.int32),
    count=packer.vector(map(len, tokens), np.int32),
  )


def page_tables(
  shards: ListLike[ListLike[Sequence]], bucket: int, sizes: Sizes
) -> np.ndarray:
  """Packs the pages of sequences as `bucket` rows per shard.

  Args:
    shards: sequences of each shard, at most `bucket` each.
    bucket: rows per shard.
    sizes: static sizes of the programs.

  Returns:
    int32 [shards * bucket, sizes.pages_per_sequence]; 0 behind a sequence's
    pages and in unused rows.
  """
  pages = [s.pages for s in itertools.chain.from_iterable(shards)]
  return Packer(shards, bucket).table(pages, sizes.pages_per_sequence)


def page_copies(shards: ListLike[ListLike[Copy]], bucket: int) -> PageCopies:
  """Packs page copies as `bucket` entries per shard.

  Args:
    shards: copies of each shard, at most `bucket` each; pages are numbered
      within the shard.
    bucket: entries per shard; unused ones are not copied.
  """
  packer = Packer(shards, bucket)
  copies = list(itertools.chain.from_iterable(shards))
  return PageCopies(
    source=packer.vector((source for source, _ in copies), np.int32),
    target=packer.vector((target for _, target in copies), np.int32),
    count=np.array([len(shard) for shard in shards], np.int32),
  )


def slot_rows(
  shards: ListLike[ListLike[Sequence]],
  bucket: int,
  sizes: Sizes,
  min_finished: ListLike[int],
  draft_cost: float | None = None,
) -> Slots:
  """Packs running sequences as `bucket` slots per shard.

  Args:
    shards: sequences of each shard.
    bucket: slots per shard.
    sizes: static sizes of the programs.
    min_finished: of each shard, see `Slots`.
    draft_cost: see `DraftState.cost`; None for a program without drafts.
  """
  packer = Packer(shards, bucket)
  sequences = list(itertools.chain.from_iterable(shards))
  samples = [sequence.sample for sequence in sequences]
  requests = [sample.request for sample in samples]
  budgets = (min(sizes.steps, s.remaining) for s in samples)
  seeds = (r.seed & 0xFFFFFFFF for r in requests)
  uniform = [_uniform(sample) for sample in samples]
  drafts = None
  if draft_cost is not None:
    cost = np.full(len(shards), draft_cost, np.float32)
    drafts = _draft_state(packer, samples, sizes.history_length, cost)
  return Slots(
    token=packer.vector((s.token for s in sequences), np.int32),
    position=packer.vector((s.position for s in sequences), np.int32),
    budget=packer.vector(budgets, np.int32),
    seed=packer.vector(seeds, np.uint32),
    sample=packer.vector((s.index for s in samples), np.int32),
    stop_ids=packer.table(
      [r.stop_ids for r in requests], sizes.stop_ids, fill=-1
    ),
    controls=Controls(
      packer.vector((r.temperature for r in requests), np.float32, fill=1),
      packer.vector((r.top_k for r in requests), np.int32),
      packer.vector((r.top_p for r in requests), np.float32, fill=1),
      packer.vector((r.min_p for r in requests), np.float32),
      packer.vector((u.top_k for u in uniform), np.int32),
      packer.vector((u.floor for u in uniform), np.float32),
      packer.vector(
        (
          len(r.prompt) - 1 + u.after
          for r, u in zip(requests, uniform, strict=True)
        ),
        np.int32,
      ),
    ),
    table=packer.table([s.pages for s in sequences], sizes.pages_per_sequence),
    min_finished=np.array(min_finished, np.int32),
    drafts=drafts,
  )


def _uniform(sample: Sample) -> Uniform:
  """Returns how a sample draws uniformly: with `top_k` 0 if it does not."""
  rule = sample.request.uniform
  if sample.index < sample.request.n - rule.samples:
    return Uniform(top_k=0)
  return rule


def _draft_state(
  packer: Packer, samples: ListLike[Sample], width: int, cost: np.ndarray
) -> DraftState:
  """Packs the texts and hit rates of samples.

  Args:
    packer: with one object per sample.
    samples: the samples.
    width: tokens of a history.
    cost: see `DraftState`, one per shard.
  """
  texts = (np.concatenate([s.request.prompt, s.tokens]) for s in samples)
  history = packer.table(texts, width)
  zeros = np.zeros(len(history), np.int32)
  shard_zeros = np.zeros(len(cost), np.int32)
  return DraftState(
    history=history,
    hit_rate=packer.vector((s.hit_rate for s in samples), np.float32),
    cost=cost,
    drafted=zeros,
    accepted=zeros,
    steps=shard_zeros,
    draft_steps=shard_zeros,
  )
