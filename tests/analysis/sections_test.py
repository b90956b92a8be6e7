"""Sections that the quick start's study does not have."""

import math

import pytest

from jaxrl_entropy.analysis import (
  dynamics_sections,
  law_sections,
  studies,
  sweep_sections,
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
  section = sweep_sections.coefficients(studies.load(tmp_path))
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
  section = sweep_sections.sizes(studies.load(tmp_path))
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
  section = dynamics_sections.splits(studies.load(tmp_path))
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
  section = law_sections.intervention(studies.load(tmp_path))
  assert "KL-Cov is above GRPO's curve" in section.sentence
  assert "above the predicted ceiling" in section.sentence


def test_early_points_predict_the_late_ones_of_every_seed(tmp_path):
  for seed in range(2):
    synthetic.write_run(tmp_path / f"grpo{seed}", seed=seed)
  section = law_sections.prediction(studies.load(tmp_path))
  assert list(section.panels) == ["early", "error"]
  rows = section.table.rows
  assert [row[:2] for row in rows if row[1] == "36%"] == [
    ("grpo0", "36%"),
    ("grpo1", "36%"),
  ]
  points = [row[2] for row in rows if row[0] == "grpo0"]
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
  section = sweep_sections.controlled(studies.load(tmp_path))
  assert [row[:2] for row in section.table.rows] == [
    ("KL-Cov H=0.2", 0.2),
    ("KL-Cov H=0.3", 0.3),
  ]
  for _, target, kept, coefficient, _ in section.table.rows:
    assert kept == pytest.approx(target, abs=0.01)
    assert coefficient == pytest.approx(5 * target)


@pytest.mark.parametrize(
  "build",
  [
    law_sections.intervention,
    dynamics_sections.splits,
    sweep_sections.coefficients,
    sweep_sections.sizes,
    sweep_sections.controlled,
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
  section = sweep_sections.coefficients(studies.load(tmp_path))
  assert [row[1] for row in section.table.rows] == [
    *("coefficient = 1", "coefficient = 2", "coefficient = 3"),
    *("fraction = 0.1", "fraction = 0.2", "fraction = 0.4"),
  ]


def test_clip_highers_extra_tokens_are_held_against_all(tmp_path):
  extra = {"extra/covariance": 0.5, "extra/share": 0.01}
  synthetic.write_run(tmp_path / "higher", "clip_higher", extra=extra)
  section = dynamics_sections.let_through(studies.load(tmp_path))
  assert section.table.rows[0][:2] == ("Clip-higher", pytest.approx(0.5))
  assert "(1.00% of all) had a mean covariance of 0.5" in section.sentence
