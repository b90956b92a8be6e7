import pytest

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.sections import training_curves
from tests.analysis import synthetic


def test_each_of_many_methods_has_a_panel_on_a_common_scale(tmp_path):
  synthetic.write_run(tmp_path / "grpo")
  for value in (0.1, 0.2, 0.3):
    for loss in ("clip_cov", "kl_cov"):
      settings = {"fraction": value}
      name = f"{loss}{value}"
      synthetic.write_run(tmp_path / name, loss, settings=settings, floor=value)
  panels = training_curves.build(studies.load(tmp_path)).panels
  names = [name for name in panels if name.startswith("entropy")]
  assert names == ["entropy_0", "entropy_1"]
  shown = [panels[name].axes[0] for name in names]
  assert shown[0].get_ylim() == pytest.approx(shown[1].get_ylim())
  assert [text.get_text() for text in shown[0].texts] == [
    *("GRPO", "Clip-Cov r=0.1", "Clip-Cov r=0.2", "Clip-Cov r=0.3")
  ]


def test_update_statistics_have_curves_and_columns(tmp_path):
  extra = {"kl/old": 0.01, "ratio/clip_share": 0.03, "grad_norm": 1.5}
  synthetic.write_run(tmp_path / "grpo", extra=extra)
  section = training_curves.build(studies.load(tmp_path))
  assert {"kl", "clipped", "gradient"} <= set(section.panels)
  row = dict(zip(section.table.columns, section.table.rows[0], strict=True))
  assert row["KL, final"] == pytest.approx(0.01)
  assert row["clipped share, final"] == pytest.approx(0.03)
  assert row["gradient norm, final"] == pytest.approx(1.5)


def test_graded_rewards_are_the_performance_of_a_run_that_is_never_correct(
  tmp_path,
):
  run = synthetic.write_run(tmp_path / "own")
  records = synthetic.read(run)
  for index, record in enumerate(records):
    record["reward/mean"] = 0.3 + index / 1000
    record["reward/accuracy"] = 0.0
    record.pop("eval/held_out/accuracy", None)
  synthetic.rewrite(run, records)
  study = studies.load(tmp_path)
  section = training_curves.build(study)
  assert study.score_name == "mean reward"
  assert "rewards vary, so they are graded" in section.sentence
  assert "reward" in section.panels
  row = dict(zip(section.table.columns, section.table.rows[0], strict=True))
  assert row["mean reward, first"] == pytest.approx(0.3)


def test_a_mean_reward_that_is_the_accuracy_is_not_shown_twice(tmp_path):
  run = synthetic.write_run(tmp_path / "grpo")
  records = synthetic.read(run)
  for record in records:
    record["reward/mean"] = record["reward/accuracy"]
  synthetic.rewrite(run, records)
  assert "reward" not in training_curves.build(studies.load(tmp_path)).panels
