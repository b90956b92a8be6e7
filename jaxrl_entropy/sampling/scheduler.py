"""Host-side scheduling: which sequence runs in which slot, on which pages.

One `Scheduler` serves one shard of the mesh's data axes. It knows lengths and
pages, not models. A prompt's pages are filled once and shared by its
continuations; a sequence takes further pages as it grows. When pages run out,
waiting prefixes are preempted first, then the youngest sequences; both return
to the queue, and a sequence resumes from the tokens it has.
"""

from collections import deque

from jaxrl_entropy.sampling.pages import PagePool
from jaxrl_entropy.sampling.sequences import (
  PrefillChunk,
  Prefix,
  Sample,
  Sequence,
  prefixes_of,
)

Copy = tuple[int, int]
"""Source and target page of a copy."""


class Scheduler:
  """Slots and pages of one shard.

  Attributes:
    running: the sequences in slots, oldest first (an ordered set).
  """

  def __init__(
    self,
    queue: deque[Prefix],
    pool: PagePool,
    *,
    slots: int,
    page_size: int,
    chunk: int,
    steps: int,
  ) -> None:
    """Creates an idle scheduler.

    Args:
      queue: waiting prefixes, shared by all shards.
      pool: the pages of this shard.
      slots: sequences that can run at a time.
      page_size: tokens per page.
      chunk: tokens of a prefix computed as one row.
      steps: most tokens that a sequence grows by between calls of `reserve`.
    """
    self._queue, self._pool = queue, pool
    self._page_size, self._chunk = page_size, chunk
    self._slots, self._steps = slots, steps
    self._prefixes: list[Prefix] = []
    self.running: dict[Sequence, None] = {}

  @property
  def idle(self) -> int:
    """Number of idle slots."""
    return self._slots - len(self.running)

  @property
  def waiting(self) -> bool:
    """Whether samples wait for a slot."""
    return bool(self._prefixes or self._queue)

  def next_chunks(self, rows: int, fresh: int) -> list[PrefillChunk]:
    """Returns chunks of prefixes that the caller must prefill now.

    New prefixes leave the queue only if slots would stay idle otherwise, but
    then up to `rows` of them: a prefill costs the same for fewer rows.

    Args:
      rows: largest number of chunks.
      fresh: largest number of prefixes taken from the queue, which leaves some
        for the other shards.
    """
    if sum(len(p.samples) for p in self._prefixes) >= self.idle:
      fresh = 0
    chunks: list[PrefillChunk] = []
    for prefix in self._prefixes:
      chunks += prefix.next_chunks(self._chunk, rows - len(chunks))
    for _ in range(min(fresh, len(self._queue))):
      if len(chunks) == rows or not self._open(self._queue[0]):
        break
      prefix = self._queue.popleft()
      self._prefixes.append(prefix)
      chunks += prefix.next_chunks(self._chunk, rows - len(chunks))
    return chunks

  def _open(self, prefix: Prefix) -> bool:
    """Takes a prefix's pages unless running sequences will need them."""
    need = self._pages_for(len(prefix.tokens) - 1)
    if self._pool.free < need + len(self.running):
      return False
    prefix.pages = self._pool.take(need)
    return True

  def reserve(self) -> None:
    """Gives each running sequence the pages for its next tokens."""
    for sequence in list(self.running):
      need = self._growth(sequence.pages, sequence.position, sequence.sample)
      while sequence in self.running and self._pool.free < need:
        self._preempt_one()
      if sequence in self.running:
        sequence.pages += self._pool.take(need)

  def admit(self) -> list[Copy]:
    """Puts samples of filled prefixes into idle slots.

    Returns:
      Pages to copy before they run: a partly filled page cannot be shared by
      sequences that write to it.
    """
    copies: list[Copy] = []
    self._admit_filled(copies)
    # Prefixes alone may hold so many pages that none can proceed.
    while self._stuck:
      self._close(self._prefixes.pop())
      self._admit_filled(copies)
    return copies

  @property
  def _stuck(self) -> bool:
    filled = any(not prefix.missing for prefix in self._prefixes)
    return filled and len(self._prefixes) > 1 and not self.running

  def _admit_filled(self, copies: list[Copy]) -> None:
    for prefix in [p for p in self._prefixes if not p.missing]:
      while self.idle and prefix.samples:
        sequence = self._place(prefix, copies)
        if sequence is None:
          break
        self.running[sequence] = None
      if not prefix.samples:
        self._prefixes.remove(prefix)

  def _place(self, prefix: Prefix, copies: list[Copy]) -> Sequence | None:
    """Places a prefix's next sample, or returns None if pages are short."""
    sample, position = prefix.samples[0], len(prefix.tokens) - 1
    growth = self._growth(prefix.pages, position, sample)
    last = len(prefix.samples) == 1
    partial = 0 if last or position % self._page_size == 0 else 1
    if self._pool.free < growth + partial:
      return None
    prefix.samples.popleft()
    pages = list(prefix.pages)
    if not last:
      whole = pages[: len(pages) - partial]
      self._pool.share(whole)
      own = self._pool.take(partial)
      copies += zip(pages[len(whole) :], own, strict=True)
      pages = whole + own
    pages += self._pool.take(growth)
    token = int(prefix.tokens[-1])
    return Sequence(sample, pages, token, position)

  def finish(self, sequence: Sequence) -> None:
    """Frees the slot and the pages of a sequence."""
    del self.running[sequence]
    self._pool.release(sequence.pages)

  def preempt_all(self) -> None:
    """Returns all prefixes and sequences to the queue, the oldest first."""
    while self._prefixes:
      self._close(self._prefixes.pop())
    while self.running:
      self._preempt_youngest()

  def _growth(self, pages: list[int], position: int, sample: Sample) -> int:
    steps = min(self._steps, sample.remaining)
    return max(self._pages_for(position + steps) - len(pages), 0)

  def _pages_for(self, tokens: int) -> int:
    return -(-tokens // self._page_size)

  def _preempt_one(self) -> None:
    """Preempts the newest prefix, or else the youngest sequence."""
    if self._prefixes:
      self._close(self._prefixes.pop())
    else:
      self._preempt_youngest()

  def _preempt_youngest(self) -> None:
    youngest = next(reversed(self.running))
    self.finish(youngest)
    self._queue.extendleft(prefixes_of([youngest.sample]))

  def _close(self, prefix: Prefix) -> None:
    """Frees a prefix's pages and puts it at the head of the queue."""
    self._pool.release(prefix.pages)
    prefix.pages, prefix.filled = [], 0
    self._queue.appendleft(prefix)
