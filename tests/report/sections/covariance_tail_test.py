from jaxrl_entropy.analysis import dynamics, studies
from jaxrl_entropy.report.section import Absent
from jaxrl_entropy.report.sections import covariance_tail
from tests.analysis import synthetic


def test_a_policy_without_a_reward_has_no_tail(tmp_path):
  names = [f"cov/top_{p}pct_mean" for p in dynamics.TAIL_PERCENTS]
  synthetic.write_run(tmp_path / "grpo", extra=dict.fromkeys(names, 0.0))
  absent = covariance_tail.build(studies.load(tmp_path))
  assert isinstance(absent, Absent)
  assert "no reward ever varied" in absent.reason
  synthetic.write_run(tmp_path / "grpo", extra=dict.fromkeys(names, 0.5))
  assert covariance_tail.build(studies.load(tmp_path)).table.rows


def test_the_tail_is_compared_with_the_top_half(tmp_path):
  synthetic.write_run(tmp_path / "grpo")
  section = covariance_tail.build(studies.load(tmp_path))
  assert "0.02% of GRPO's tokens" in section.sentence
  assert "have a mean of 3 nats, 60 times that of the top half (0.05)" in (
    section.sentence
  )
