"""The scheduler's objects as the arrays that the engine's programs take."""

from collections.abc import Iterable, Sequence as ListLike
import itertools
from typing import Any

import numpy as np

from jaxrl_entropy.sampling.engine import Sizes
from jaxrl_entropy.sampling.logits import Controls
from jaxrl_entropy.sampling.programs import Chunk, Copies, Slots
from jaxrl_entropy.sampling.scheduler import Copy
from jaxrl_entropy.sampling.sequences import Piece, Sequence


class Rows:
  """Rows of `width` for each part, of which a part uses the first few."""

  def __init__(self, parts: ListLike[ListLike[Any]], width: int):
    """Args: parts: the objects of each part, at most `width` of them."""
    self._size = len(parts) * width
    self._items = list(itertools.chain.from_iterable(parts))
    starts = (part * width + np.arange(len(p)) for part, p in enumerate(parts))
    self._index = np.concatenate(list(starts))

  def column(self, values: Iterable, dtype: Any, fill: Any = 0) -> np.ndarray:
    """One value an object; `fill` in the rows not used."""
    column = np.full(self._size, fill, dtype)
    column[self._index] = np.fromiter(values, dtype, len(self._index))
    return column

  def table(
    self,
    values: Iterable[ListLike[int] | np.ndarray],
    width: int,
    fill: int = 0,
  ) -> np.ndarray:
    """A list of at most `width` integers an object, `fill` after its end."""
    table = np.full((self._size, width), fill, np.int32)
    for row, value in zip(self._index, values, strict=True):
      table[row, : len(value)] = value
    return table


def chunk_rows(
  parts: ListLike[ListLike[Piece]], width: int, length: int, columns: int
) -> Chunk:
  """Pieces of at most `length` tokens, with tables of `columns` pages."""
  rows = Rows(parts, width)
  pieces = list(itertools.chain.from_iterable(parts))
  tokens = [piece.prefix.tokens[piece.start : piece.stop] for piece in pieces]
  return Chunk(
    tokens=rows.table(tokens, length),
    table=rows.table([piece.prefix.pages for piece in pieces], columns),
    start=rows.column((piece.start for piece in pieces), np.int32),
    count=rows.column(map(len, tokens), np.int32),
  )


def copy_rows(parts: ListLike[ListLike[Copy]], width: int) -> Copies:
  rows = Rows(parts, width)
  copies = list(itertools.chain.from_iterable(parts))
  return Copies(
    source=rows.column((source for source, _ in copies), np.int32),
    target=rows.column((target for _, target in copies), np.int32),
    count=np.array([len(part) for part in parts], np.int32),
  )


def slot_rows(
  parts: ListLike[ListLike[Sequence]],
  width: int,
  sizes: Sizes,
  patience: ListLike[int],
) -> Slots:
  """Running sequences as `width` slots for each part."""
  rows = Rows(parts, width)
  sequences = list(itertools.chain.from_iterable(parts))
  samples = [sequence.sample for sequence in sequences]
  requests = [sample.request for sample in samples]
  return Slots(
    token=rows.column((s.token for s in sequences), np.int32),
    position=rows.column((s.position for s in sequences), np.int32),
    budget=rows.column(
      (min(sizes.steps, s.remaining) for s in samples), np.int32
    ),
    seed=rows.column((r.seed & 0xFFFFFFFF for r in requests), np.uint32),
    sample=rows.column((s.index for s in samples), np.int32),
    stop_ids=rows.table(
      [r.stop_ids for r in requests], sizes.stop_ids, fill=-1
    ),
    controls=Controls(
      rows.column((r.temperature for r in requests), np.float32, fill=1),
      rows.column((r.top_k for r in requests), np.int32),
      rows.column((r.top_p for r in requests), np.float32, fill=1),
      rows.column((r.min_p for r in requests), np.float32),
    ),
    table=rows.table([s.pages for s in sequences], sizes.columns),
    patience=np.array(patience, np.int32),
  )
