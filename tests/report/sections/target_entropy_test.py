import pytest

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.section import Absent
from jaxrl_entropy.report.sections import target_entropy
from tests.analysis import synthetic


def test_targets_are_compared_with_the_entropy_kept(tmp_path):
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
  section = target_entropy.build(studies.load(tmp_path))
  assert [row[:2] for row in section.table.rows] == [
    ("KL-Cov H=0.2", 0.2),
    ("KL-Cov H=0.3", 0.3),
  ]
  for _, target, kept, reach, coefficient, _ in section.table.rows:
    assert kept == pytest.approx(target, abs=0.01)
    low, high = map(float, reach.split(" to "))
    assert low <= kept <= high
    assert coefficient == pytest.approx(5 * target)


def test_absent_without_a_controller(tmp_path):
  synthetic.write_run(tmp_path / "grpo")
  assert isinstance(target_entropy.build(studies.load(tmp_path)), Absent)
