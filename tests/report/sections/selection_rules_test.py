import pytest

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.section import Absent
from jaxrl_entropy.report.sections import selection_rules
from tests.analysis import synthetic

RULES = ("cov", "centered_cov", "discriminator", "omega", "flow")


def records(rule, correlation):
  return {
    f"predictors/{rule}/flow_correlation": correlation / 2,
    f"predictors/{rule}/change_correlation": correlation,
    **{
      f"picks/{rule}/{trait}": 0.25
      for trait in ("probability", "rank", "entropy", "position")
    },
    f"picks/{rule}/overlap/cov": 0.5,
  }


def test_rules_are_ranked_by_what_they_predict(tmp_path):
  extra = {"predictors/change": -0.01}
  for index, rule in enumerate(RULES):
    extra |= records(rule, 0.1 * index)
  run = synthetic.write_run(tmp_path / "grpo", extra=extra)
  varied = [
    record
    | {
      "predictors/change": -0.01 * step,
      "predictors/flow/mean": -0.5 * step,
      "predictors/cov/mean": 0.2 * step,
    }
    for step, record in enumerate(synthetic.read(run))
  ]
  synthetic.rewrite(run, varied)
  section = selection_rules.build(studies.load(tmp_path))
  assert "exact flow 0.40, Omega 0.30" in section.sentence
  rows = {row[1]: row[2:] for row in section.table.rows}
  assert rows["exact flow"][:3] == pytest.approx((0.2, 0.4, 1.0))
  assert rows["Cov"][2] == pytest.approx(-1.0)
  assert rows["Omega"][3:] == pytest.approx((0.25, 0.25, 0.25, 0.25, 0.5))
  assert list(section.panels) == ["correlation"]


def test_absent_without_the_metrics(tmp_path):
  synthetic.write_run(tmp_path / "grpo")
  assert isinstance(selection_rules.build(studies.load(tmp_path)), Absent)
