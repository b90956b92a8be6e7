"""One call of the sampler: its cache, its schedulers, and their visits."""

from collections import deque
from collections.abc import Iterator
import dataclasses

import jax
import numpy as np

from jaxrl_entropy.sampling import rows
from jaxrl_entropy.sampling.engine import Engine, Produced, Sizes
from jaxrl_entropy.sampling.logits import Draw
from jaxrl_entropy.sampling.request import Completion
from jaxrl_entropy.sampling.scheduler import Scheduler
from jaxrl_entropy.sampling.sequences import Prefix, Sequence
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
  """Requests on their way through the slots."""

  def __init__(
    self, engine: Engine, sizes: Sizes, queue: deque[Prefix], params: Params
  ):
    """Args: queue: what is to be sampled. params: the policy's."""
    self._engine, self._sizes = engine, sizes
    self._parts = [
      Scheduler(
        queue,
        slots=sizes.slots,
        pages=sizes.pages,
        page_size=sizes.page_size,
        steps=sizes.steps,
      )
      for _ in range(engine.local_parts)
    ]
    self._weights = engine.weights(params)
    self._cache = engine.new_cache()

  @property
  def unfinished(self) -> bool:
    return any(part.running or part.waiting for part in self._parts)

  def advance(self) -> Iterator[Event]:
    """One visit: fills, admits and decodes; tells what was sampled."""
    for part in self._parts:
      part.reserve()
    self._fill()
    self._admit()
    if any(part.running for part in self._parts):
      yield from self._decode()

  def _fill(self) -> None:
    """Computes the next chunk of prompts that are to run soon."""
    sizes = self._sizes
    filling = [part.to_fill(sizes.fill_rows) for part in self._parts]
    if not any(filling):
      return
    chunk = rows.chunk_rows(
      filling, sizes.fill_rows, sizes.chunk, sizes.columns
    )
    self._cache = self._engine.prefill(
      self._weights, self._cache, self._engine.put(chunk)
    )
    for prefix in (prefix for part in filling for prefix in part):
      prefix.filled += min(sizes.chunk, prefix.missing)

  def _admit(self) -> None:
    copies = [part.admit() for part in self._parts]
    if any(copies):
      call = self._engine.put(rows.copy_rows(copies, self._sizes.slots))
      self._cache = self._engine.copy_pages(None, self._cache, call)

  def _decode(self) -> Iterator[Event]:
    sizes = self._sizes
    running = [list(part.running) for part in self._parts]
    most = max(map(len, running))
    width = next(width for width in sizes.widths if width >= most)
    slots = rows.slot_rows(
      running,
      width,
      steps=sizes.steps,
      stop_ids=sizes.stop_ids,
      columns=sizes.columns,
      patience=[
        max(width // 32, 1) if part.waiting else width for part in self._parts
      ],
    )
    self._cache, produced = self._engine.decode(
      self._weights, self._cache, self._engine.put(slots)
    )
    produced = self._engine.fetch(produced)
    for index, part in enumerate(self._parts):
      for row, sequence in enumerate(running[index], start=index * width):
        if produced.count[row]:
          yield _record(part, sequence, produced, row)


def _record(
  part: Scheduler, sequence: Sequence, produced: Produced, row: int
) -> Event:
  """Adds what a slot made to its sequence, and retires it at its end."""
  count, sample = int(produced.count[row]), sequence.sample
  draw = Draw(*(x[row, :count] for x in jax.tree.leaves(produced.draws)))
  sample.extend(draw)
  sample.stopped = bool(produced.stopped[row])
  sequence.token = int(draw.token[-1])
  sequence.position += count
  ended = sample.remaining == 0
  if ended:
    part.finish(sequence)
  return Event(
    sample.owner,
    sample.index,
    draw.token,
    sample.completion() if ended else None,
  )
