import pytest

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.section import Absent
from jaxrl_entropy.report.sections import coefficients
from tests.analysis import synthetic


def test_an_argument_of_three_values_is_a_curve(tmp_path):
  for fraction, floor in ((0.01, 0.1), (0.05, 0.2), (0.2, 0.3)):
    synthetic.write_run(
      tmp_path / f"clip{fraction}",
      "clip_cov",
      floor=floor,
      settings={"fraction": fraction, "cov_low": 1.0},
    )
  section = coefficients.build(studies.load(tmp_path))
  assert list(section.panels) == ["entropy_0", "accuracy_0"]
  entropy = {row[1]: row[3] for row in section.table.rows}
  assert entropy["fraction = 0.2"] == pytest.approx(0.3, abs=0.01)
  assert "fraction goes from 0.01 to 0.2" in section.sentence


def test_only_variants_that_differ_in_one_argument_make_a_curve(tmp_path):
  cells = [(0.1, 1.0), (0.2, 1.0), (0.4, 1.0), (0.1, 2.0), (0.1, 3.0)]
  for k, beta in cells:
    synthetic.write_run(
      tmp_path / f"kl{k}{beta}",
      "kl_cov",
      settings={"fraction": k, "coefficient": beta},
    )
  section = coefficients.build(studies.load(tmp_path))
  assert [row[1] for row in section.table.rows] == [
    *("coefficient = 1", "coefficient = 2", "coefficient = 3"),
    *("fraction = 0.1", "fraction = 0.2", "fraction = 0.4"),
  ]


def test_absent_without_a_varied_argument(tmp_path):
  synthetic.write_run(tmp_path / "grpo")
  assert isinstance(coefficients.build(studies.load(tmp_path)), Absent)
