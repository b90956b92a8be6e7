import json

from jaxrl_entropy.analysis import compact, report, runs
from tests.analysis import synthetic


def test_copy_is_smaller_and_drops_what_no_figure_reads(tmp_path):
  synthetic.write_run(
    tmp_path / "study" / "grpo",
    extra={"throughput/tokens_per_s": 123.456789, "time": 1e9},
  )
  [folder] = compact.compact(tmp_path / "study", tmp_path / "copy")
  run = runs.load(folder)
  assert run.notes == ()
  assert not {"time", "throughput/tokens_per_s"} & run.metrics
  full = (tmp_path / "study" / "grpo" / "metrics.jsonl").stat().st_size
  assert (folder / "metrics.jsonl").stat().st_size < 0.7 * full


def test_report_of_the_copy_has_the_same_sections_and_claims(tmp_path):
  study = synthetic.write_study(tmp_path / "study")
  compact.compact(study, tmp_path / "copy")
  one, two = (
    json.loads(report.write(folder)[1].read_text())
    for folder in (study, tmp_path / "copy")
  )
  assert list(one["figures"]) == list(two["figures"])
  assert [c["holds"] for c in one["claims"]] == [
    c["holds"] for c in two["claims"]
  ]
