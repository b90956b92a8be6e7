import json

from jaxrl_entropy.analysis import compact, runs, studies
from jaxrl_entropy.report import claims, writer
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
  assert (folder / "metrics.json").stat().st_size < 0.3 * full
  assert not (folder / "metrics.jsonl").exists()


def test_a_metric_of_few_steps_is_kept_by_their_index(tmp_path):
  run = synthetic.write_run(tmp_path / "study" / "grpo")
  records = synthetic.read(run)
  [folder] = compact.compact(tmp_path / "study", tmp_path / "copy")
  key = "eval/held_out/accuracy"
  kept = json.loads((folder / "metrics.json").read_text())[key]
  evaluated = [str(i) for i, record in enumerate(records) if key in record]
  assert list(kept) == evaluated
  copied = runs.load(folder).series(key)
  assert list(copied.steps) == [records[int(i)]["step"] for i in evaluated]


def test_report_of_the_copy_has_the_same_sections_and_claims(tmp_path):
  study = synthetic.write_study(tmp_path / "study")
  compact.compact(study, tmp_path / "copy")
  one, two = map(studies.load, (study, tmp_path / "copy"))
  assert [s.name for s in writer.build(one).sections] == [
    s.name for s in writer.build(two).sections
  ]
  assert [c.verdict for c in claims.check(one)] == [
    c.verdict for c in claims.check(two)
  ]


def test_a_single_run_is_copied_with_its_config(tmp_path):
  run = synthetic.write_run(tmp_path / "grpo")
  [folder] = compact.compact(run, tmp_path / "copy")
  assert (folder / "config.json").is_file()
