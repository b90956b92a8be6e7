import numpy as np

from jaxrl_entropy.training import rollout as rollout_lib
from tests.training.rollouts import make_rollout


def deal(rollout, count, seed=0):
  return list(
    rollout_lib.split_minibatches(rollout, count, np.random.default_rng(seed))
  )


def test_whole_groups_are_dealt_once():
  rollout = rollout_lib.concatenate([make_rollout(i) for i in range(3)])
  parts = deal(rollout, 3)
  assert [len(part.responses) for part in parts] == [4, 4, 4]
  seen = np.concatenate([part.groups for part in parts])
  np.testing.assert_array_equal(np.sort(seen), rollout.groups)


def test_fewer_groups_than_updates_make_fewer_updates():
  assert [len(p.responses) for p in deal(make_rollout(), 8)] == [2, 2]
  empty = make_rollout().select(np.array([], int))
  assert deal(empty, 8) == []
