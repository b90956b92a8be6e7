import numpy as np
import pytest

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import coverage, runs

PASS = "eval/held_out/pass@64"
ACCURACY = run_files.HELD_OUT_ACCURACY


def run(last, bonus=0.0, seed=0, every=4):
  """A run on the curve pass@64 = 1 - accuracy^2, `bonus` above it."""
  records = []
  for step in range(33):
    record = {"step": step, run_files.ENTROPY: 1.0 - step / 64}
    if step % every == 0:
      accuracy = 0.2 + (last - 0.2) * step / 32
      record |= {ACCURACY: accuracy, PASS: 1 - accuracy**2 + bonus}
    records.append(record)
  return runs.Run(f"run{seed}", {"seed": seed}, records)


def test_a_run_on_the_baseline_s_curve_has_no_gap():
  slow, plain = run(0.5), run(0.7)
  assert coverage.gap(plain, slow, ACCURACY, PASS) == pytest.approx(0)
  above = coverage.gap(plain, run(0.5, 0.05), ACCURACY, PASS)
  assert above == pytest.approx(0.05)
  # At the end, it would look better for no other reason than that it is slow.
  final = (
    coverage.curve(each, ACCURACY, PASS)[1][-1] for each in (slow, plain)
  )
  assert np.subtract(*final) > 0.2


def test_beyond_the_baseline_s_range_there_is_no_comparison():
  assert np.isnan(coverage.gap(run(0.5), run(0.7), ACCURACY, PASS))
  few = run(0.7, every=16)
  assert np.isnan(coverage.gap(few, run(0.5), ACCURACY, PASS))


def test_entropy_is_that_of_the_steps_nearby():
  entropy, accuracy = coverage.curve(run(0.7), run_files.ENTROPY, ACCURACY)
  assert len(entropy) == len(accuracy) == 9
  assert entropy[1] == pytest.approx(1 - 4 / 64)
  assert entropy[0] == pytest.approx(1 - 1 / 64)


def test_runs_are_compared_with_the_baseline_of_their_seed():
  baseline = [run(0.7, 0.1 * seed, seed) for seed in range(3)]
  members = [run(0.5, 0.1 * seed + 0.02, seed) for seed in (2, 1, 5)]
  found = coverage.gaps(baseline, members, ACCURACY, PASS)
  assert found.count == 2
  assert found.mean == pytest.approx(0.02)
