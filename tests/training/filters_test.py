"""Acceptance of responses by the entropy of the rollout."""

import numpy as np
import pytest

from jaxrl_entropy.training import filters

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
