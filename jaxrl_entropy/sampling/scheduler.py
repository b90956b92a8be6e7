"""Which sequence runs in which slot, on which pages: the host's bookkeeping.

One `Scheduler` serves one part of the mesh's data axes. It knows lengths and
pages, not models. A prompt's pages are filled once and shared by its
continuations; a sequence takes further pages as it grows. When pages run out,
prompts that wait give theirs back first, then the youngest sequences; both
return to the queue, and a sequence resumes from the tokens it has.
"""

from collections import deque

from jaxrl_entropy.sampling.pages import PagePool
from jaxrl_entropy.sampling.sequences import (
  Piece,
  Prefix,
  Sample,
  Sequence,
  prefixes_of,
)

Copy = tuple[int, int]
"""A page to copy, and where to."""


class Scheduler:
  """Slots and pages of one part.

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
  ):
    """Starts with nothing running.

    Args:
      queue: prefixes that wait, shared by all parts.
      pool: the pages of this part.
      slots: sequences that can run at a time.
      page_size: tokens a page holds.
      chunk: tokens of a prefix computed as one row.
      steps: tokens that a sequence grows by at most before `reserve` is called
        again.
    """
    self._queue, self._pool = queue, pool
    self._page_size, self._chunk = page_size, chunk
    self._slots, self._steps = slots, steps
    self._prefixes: list[Prefix] = []
    self.running: dict[Sequence, None] = {}

  @property
  def idle(self) -> int:
    """Slots in which nothing runs."""
    return self._slots - len(self.running)

  @property
  def waiting(self) -> bool:
    """Are there samples for a slot that falls idle?"""
    return bool(self._prefixes or self._queue)

  def to_fill(self, rows: int, fresh: int) -> list[Piece]:
    """At most `rows` pieces of prefixes, which the caller computes at once.

    New prefixes leave the queue only when slots would stay idle otherwise, but
    then as many as there are rows, since a program's cost is that of all rows.

    Args:
      rows: of the program.
      fresh: prefixes that may leave the queue, so that others find some too.
    """
    if sum(len(p.samples) for p in self._prefixes) >= self.idle:
      fresh = 0
    pieces: list[Piece] = []
    for prefix in self._prefixes:
      pieces += prefix.fill(self._chunk, rows - len(pieces))
    for _ in range(min(fresh, len(self._queue))):
      if len(pieces) == rows or not self._open(self._queue[0]):
        break
      prefix = self._queue.popleft()
      self._prefixes.append(prefix)
      pieces += prefix.fill(self._chunk, rows - len(pieces))
    return pieces

  def _open(self, prefix: Prefix) -> bool:
    """Takes a prefix's pages, unless running sequences will need them."""
    need = self._count(len(prefix.tokens) - 1)
    if self._pool.free < need + len(self.running):
      return False
    prefix.pages = self._pool.take(need)
    return True

  def reserve(self) -> None:
    """Gives each running sequence the pages of its next tokens."""
    for sequence in list(self.running):
      need = self._growth(sequence.pages, sequence.position, sequence.sample)
      while sequence in self.running and self._pool.free < need:
        self._evict()
      if sequence in self.running:
        sequence.pages += self._pool.take(need)

  def admit(self) -> list[Copy]:
    """Puts samples of filled prefixes into idle slots.

    Returns:
      The pages to copy before they run: a page that is partly filled is shared
      by nobody.
    """
    copies: list[Copy] = []
    self._admit_filled(copies)
    # Prefixes alone may hold so many pages that none can go on.
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
    """The next sample of a prefix in a slot; None without pages for it."""
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

  def _growth(self, pages: list[int], position: int, sample: Sample) -> int:
    steps = min(self._steps, sample.remaining)
    return max(self._count(position + steps) - len(pages), 0)

  def _count(self, tokens: int) -> int:
    return -(-tokens // self._page_size)

  def _evict(self) -> None:
    """Returns to the queue what can best wait, and its pages to the pool."""
    if self._prefixes:
      self._close(self._prefixes.pop())
    else:
      youngest = next(reversed(self.running))
      self.finish(youngest)
      self._queue.extendleft(prefixes_of([youngest.sample]))

  def _close(self, prefix: Prefix) -> None:
    """Takes a prefix's pages back and puts it at the head of the queue."""
    self._pool.release(prefix.pages)
    prefix.pages, prefix.filled = [], 0
    self._queue.appendleft(prefix)
