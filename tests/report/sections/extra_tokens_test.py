import pytest

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.sections import extra_tokens
from tests.analysis import synthetic


def test_added_tokens_are_compared_with_all(tmp_path):
  extra = {"extra/covariance": 0.5, "extra/share": 0.01}
  synthetic.write_run(tmp_path / "higher", "clip_higher", extra=extra)
  section = extra_tokens.build(studies.load(tmp_path))
  assert section.table.rows[0][:2] == ("Clip-higher", pytest.approx(0.5))
  assert "(1.00% of all) have a mean covariance of 0.5" in section.sentence
