"""Verdicts on the paper's statements need evidence."""

import json

import numpy as np

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report import claims
from tests.analysis import synthetic

ENTROPY_KEPT = "KL-Cov's final entropy is above GRPO's"
HIGHER = "KL-Cov's final accuracy is above GRPO's"
GAIN = "GRPO's held-out accuracy gains more than .15"


def verdicts(folder):
  return {c.claim: c for c in claims.check(studies.load(folder))}


def write_seeds(folder, **of_kl_cov):
  for seed in range(3):
    synthetic.write_run(folder / f"g{seed}", seed=seed)
    synthetic.write_run(folder / f"k{seed}", "kl_cov", seed=seed, **of_kl_cov)


def test_differences_over_seeds_are_settled_by_their_interval(tmp_path):
  write_seeds(tmp_path, floor=0.2, bonus=0.3)
  checked = verdicts(tmp_path)
  assert checked[ENTROPY_KEPT].verdict == claims.HELD
  assert checked[HIGHER].verdict == claims.HELD
  write_seeds(tmp_path, floor=0.05)
  assert verdicts(tmp_path)[ENTROPY_KEPT].verdict == claims.REFUTED


def test_an_interval_that_includes_the_threshold_settles_nothing(tmp_path):
  write_seeds(tmp_path, floor=0.08)
  checked = verdicts(tmp_path)[HIGHER]
  assert abs(checked.value.mean) < checked.value.half_width
  assert checked.verdict == claims.NOT_SETTLED


def test_one_seed_does_not_establish_a_difference(tmp_path):
  synthetic.write_study(tmp_path)
  checked = verdicts(tmp_path)
  assert checked[HIGHER].verdict == claims.NOT_SETTLED
  assert "one seed" in checked[HIGHER].reason
  # A statement about a run by itself needs no second one.
  assert checked[GAIN].verdict == claims.HELD


def test_short_runs_give_no_verdict(tmp_path):
  for loss in ("grpo", "kl_cov"):
    synthetic.write_run(tmp_path / loss, loss, steps=6)
  checked = verdicts(tmp_path).values()
  assert {c.verdict for c in checked} == {claims.NOT_MEASURED}
  assert sum(
    "24 steps or more; the shortest has 5" in c.reason for c in checked
  )


def test_equal_results_are_a_tie(tmp_path):
  for loss in ("grpo", "kl_cov"):
    run = synthetic.write_run(tmp_path / loss, loss)
    records = synthetic.read(run)
    for record in records:
      for key in record:
        if key.endswith("accuracy"):
          record[key] = 0.0
    synthetic.rewrite(run, records)
  checked = verdicts(tmp_path)
  assert "a tie" in checked[HIGHER].reason
  assert checked[GAIN].verdict == claims.NOT_MEASURED
  assert "accuracy that changes" in checked[GAIN].reason


def test_a_study_without_grpo_is_told_what_is_missing(tmp_path):
  synthetic.write_run(tmp_path / "only", "clip_cov")
  checked = claims.check(studies.load(tmp_path))
  assert {c.verdict for c in checked} == {claims.NOT_MEASURED}
  assert all("GRPO" in c.reason for c in checked)
  assert all(np.isnan(c.value.mean) for c in checked)


def test_runs_that_differ_in_more_than_the_method_are_not_compared(tmp_path):
  write_seeds(tmp_path, floor=0.2)
  for run in tmp_path.glob("k*"):
    config = json.loads((run / "config.json").read_text())
    config["model"] = {"weights": "another"}
    (run / "config.json").write_text(json.dumps(config))
  for run in tmp_path.glob("g*"):
    config = json.loads((run / "config.json").read_text())
    config["model"] = {"weights": "one"}
    (run / "config.json").write_text(json.dumps(config))
  checked = verdicts(tmp_path)[ENTROPY_KEPT]
  assert checked.verdict == claims.NOT_MEASURED
  assert checked.reason == "KL-Cov also differs in model.weights"
