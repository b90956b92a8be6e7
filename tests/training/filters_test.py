"""Acceptance of responses by the entropy of the rollout."""

import dataclasses

import numpy as np
import pytest

from jaxrl_entropy.config import finalize, get_config
from jaxrl_entropy.training import filters
from jaxrl_entropy.training.rollout import mixed_groups
from tests.training.rollouts import make_rollout

ADVANTAGES = np.array([-1.0, 0.0, 2.0])


@pytest.mark.parametrize(
  ("entropy", "done", "expected"),
  [
    (0.55, 0.0, [True, False, False]),  # below: only what raises the entropy
    (0.65, 0.0, [True, True, True]),
    (0.75, 0.0, [False, False, True]),  # above: only what lowers it
    (0.55, 0.5, [True, True, True]),  # the band has come down
    (0.55, 1.0, [False, False, True]),
    (0.35, 1.0, [True, False, False]),
  ],
)
def test_entropy_band_follows_its_schedule(entropy, done, expected):
  accept = filters.resolve("entropy_band")
  np.testing.assert_array_equal(accept(ADVANTAGES, entropy, done), expected)


def test_everything():
  assert filters.resolve("everything")(ADVANTAGES, 0.0, 0.0).all()


def test_bad_settings():
  with pytest.raises(ValueError, match=r"unknown rollout\.accept 'best'"):
    filters.resolve("best")
  with pytest.raises(ValueError, match="does not take these args"):
    filters.resolve("entropy_band", {"middle": 1.0})
  with pytest.raises(ValueError, match=r"0\.9 is above upper 0\.7"):
    filters.resolve("entropy_band", {"lower": (0.9, 0.4)})


def shaped(rollout):
  """The rollout with length shaping that sets wrong responses apart."""
  answer = np.array([1, 0, 0, 0], np.float32)
  overlong = np.array([0, 0, -0.5, 0], np.float32)
  return dataclasses.replace(
    rollout,
    rewards=answer + overlong,
    components={"answer": answer, "overlong": overlong},
  )


def settings(**changes):
  config = get_config()
  config.rollout.update(changes)
  config.rollout.update(prompts_per_step=2, num_minibatches=1)
  finalize(config)
  return config.rollout


def test_groups_are_mixed_by_their_answers_and_not_by_shaping():
  rollout = shaped(make_rollout())
  np.testing.assert_array_equal(mixed_groups(rollout), [0])
  select = filters.make_group_filter(settings(group_filter="mixed"))
  assert set(select(rollout, 0.0).groups) == {0}


def test_all_groups_are_kept_where_none_is_filtered():
  rollout = shaped(make_rollout())
  select = filters.make_group_filter(settings(group_filter="all"))
  assert len(select(rollout, 0.0).responses) == 4
