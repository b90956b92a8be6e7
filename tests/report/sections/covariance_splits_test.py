import pytest

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.section import Absent
from jaxrl_entropy.report.sections import covariance_splits
from tests.analysis import synthetic


def test_the_kind_of_token_with_the_highest_covariance_is_named(tmp_path):
  extra = {
    "cov/difficulty_low": 0.01,
    "cov/difficulty_middle": 0.1,
    "cov/difficulty_high": 0.2,
  }
  synthetic.write_run(tmp_path / "grpo", extra=extra)
  section = covariance_splits.build(studies.load(tmp_path))
  assert list(section.panels) == ["difficulty"]
  assert "of often solved problems (0.2 nats for GRPO)" in section.sentence
  assert section.table.columns[3] == "difficulty: above 2/3"
  assert section.table.rows == [("GRPO", *map(pytest.approx, (0.01, 0.1, 0.2)))]


def test_absent_without_the_metrics(tmp_path):
  synthetic.write_run(tmp_path / "grpo")
  assert isinstance(covariance_splits.build(studies.load(tmp_path)), Absent)
