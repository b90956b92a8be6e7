import numpy as np
import pytest

from jaxrl_entropy.training import rollout as rollout_lib, rollout_metrics
from tests.training.rollouts import make_rollout


def test_covariance_metrics_of_known_values():
  metrics = rollout_metrics.covariance_metrics(np.arange(100.0))
  assert metrics["cov/mean"] == pytest.approx(49.5)
  assert metrics["cov/top_2pct_mean"] == pytest.approx(98.5)
  assert metrics["cov/top_50pct_mean"] == pytest.approx(74.5)
  # 0.02 % of 100 tokens is less than one: the largest stands for it.
  assert metrics["cov/top_0.02pct_mean"] == 99.0


def test_covariance_is_split_by_difficulty_outcome_and_position():
  everything = make_rollout()
  # Lengths 3, 1, 4, 2; the first group has one of two right, the second both.
  covariance = np.arange(10.0)
  metrics = rollout_metrics.split_metrics(everything, covariance)
  assert metrics == {
    "cov/difficulty_middle": np.mean([0, 1, 2, 3]),
    "cov/outcome_correct": np.mean([0, 1, 2, 4, 5, 6, 7, 8, 9]),
    "cov/outcome_incorrect": 3.0,
    "cov/position_q1": np.mean([0, 3, 4, 8]),
    "cov/position_q2": np.mean([1, 5]),
    "cov/position_q3": np.mean([2, 6, 9]),
    "cov/position_q4": 7.0,
  }


def test_the_quadrants_add_up_to_the_mean_covariance():
  everything = make_rollout()
  covariance = rollout_metrics.token_covariance(everything)
  parts = rollout_metrics.quadrant_metrics(everything, covariance)
  assert sum(parts.values()) == pytest.approx(covariance.mean(), rel=1e-5)
  assert parts["cov/likely_rewarded"] >= 0 >= parts["cov/likely_punished"]
  assert parts["cov/unlikely_punished"] >= 0 >= parts["cov/unlikely_rewarded"]


def test_metrics_cover_all_responses_and_the_kept_ones_apart():
  everything = make_rollout()
  kept = everything.select(np.array([0, 1]))
  metrics = rollout_metrics.rollout_metrics(everything, kept)
  mask = everything.mask
  entropy = everything.signals["entropy"]
  assert metrics["entropy/token_mean"] == pytest.approx(entropy[mask].mean())
  assert metrics["entropy/filtered"] == pytest.approx(
    entropy[:2][mask[:2]].mean()
  )
  assert metrics["groups/informative"] == 0.5
  assert metrics["response/length"] == mask.sum(1).mean()


def test_nothing_kept_leaves_out_its_metrics_alone():
  everything = make_rollout()
  kept = everything.select(np.array([], int))
  metrics = rollout_metrics.rollout_metrics(everything, kept)
  assert "entropy/filtered" not in metrics
  assert np.isfinite(metrics["cov/mean"])


def test_groups_are_renumbered_when_batches_join():
  joined = rollout_lib.concatenate([make_rollout(), make_rollout()])
  np.testing.assert_array_equal(joined.groups, [0, 0, 1, 1, 2, 2, 3, 3])
  np.testing.assert_array_equal(rollout_lib.mixed_groups(joined), [0, 2])
