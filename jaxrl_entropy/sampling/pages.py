"""Reference counts and the free list of a cache's pages."""

from collections.abc import Iterable


class PagePool:
  """The pages of one shard's cache.

  A page is free or held by one or more sequences. Page 0 is never handed out:
  padding is written there.
  """

  def __init__(self, count: int) -> None:
    """Creates a pool of free pages.

    Args:
      count: number of pages, page 0 included.
    """
    self._references = [0] * count
    self._free = list(range(count - 1, 0, -1))

  @property
  def free(self) -> int:
    """Number of free pages."""
    return len(self._free)

  def take(self, count: int) -> list[int]:
    """Takes free pages, each with one holder; the caller checks `free`."""
    pages = [self._free.pop() for _ in range(count)]
    for page in pages:
      self._references[page] = 1
    return pages

  def share(self, pages: Iterable[int]) -> None:
    """Adds a holder to each page."""
    for page in pages:
      self._references[page] += 1

  def release(self, pages: Iterable[int]) -> None:
    """Removes a holder from each page; a page without holders becomes free."""
    for page in pages:
      self._references[page] -= 1
      if not self._references[page]:
        self._free.append(page)
