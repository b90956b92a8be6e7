"""Several sequences in one row of fixed length."""

from collections.abc import Sequence

import numpy as np


def first_fit(lengths: Sequence[int], row_length: int) -> list[tuple[int, int]]:
  """Places sequences, longest first, in the first row with room for them.

  Uses at most 11/9 of the fewest possible rows, plus one (Johnson, 1973).

  Args:
    lengths: tokens of each sequence.
    row_length: tokens of a row.

  Returns:
    (row, offset) of each sequence, in the order of `lengths`. The same lengths
    always give the same placement.

  Raises:
    ValueError: if a sequence is longer than a row.
  """
  sizes = np.asarray(lengths, np.int64)
  if sizes.size and sizes.max() > row_length:
    raise ValueError(
      f"a sequence of {sizes.max()} tokens does not fit a row of {row_length}"
    )
  used = np.zeros(sizes.size, np.int64)
  placement = [(0, 0)] * sizes.size
  for i in np.argsort(-sizes, kind="stable"):
    row = int(np.argmax(used + sizes[i] <= row_length))
    placement[i] = (row, int(used[row]))
    used[row] += sizes[i]
  return placement
