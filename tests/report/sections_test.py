"""Sections that the quick start's study does not have."""

import json
import math

import pytest

from jaxrl_entropy.analysis import dynamics, studies
from jaxrl_entropy.report import section
from jaxrl_entropy.report.sections import (
  covariance,
  intervention,
  law_fit,
  settings,
  training_curves,
)
from tests.analysis import synthetic


def rows_of(section):
  return {tuple(row[:2]): row[2:] for row in section.table.rows}


def test_coefficients_appear_where_one_is_varied(tmp_path):
  for fraction, floor in ((0.01, 0.1), (0.05, 0.2), (0.2, 0.3)):
    synthetic.write_run(
      tmp_path / f"clip{fraction}",
      "clip_cov",
      floor=floor,
      settings={"fraction": fraction, "low": 1.0},
    )
  section = settings.coefficients(studies.load(tmp_path))
  assert list(section.panels) == ["entropy_0", "accuracy_0"]
  _, entropy, _ = rows_of(section)["Clip-Cov", "fraction = 0.2"]
  assert entropy == pytest.approx(0.3, abs=0.01)
  assert "fraction goes from 0.01 to 0.2" in section.sentence


def test_sizes_predict_the_largest_model_from_the_smaller(tmp_path):
  for index in range(4):
    size = 1e5 * 4**index
    synthetic.write_run(
      tmp_path / f"size{index}",
      seed=index,
      extra={"model/parameters": size},
      settings={},
    )
  section = settings.sizes(studies.load(tmp_path))
  assert list(section.panels) == ["curves", "a", "b"]
  *rows, predicted = section.table.rows
  assert [row[0] for row in rows] == [
    *("100,000", "400,000", "1,600,000", "6,400,000"),
  ]
  truth = synthetic.A, synthetic.B, synthetic.B - synthetic.A
  for row in (*rows, predicted):
    found = [float(cell.split()[0]) for cell in row[2:5]]
    assert found == pytest.approx(truth, abs=0.05)


def test_splits_show_where_the_covariance_sits(tmp_path):
  extra = {
    "cov/difficulty_low": 0.01,
    "cov/difficulty_middle": 0.1,
    "cov/difficulty_high": 0.2,
  }
  synthetic.write_run(tmp_path / "grpo", extra=extra)
  section = covariance.splits(studies.load(tmp_path))
  assert list(section.panels) == ["difficulty"]
  assert "by difficulty for above 2/3 (0.2 in GRPO)" in section.sentence
  assert section.table.columns[3] == "difficulty: above 2/3"
  assert section.table.rows == [("GRPO", *map(pytest.approx, (0.01, 0.1, 0.2)))]


def test_interventions_say_what_the_seeds_establish(tmp_path):
  for seed in range(3):
    synthetic.write_run(tmp_path / f"grpo{seed}", seed=seed)
    synthetic.write_run(
      tmp_path / f"kl{seed}", "kl_cov", seed=seed, floor=0.2, bonus=0.3
    )
  section = intervention.intervention(studies.load(tmp_path))
  assert "KL-Cov is above GRPO's law" in section.sentence
  assert "above the predicted ceiling" in section.sentence


def test_early_points_predict_the_late_ones_of_every_seed(tmp_path):
  for seed in range(2):
    synthetic.write_run(tmp_path / f"grpo{seed}", seed=seed)
  section = law_fit.prediction(studies.load(tmp_path))
  assert list(section.panels) == ["early", "error"]
  rows = section.table.rows
  assert [row[:2] for row in rows if row[1] == "36%"] == [
    ("seed 0", "36%"),
    ("seed 1", "36%"),
  ]
  points = [row[2] for row in rows if row[0] == "seed 0"]
  assert points == sorted(set(points))
  assert all(row[5] < 0.02 and not math.isnan(row[6]) for row in rows)


def test_targets_are_held_against_the_entropy_kept(tmp_path):
  for target in (0.2, 0.3):
    control = {"name": "target_entropy", "target": target, "start": 1.0}
    synthetic.write_run(
      tmp_path / f"kl{target}",
      "kl_cov",
      floor=target,
      controllers={"coefficient": control},
      extra={"control/coefficient": 5 * target},
    )
  synthetic.write_run(tmp_path / "kl", "kl_cov")
  section = settings.controlled(studies.load(tmp_path))
  assert [row[:2] for row in section.table.rows] == [
    ("KL-Cov H=0.2", 0.2),
    ("KL-Cov H=0.3", 0.3),
  ]
  for _, target, kept, reach, coefficient, _ in section.table.rows:
    assert kept == pytest.approx(target, abs=0.01)
    low, high = map(float, reach.split(" to "))
    assert low <= kept <= high
    assert coefficient == pytest.approx(5 * target)


