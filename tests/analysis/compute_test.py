import numpy as np
import pytest

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import compute, runs

TRUE = compute.Sigmoid(0.3, 0.8, 40.0, 1.5)


def run(curve, every=4, steps=128):
  records = [
    {"step": step, run_files.HELD_OUT_ACCURACY: float(curve(step))}
    for step in range(0, steps + 1, every)
  ]
  return runs.Run("run", {}, records, score=run_files.HELD_OUT_ACCURACY)


def test_a_sigmoid_is_found_and_predicts_its_end():
  steps = np.arange(0, 128, 4.0)
  found = compute.fit(steps, TRUE(steps))
  values = (found.asymptote, found.midpoint, found.exponent)
  assert values == pytest.approx((0.8, 40, 1.5), rel=1e-2)
  assert TRUE(0) == 0.3
  assert TRUE(40) == pytest.approx(0.55)
  assert compute.final_error(run(TRUE), 0.36) == pytest.approx(0, abs=0.01)


def test_too_few_points_give_no_prediction():
  assert np.isnan(compute.final_error(run(TRUE, every=32), 0.36))
  with pytest.raises(ValueError, match="3 points"):
    compute.fit(np.arange(3.0), np.arange(3.0))


def test_a_curve_that_does_not_rise_is_no_failure():
  error = compute.final_error(run(lambda step: 0.5), 0.5)
  assert error == pytest.approx(0, abs=1e-3)
