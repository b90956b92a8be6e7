"""One call of the sampler: its cache, its schedulers, and their visits."""

from collections import deque
from collections.abc import Iterator
import dataclasses

import numpy as np

from jaxrl_entropy.sampling import rows
from jaxrl_entropy.sampling.engine import Engine, Sizes
from jaxrl_entropy.sampling.logits import Draw
from jaxrl_entropy.sampling.pages import PagePool
from jaxrl_entropy.sampling.programs import Produced
from jaxrl_entropy.sampling.request import Completion
from jaxrl_entropy.sampling.scheduler import Scheduler
from jaxrl_entropy.sampling.sequences import Prefix, Sample, Sequence
from jaxrl_entropy.sampling.stops import Decode, stop_length
from jaxrl_entropy.types import Params


@dataclasses.dataclass(frozen=True)
class Event:
  """New tokens of one continuation.

  Attributes:
    request: index of the request.
    sample: which of its continuations.
    tokens: int32, those that are new.
    completion: the whole, once it has ended.
  """

  request: int
  sample: int
  tokens: np.ndarray
  completion: Completion | None


class Batch:
  """Requests on their way through the slots, with their cache and weights."""

  def __init__(
    self,
    engine: Engine,
    sizes: Sizes,
    queue: deque[Prefix],
    params: Params,
    decode_text: Decode | None,
  ):
    """Copies the weights, after which `params` may change or go.

    Args:
      engine: the programs.
      sizes: of the programs.
      queue: what is to be sampled.
      params: the policy's.
      decode_text: tokens to text, for stop strings.
    """
    self._engine, self._sizes = engine, sizes
    self._decode_text, self._queue = decode_text, queue
    self._parts = [
      Scheduler(
        queue,
        PagePool(sizes.pages),
        slots=sizes.slots,
        page_size=sizes.page_size,
        chunk=sizes.chunk,
        steps=sizes.steps,
      )
      for _ in range(engine.local_parts)
    ]
    self._weights = engine.weights(params)
    self._cache = engine.new_cache()

  @property
  def unfinished(self) -> bool:
    """Is there work, here or in another process of the job?"""
    work = any(part.running or part.waiting for part in self._parts)
    return bool(self._engine.agree(work))

  def advance(self) -> Iterator[Event]:
    """One visit: fills, admits and decodes; tells what was sampled."""
    for part in self._parts:
      part.reserve()
    # A step costs about the same whether slots are idle or not.
    while self._fill():
      pass
    self._admit()
    yield from self._decode()

  def _fill(self) -> bool:
    """Computes the next pieces of prompts that are to run soon, if any."""
    sizes = self._sizes
    share = -(-len(self._queue) // len(self._parts))
    pieces = [
      part.to_fill(sizes.fill_widths[-1], share) for part in self._parts
    ]
    most = self._engine.agree(max(map(len, pieces)))
    if not most:
      return False
    width = _width(sizes.fill_widths, most)
    chunk = rows.chunk_rows(pieces, width, sizes.chunk, sizes.columns)
    self._cache = self._engine.prefill(
      self._weights, self._cache, self._engine.put(chunk)
    )
    return True

  def _admit(self) -> None:
    """Puts what is ready into idle slots."""
    copies = [part.admit() for part in self._parts]
    if self._engine.agree(any(copies)):
      call = self._engine.put(rows.copy_rows(copies, self._sizes.slots))
      self._cache = self._engine.copy_pages(None, self._cache, call)

  def _decode(self) -> Iterator[Event]:
    """Runs the slots for a while and shares out what they made."""
    sizes = self._sizes
    running = [list(part.running) for part in self._parts]
    most = self._engine.agree(max(map(len, running)))
    if not most:
      return
    width = _width(sizes.widths, most)
    patience = [self._patience(part, width) for part in self._parts]
    slots = rows.slot_rows(running, width, sizes, patience)
    self._cache, produced = self._engine.decode(
      self._weights, self._cache, self._engine.put(slots)
    )
    produced = self._engine.fetch(produced)
    for index, part in enumerate(self._parts):
      for row, sequence in enumerate(running[index], start=index * width):
        if produced.count[row]:
          yield self._record(part, sequence, produced, row)

  def _patience(self, part: Scheduler, width: int) -> int:
    """How many sequences may end before the host should look again.

    Where samples wait: few, which they follow. Else so many that a narrower
    program can take the rest, or all.
    """
    if part.waiting:
      return max(width // 32, 1)
    running = len(part.running)
    narrower = [w for w in self._sizes.widths if w < min(width, running)]
    return running - max(narrower, default=0) if running else width

  def _record(
    self, part: Scheduler, sequence: Sequence, produced: Produced, row: int
  ) -> Event:
    """Adds what a slot made to its sequence, and retires it at its end."""
    count, sample = int(produced.count[row]), sequence.sample
    made = produced.draws
    draw = Draw(
      made.token[row, :count],
      made.logp[row, :count],
      made.raw_logp[row, :count],
      made.entropy[row, :count],
    )
    sequence.token = int(draw.token[-1])
    sequence.position += count
    sample.extend(draw)
    sample.stopped = bool(produced.stopped[row])
    self._stop_at_strings(sample, count)
    ended = sample.remaining == 0
    if ended:
      part.finish(sequence)
    return Event(
      sample.owner,
      sample.index,
      sample.draws[-1].token,
      sample.completion() if ended else None,
    )

  def _stop_at_strings(self, sample: Sample, new: int) -> None:
    strings = sample.request.stop_strings
    if strings and self._decode_text is not None:
      length = stop_length(sample.tokens, new, strings, self._decode_text)
      if length is not None:
        sample.truncate(length)
        sample.stopped = True


def _width(widths: tuple[int, ...], rows: int) -> int:
  """The narrowest program with so many rows."""
  return next(width for width in widths if width >= rows)
