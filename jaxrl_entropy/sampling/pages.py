"""Who holds which page of the cache: reference counts and a free list."""

from collections.abc import Iterable


class PagePool:
  """The pages of one shard's cache.

  A page is free, or held by one or more sequences; page 0 is never given out,
  padding is written there.
  """

  def __init__(self, count: int):
    """Args: count: pages in all, page 0 included."""
    self._references = [0] * count
    self._free = list(range(count - 1, 0, -1))

  @property
  def free(self) -> int:
    """Pages that `take` can still give."""
    return len(self._free)

  def take(self, count: int) -> list[int]:
    """New pages, each held once. The caller checks `free` first."""
    pages = [self._free.pop() for _ in range(count)]
    for page in pages:
      self._references[page] = 1
    return pages

  def share(self, pages: Iterable[int]) -> None:
    """One more holder for each page."""
    for page in pages:
      self._references[page] += 1

  def release(self, pages: Iterable[int]) -> None:
    """One holder less; a page that nobody holds is free again."""
    for page in pages:
      self._references[page] -= 1
      if not self._references[page]:
        self._free.append(page)
