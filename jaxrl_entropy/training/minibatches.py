"""The mini-batches of a rollout: whole groups, dealt at random."""

from collections.abc import Iterable, Iterator

import numpy as np

from jaxrl_entropy.training import rows as rows_lib
from jaxrl_entropy.training.rollout import Rollout
from jaxrl_entropy.training.step import Rows


def deal(
  rollout: Rollout, count: int, rng: np.random.Generator
) -> Iterator[Rollout]:
  """`count` mini-batches of whole groups, equal in groups up to one.

  A rollout of fewer than `count` groups yields one mini-batch a group.
  """
  groups = rng.permutation(np.unique(rollout.groups))
  for part in np.array_split(groups, count):
    if len(part):
      yield rollout.select(np.flatnonzero(np.isin(rollout.groups, part)))


def lay_out(
  rollout: Rollout,
  signals: Iterable[str],
  *,
  capacity: int,
  length: int,
) -> Rows:
  """The rollout on the host, [capacity, length], one response a row.

  Args:
    rollout: at most `capacity` responses.
    signals: names of the rollout's signals that go along.
    capacity: rows, static.
    length: tokens of a row, static.
  """
  rows = rows_lib.fill_rows(
    rollout.prompts,
    rollout.responses,
    rows_lib.one_per_row(len(rollout.responses)),
    rows=capacity,
    length=length,
  )
  chosen = {name: rollout.signals[name] for name in signals}
  return rows_lib.with_signals(rows, chosen)
