"""Several sequences in one row of fixed length, alone or behind a prompt."""

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


def share_prompts(
  groups: Sequence[int],
  prompts: Sequence[int],
  responses: Sequence[int],
  row_length: int,
) -> tuple[list[tuple[int, int]], list[int]]:
  """Places responses, in each row behind one copy of their group's prompt.

  Groups go one after the other, that with most tokens first, and their longest
  responses first: where their prompt already stands, else in the first row with
  room.

  Args:
    groups: of each response.
    prompts: tokens to place in front of each response, the same in a group.
    responses: tokens of each response.
    row_length: tokens of a row.

  Returns:
    (row, offset) of the prompt of each response, and the offset of the response
    in the same row.

  Raises:
    ValueError: if a prompt with its response is longer than a row.
  """
  owner, before = np.asarray(groups), np.asarray(prompts, np.int64)
  sizes = np.asarray(responses, np.int64)
  longest = (before + sizes).max(initial=0)
  if longest > row_length:
    raise ValueError(
      f"a sequence of {longest} tokens does not fit a row of {row_length}"
    )
  weight = {group: sizes[owner == group].sum() for group in np.unique(owner)}
  order = sorted(
    range(sizes.size), key=lambda i: (-weight[owner[i]], owner[i], -sizes[i])
  )
  used = np.zeros(sizes.size, np.int64)
  homes: dict[int, dict[int, int]] = {}
  placement, starts = [(0, 0)] * sizes.size, [0] * sizes.size
  for i in order:
    home = homes.setdefault(int(owner[i]), {})
    row = next((row for row in home if used[row] + sizes[i] <= row_length), -1)
    if row < 0:
      row = int(np.argmax(used + before[i] + sizes[i] <= row_length))
      home[row] = int(used[row])
      used[row] += before[i]
    placement[i], starts[i] = (row, home[row]), int(used[row])
    used[row] += sizes[i]
  return placement, starts
