import pytest

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.sections import final_results
from tests.analysis import synthetic


def test_accuracy_and_pass_at_1_are_one_measure(tmp_path):
  study = studies.load(synthetic.write_study(tmp_path))
  columns = final_results.build(study).table.columns
  assert list(columns) == ["variant", "runs", "accuracy", "greedy", "pass@4"]


def write_never_correct(folder, loss):
  run = synthetic.write_run(folder, loss)
  records = synthetic.read(run)
  for record in records:
    record["reward/accuracy"] = 0.0
    if "eval/held_out/accuracy" in record:
      record["eval/held_out/accuracy"] = 0.0
  synthetic.rewrite(run, records)


def test_equal_results_are_a_tie(tmp_path):
  for loss in ("grpo", "clip_cov", "kl_cov"):
    write_never_correct(tmp_path / loss, loss)
  sentence = final_results.build(studies.load(tmp_path)).sentence
  assert sentence == (
    "All 3 variants ended at a held-out accuracy of 0.000: a tie."
  )


def test_one_run_establishes_no_order(tmp_path):
  study = studies.load(synthetic.write_study(tmp_path))
  sentence = final_results.build(study).sentence
  assert sentence.startswith("GRPO ended highest, at a held-out accuracy of 0.")
  assert sentence.endswith("one run does not establish an order.")


def test_accuracy_is_drawn_by_temperature(tmp_path):
  for seed in range(2):
    run = synthetic.write_run(tmp_path / str(seed), seed=seed)
    records = synthetic.read(run)
    for temperature, accuracy in ((0.3, 0.7), (1.3, 0.2)):
      key = f"eval/held_out/at_{temperature}/accuracy"
      records[-1][key] = accuracy + seed / 10
    synthetic.rewrite(run, records)
  section = final_results.build(studies.load(tmp_path))
  assert list(section.panels) == ["temperatures"]
  (curve,) = section.panels["temperatures"].axes[0].lines
  assert list(curve.get_xdata()) == [0, 0.3, 1, 1.3]
  assert curve.get_ydata()[[1, 3]] == pytest.approx([0.75, 0.25])
