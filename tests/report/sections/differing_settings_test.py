from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.section import Absent
from jaxrl_entropy.report.sections import differing_settings
from tests.analysis import synthetic


def test_the_table_has_a_row_for_each_setting_that_differs(tmp_path):
  synthetic.write_run(tmp_path / "a", "kl_cov", settings={"fraction": 0.1})
  synthetic.write_run(tmp_path / "b", "kl_cov", settings={"fraction": 0.2})
  synthetic.write_run(tmp_path / "c", seed=3)
  section = differing_settings.build(studies.load(tmp_path))
  assert section.table.columns == (
    *("setting", "GRPO", "KL-Cov k=0.1", "KL-Cov k=0.2"),
  )
  assert section.table.rows == [
    ("loss.args.fraction", None, "0.1", "0.2"),
    ("loss.name", "grpo", "kl_cov", "kl_cov"),
  ]


def test_runs_that_differ_in_their_seed_alone_have_no_table(tmp_path):
  for seed in range(2):
    synthetic.write_run(tmp_path / f"grpo{seed}", seed=seed)
  assert isinstance(differing_settings.build(studies.load(tmp_path)), Absent)