@pytest.mark.parametrize(
  "build",
  [
    intervention.intervention,
    covariance.splits,
    settings.coefficients,
    settings.sizes,
    settings.controlled,
  ],
)
def test_a_section_without_its_data_is_left_out(tmp_path, build):
  synthetic.write_run(tmp_path / "grpo")
  assert build(studies.load(tmp_path)) is None


def test_only_variants_that_differ_in_one_coefficient_make_a_curve(tmp_path):
  cells = [(0.1, 1.0), (0.2, 1.0), (0.4, 1.0), (0.1, 2.0), (0.1, 3.0)]
  for k, beta in cells:
    synthetic.write_run(
      tmp_path / f"kl{k}{beta}",
      "kl_cov",
      settings={"fraction": k, "coefficient": beta},
    )
  section = settings.coefficients(studies.load(tmp_path))
  assert [row[1] for row in section.table.rows] == [
    *("coefficient = 1", "coefficient = 2", "coefficient = 3"),
    *("fraction = 0.1", "fraction = 0.2", "fraction = 0.4"),
  ]


def test_clip_highers_extra_tokens_are_held_against_all(tmp_path):
  extra = {"extra/covariance": 0.5, "extra/share": 0.01}
  synthetic.write_run(tmp_path / "higher", "clip_higher", extra=extra)
  section = covariance.let_through(studies.load(tmp_path))
  assert section.table.rows[0][:2] == ("Clip-higher", pytest.approx(0.5))
  assert "(1.00% of all) had a mean covariance of 0.5" in section.sentence


def test_other_models_of_the_baseline_are_no_intervention(tmp_path):
  for index, preset in enumerate(("nano", "tiny")):
    run = synthetic.write_run(tmp_path / preset, seed=0, floor=0.1 + index / 10)
    config = json.loads((run / "config.json").read_text())
    config["model"] = {"preset": preset}
    (run / "config.json").write_text(json.dumps(config))
  study = studies.load(tmp_path)
  assert list(study.variants) == ["GRPO nano", "GRPO tiny"]
  assert intervention.intervention(study) is None
  assert training_curves.differences(study) is None


def test_of_many_variants_each_method_has_a_panel_on_a_common_scale(tmp_path):
  synthetic.write_run(tmp_path / "grpo")
  for value in (0.1, 0.2, 0.3):
    for loss in ("clip_cov", "kl_cov"):
      settings = {"fraction": value}
      name = f"{loss}{value}"
      synthetic.write_run(tmp_path / name, loss, settings=settings, floor=value)
  study = studies.load(tmp_path)
  panels = training_curves.methods(study).panels
  names = [name for name in panels if name.startswith("entropy")]
  assert names == ["entropy_0", "entropy_1"]
  shown = [panels[name].axes[0] for name in names]
  assert shown[0].get_ylim() == pytest.approx(shown[1].get_ylim())
  assert [text.get_text() for text in shown[0].texts] == [
    *("GRPO", "Clip-Cov r=0.1", "Clip-Cov r=0.2", "Clip-Cov r=0.3")
  ]
  assert len(section.few(study, study.variants)) == 3


def test_accuracy_and_pass_at_1_are_one_measure(tmp_path):
  study = studies.load(synthetic.write_study(tmp_path))
  columns = training_curves.results(study).table.columns
  assert list(columns) == ["method", "runs", "accuracy", "greedy", "pass@4"]


def test_a_policy_without_a_reward_has_no_tail(tmp_path):
  names = [f"cov/top_{p}pct_mean" for p in dynamics.TAIL_PERCENTS]
  synthetic.write_run(tmp_path / "grpo", extra=dict.fromkeys(names, 0.0))
  assert covariance.tail(studies.load(tmp_path)) is None
  synthetic.write_run(tmp_path / "grpo", extra=dict.fromkeys(names, 0.5))
  assert covariance.tail(studies.load(tmp_path)).table.rows
