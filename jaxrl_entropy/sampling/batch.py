"""One call of the sampler: its cache, its schedulers and its decoding loop."""

from collections import deque
from collections.abc import Iterable, Iterator
import dataclasses
import time

import numpy as np

from jaxrl_entropy import distributed
from jaxrl_entropy.sampling import program_inputs
from jaxrl_entropy.sampling.draft_cost import Drafting
from jaxrl_entropy.sampling.engine import Engine, Sizes
from jaxrl_entropy.sampling.logits import Draw
from jaxrl_entropy.sampling.pages import PagePool
from jaxrl_entropy.sampling.programs import Decoded
from jaxrl_entropy.sampling.scheduler import Scheduler
from jaxrl_entropy.sampling.sequences import Prefix, Sample, Sequence
from jaxrl_entropy.sampling.stops import Decode, stop_length
from jaxrl_entropy.types import Params


@dataclasses.dataclass(frozen=True)
class Growth:
  """New tokens of one sample.

  Attributes:
    sample: the sample with its new tokens.
    tokens: int32, the new ones.
  """

  sample: Sample
  tokens: np.ndarray


class Batch:
  """Requests in progress, with their cache and weights."""

  def __init__(
    self,
    engine: Engine,
    sizes: Sizes,
    weights: Params,
    version: int,
    decode_text: Decode | None,
    drafting: Drafting,
  ) -> None:
    """Allocates the cache.

    Args:
      engine: the programs.
      sizes: static sizes of the programs.
      weights: as `Engine.weights` returns them.
      version: their version, which completions record per token.
      decode_text: function from ids to text, for stop strings.
      drafting: costs and counts of drafts, which outlive the batch.
    """
    self._engine, self._sizes = engine, sizes
    self._decode_text = decode_text
    self._queue: deque[Prefix] = deque()
    self._drafting = drafting
    self._schedulers = [
      Scheduler(
        self._queue,
        PagePool(sizes.pages),
        slots=sizes.slots,
        page_size=sizes.page_size,
        chunk=sizes.chunk,
        steps=sizes.steps,
      )
      for _ in range(engine.local_shards)
    ]
    self._weights, self._version = weights, version
    self._new_weights: tuple[Params, int] | None = None
    self._cache = engine.new_cache()

  def add(self, prefixes: Iterable[Prefix]) -> None:
    """Queues prefixes to sample from."""
    self._queue.extend(prefixes)

  def unfinished(self, more: bool = False) -> bool:
    """Whether work is left, or `more` is true, in any process of the job.

    Args:
      more: whether the caller has work that is not queued yet.
    """
    work = more or any(s.running or s.waiting for s in self._schedulers)
    return bool(distributed.max_over_processes(work))

  def update(self, weights: Params, version: int) -> None:
    """Takes new weights, which sample all tokens from the next step on.

    Args:
      weights: as `models.decoding.weights` makes them. They replace those of an
        earlier call that are not in use yet.
      version: the number that marks the tokens which they sample.
    """
    self._new_weights = weights, version

  def advance(self) -> Iterator[Growth]:
    """Prefills, admits and decodes once; yields what each slot produced."""
    self._swap_weights()
    for scheduler in self._schedulers:
      scheduler.reserve()
    # Fill all slots first: a decoding step costs about the same with idle ones.
    filled = False
    while self._prefill():
      filled = True
    self._admit()
    yield from self._decode(timed=not filled)

  def _swap_weights(self) -> None:
    """Takes new weights into use, if there are any.

    Keys and values of the old weights are computed again, so that each token
    has exactly the log-prob of its version.
    """
    if self._new_weights is not None:
      self._weights, self._version = self._new_weights
      self._new_weights = None
      for scheduler in self._schedulers:
        scheduler.preempt_all()

  def _prefill(self) -> bool:
    """Computes the next chunks of prompts; returns whether there were any."""
    sizes = self._sizes
    fresh = -(-len(self._queue) // len(self._schedulers))
    chunks = [
      scheduler.next_chunks(sizes.prefill_buckets[-1], fresh)
      for scheduler in self._schedulers
    ]
    most = distributed.max_over_processes(max(map(len, chunks)))
    if not most:
      return False
    bucket = _bucket(sizes.prefill_buckets, most)
    rows = program_inputs.prefill_rows(chunks, bucket, sizes)
    self._cache = self._engine.prefill(
      self._weights, self._cache, self._engine.put(rows)
    )
    return True

  def _admit(self) -> None:
    """Puts samples of filled prefixes into idle slots."""
    copies = [scheduler.admit() for scheduler in self._schedulers]
    if distributed.max_over_processes(any(copies)):
      rows = program_inputs.page_copies(copies, self._sizes.slots)
      self._cache = self._engine.copy_pages(
        None, self._cache, self._engine.put(rows)
      )

  def _decode(self, timed: bool) -> Iterator[Growth]:
    """Runs one decode program and hands out its tokens.

    Args:
      timed: whether no other program is running, so that the time of this one
        tells what its steps cost.
    """
    sizes, version = self._sizes, self._version
    running = [list(scheduler.running) for scheduler in self._schedulers]
    most = distributed.max_over_processes(max(map(len, running)))
    if not most:
      return
    bucket = _bucket(sizes.batch_buckets, most)
    min_finished = [self._min_finished(s, bucket) for s in self._schedulers]
    decoded = self._run(bucket, running, min_finished, timed)
    growths: list[Growth] = []
    for shard, scheduler in enumerate(self._schedulers):
      for row, sequence in enumerate(running[shard], start=shard * bucket):
        if decoded.count[row]:
          growths.append(
            self._record(scheduler, sequence, decoded, row, version)
          )
    if sizes.routes:
      self._read_routes(
        [[s for s in shard if not s.sample.remaining] for shard in running]
      )
    yield from growths

  def _read_routes(self, ended: list[list[Sequence]]) -> None:
    """Copies the experts of sequences that have ended to the host.

    Their pages are free already, and hold the routes until the next program.
    """
    sizes, engine = self._sizes, self._engine
    bucket, most = sizes.batch_buckets[0], max(map(len, ended))
    for start in range(0, distributed.max_over_processes(most), bucket):
      shards = [shard[start : start + bucket] for shard in ended]
      table = program_inputs.page_tables(shards, bucket, sizes)
      self._cache, routes = engine.read_routes(
        None, self._cache, engine.put(table)
      )
      routes = engine.fetch(routes)
      for shard, sequences in enumerate(shards):
        for row, sequence in enumerate(sequences, start=shard * bucket):
          sample = sequence.sample
          length = len(sample.request.prompt) + sample.length - 1
          sample.routes = routes[row, :length].copy()  # Not the whole batch.

  def _run(
    self,
    bucket: int,
    running: list[list[Sequence]],
    min_finished: list[int],
    timed: bool,
  ) -> Decoded:
    """Runs the decode program of a bucket, with drafts if it has them."""
    sizes, engine = self._sizes, self._engine
    drafts = sizes.drafts(bucket)
    cost = self._drafting.cost.ratio(bucket) if drafts else None
    program = engine.decode_with_drafts if drafts else engine.decode
    slots = program_inputs.slot_rows(running, bucket, sizes, min_finished, cost)
    compilations, start = engine.compilations, time.perf_counter()
    self._cache, decoded = program(
      self._weights, self._cache, engine.put(slots)
    )
    decoded = engine.fetch(decoded)
    if drafts:
      timed = timed and engine.compilations == compilations
      seconds = time.perf_counter() - start if timed else None
      self._drafting.record(bucket, decoded.drafts, seconds)
    return decoded

  def _min_finished(self, scheduler: Scheduler, bucket: int) -> int:
    """Returns how many sequences may finish before the host schedules again.

    While samples wait, few: they take the freed slots. Otherwise as many as it
    takes for a smaller program to run the rest.
    """
    if scheduler.waiting:
      return max(bucket // 32, 1)
    running = len(scheduler.running)
    smaller = [b for b in self._sizes.batch_buckets if b < min(bucket, running)]
    return running - max(smaller, default=0) if running else bucket

  def _record(
    self,
    scheduler: Scheduler,
    sequence: Sequence,
    decoded: Decoded,
    row: int,
    version: int,
  ) -> Growth:
    """Appends a slot's new tokens to its sequence; retires it at its end."""
    count, sample = int(decoded.count[row]), sequence.sample
    draws = decoded.draws
    draw = Draw(
      draws.token[row, :count],
      draws.logp[row, :count],
      draws.tempered_logp[row, :count],
      draws.raw_logp[row, :count],
      draws.entropy[row, :count],
    )
    sequence.token = int(draw.token[-1])
    sequence.position += count
    if decoded.drafts is not None:
      sample.hit_rate = float(decoded.drafts.hit_rate[row])
    sample.extend(draw, version)
    sample.stopped = bool(decoded.stopped[row])
    self._stop_at_strings(sample, count)
    if not sample.remaining:
      scheduler.finish(sequence)
    return Growth(sample, sample.draws[-1].token)

  def _stop_at_strings(self, sample: Sample, new: int) -> None:
    strings = sample.request.stop_strings
    if strings and self._decode_text is not None:
      length = stop_length(sample.tokens, new, strings, self._decode_text)
      if length is not None:
        sample.truncate(length)
        sample.stopped = True


def _bucket(buckets: tuple[int, ...], rows: int) -> int:
  """Returns the smallest bucket that holds this many rows."""
  return next(bucket for bucket in buckets if bucket >= rows)
