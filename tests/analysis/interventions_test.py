import numpy as np
import pytest

from jaxrl_entropy.analysis import interventions, runs, stats
from tests.analysis import synthetic


def load(folder, loss, count=3, **kw):
  return [
    runs.load(
      synthetic.write_run(folder / f"{loss}{seed}", loss, seed=seed, **kw)
    )
    for seed in range(count)
  ]


def test_a_method_on_the_baselines_curve_is_not_separable_from_it(tmp_path):
  baseline = load(tmp_path, "grpo")
  found = interventions.compare(baseline, load(tmp_path, "clip_cov", floor=0.2))
  assert abs(found.residual.mean) < 0.005
  assert found.above_ceiling.sign == -1
  # It stopped at a higher entropy on the same curve.
  expected = synthetic.A * (np.exp(0.08) - np.exp(0.2))
  assert found.above_baseline.mean == pytest.approx(expected, abs=0.01)
  assert found.above_baseline.sign == -1


def test_a_method_above_curve_and_ceiling_is_seen(tmp_path):
  baseline = load(tmp_path, "grpo")
  found = interventions.compare(
    baseline, load(tmp_path, "kl_cov", floor=0.2, bonus=0.3)
  )
  assert found.residual.sign == 1
  assert found.above_ceiling.sign == 1
  assert found.above_baseline.sign == 1


def test_runs_are_held_against_the_baseline_of_their_seed(tmp_path):
  baseline = load(tmp_path, "grpo")
  found = interventions.compare(baseline, load(tmp_path, "kl_cov", 5))
  assert found.count == found.above_baseline.count == 3
  alone = load(tmp_path / "alone", "kl_cov", 1)
  assert interventions.compare(baseline[1:], alone).count == 0


def test_residuals_are_those_of_common_entropies(tmp_path):
  baseline = load(tmp_path, "grpo", floor=0.2)
  members = load(tmp_path, "kl_cov", bonus=0.1, floor=0.05)
  entropy, residual = interventions.all_residuals(baseline, members)
  assert entropy.min() > 0.19
  assert entropy.shape == residual.shape
  assert 0 < residual.mean() < 0.1
  nothing = interventions.all_residuals([], members)
  assert [len(each) for each in nothing] == [0, 0]


def test_interval_is_students():
  found = stats.estimate([1.0, 2.0, 3.0])
  assert found.mean == 2.0
  assert found.half_width == pytest.approx(4.3027 / np.sqrt(3), rel=1e-4)
  assert found.sign == 0
  assert str(found) == "2.000 ± 2.484"


def test_one_seed_has_no_interval_and_no_sign():
  found = stats.estimate([1.0, float("nan")])
  assert (found.count, str(found), found.sign) == (1, "1.000", 0)
  assert str(stats.estimate([])) == "–"
