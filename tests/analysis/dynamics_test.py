import numpy as np
import pytest

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, runs
from tests.analysis import synthetic


def run_of(**columns):
  records = [
    {"step": step} | {key: values[step] for key, values in columns.items()}
    for step in range(len(next(iter(columns.values()))))
  ]
  return runs.Run("run", {}, records)


def test_agreement_measures_slope_sign_and_positive_share():
  predicted = np.array([-3.0, -2.0, -1.0, 1.0])
  found = dynamics.agreement(predicted, np.array([-1.5, -1.0, 0.5, 0.5]))
  assert found.steps == 4
  assert found.same_sign == 0.75
  assert found.positive == 0.75
  exact = dynamics.agreement(predicted, 0.5 * predicted + 1)
  assert exact.slope == pytest.approx(0.5)
  assert exact.correlation == pytest.approx(1.0)
  # An offset that the slope hides.
  assert exact.realized == pytest.approx((0.5 * -5 + 4) / -5)


def test_agreement_needs_points_that_differ():
  assert dynamics.agreement(np.zeros(2), np.zeros(2)) is None
  assert dynamics.agreement(np.zeros(9), np.arange(9.0)) is None


def test_probe_finds_the_slope_of_the_synthetic_run(tmp_path):
  run = runs.load(synthetic.write_run(tmp_path / "run"))
  found = dynamics.probe([run, run])
  assert found.steps == 2 * 106
  assert found.slope == pytest.approx(0.86, abs=0.01)
  assert found.positive == 1.0


def test_group_wise_covariance_is_held_against_the_next_window():
  covariance = np.array([1.0, 4.0, 2.0, 3.0, 9.0])
  entropy = 10 - np.concatenate([[0], np.cumsum(covariance[:-1])])
  run = run_of(**{"cov/mean": covariance, run_files.ENTROPY: entropy})
  found = dynamics.group_wise([run], "cov/mean", window=1)
  assert found.steps == 4
  assert found.correlation == pytest.approx(1.0)
  assert found.slope == pytest.approx(1.0)


def test_windows_average_out_what_prompts_add_to_the_entropy():
  rng = np.random.default_rng(0)
  drop = np.exp(-np.arange(160) / 40) / 50
  noisy = -np.cumsum(drop) + 0.03 * rng.normal(size=160)
  run = run_of(**{"cov/mean": drop, run_files.ENTROPY: noisy})
  by_step, by_window = (
    dynamics.group_wise([run], "cov/mean", window=n).correlation for n in (1, 8)
  )
  assert by_step < 0.3
  assert by_window > 0.8


def test_collapse_is_the_share_of_the_first_part():
  entropy = np.r_[1.0, 0.4, np.full(11, 0.2)]
  accuracy = np.r_[0.1, 0.4, np.full(11, 0.5)]
  run = run_of(
    **{run_files.ENTROPY: entropy, run_files.TRAIN_ACCURACY: accuracy}
  )
  found = dynamics.collapse(run)
  assert found.entropy_share == pytest.approx(0.6 / 0.8)
  assert found.gain_share == pytest.approx(0.3 / 0.4)


def test_final_is_the_mean_of_the_last_twentieth():
  series = runs.Series(np.arange(40), np.arange(40.0))
  assert dynamics.final(series) == 38.5
  assert dynamics.first(series) == 0.0
