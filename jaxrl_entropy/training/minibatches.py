"""The mini-batches of a rollout: whole groups, dealt at random."""

from collections.abc import Iterator

import numpy as np

from jaxrl_entropy.training.rollout import Rollout


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
