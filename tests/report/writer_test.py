import json
import re

import pytest

from jaxrl_entropy.errors import UserError
from jaxrl_entropy.report import writer
from tests.analysis import synthetic


@pytest.fixture(scope="module")
def study(tmp_path_factory):
  return synthetic.write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def paths(study):
  return writer.write_report(study)


def test_quickstart_study_gives_page_summary_and_plots(paths):
  assert all(path.stat().st_size > 0 for path in paths)
  names = {path.name for path in paths}
  assert {"report.html", "summary.json", "law_all.png", "law_all.svg"} <= names


# The synthetic runs fall slowly, and those that keep entropy end below.
REFUTED = {
  "The first twelfth of GRPO's training spends over half of that entropy",
  "Clip-Cov's final accuracy is above GRPO's",
  "KL-Cov's final accuracy is above GRPO's",
}


def refuted(summary):
  claims = json.loads(summary.read_text())["claims"]
  return {each["claim"] for each in claims if each["holds"] is False}


def test_every_quickstart_claim_is_measured(paths):
  claims = json.loads(paths[1].read_text())["claims"]
  assert len(claims) == 10
  assert all(claim["holds"] is not None for claim in claims)
  assert refuted(paths[1]) == REFUTED


def test_summary_has_the_numbers_of_every_section_of_the_page(paths):
  figures = json.loads(paths[1].read_text())["figures"]
  sections = re.findall(r"<section id=(\w+)", paths[0].read_text())
  assert list(figures) == [s for s in sections if s != "claims"]
  assert all(figure["sentence"] for figure in figures.values())
  rows = [row for f in figures.values() for row in f["rows"]]
  columns = [f["columns"] for f in figures.values() for _ in f["rows"]]
  assert [len(row) for row in rows] == [len(names) for names in columns]


def test_page_says_which_claim_failed(tmp_path):
  study = synthetic.write_study(tmp_path)
  synthetic.write_run(study / "kl_cov", "kl_cov", floor=0.05)
  page, summary, *_ = writer.write_report(study)
  failed = refuted(summary)
  assert failed - REFUTED == {"KL-Cov's final entropy is above GRPO's"}
  held = 10 - len(failed)
  assert f"{held} held and {len(failed)} did not hold" in page.read_text()


def test_missing_methods_are_reported_as_not_measured(tmp_path):
  synthetic.write_run(tmp_path / "only", "clip_cov")
  page, summary, *_ = writer.write_report(tmp_path)
  claims = json.loads(summary.read_text())["claims"]
  assert {claim["holds"] for claim in claims} == {None}
  assert "10 not measured" in page.read_text()


def test_names_from_files_are_escaped(tmp_path):
  hostile = "<script>alert(1)</script> $x_{"
  run = synthetic.write_run(tmp_path / "run", hostile)
  with (run / "metrics.jsonl").open("a") as file:
    file.write('{"step": 161, "entr')
  text = writer.write_report(tmp_path)[0].read_text()
  assert "<script" not in text
  assert "&lt;script&gt;alert(1)" in text


def test_page_refers_to_nothing_outside_itself(paths):
  text = paths[0].read_text()
  sources = re.findall(r'(?:src|href)="([^"]*)"', text)
  assert sources
  assert all(source.startswith("data:image/svg") for source in sources)


def test_the_same_study_gives_the_same_files(study, paths, tmp_path):
  for a, b in zip(paths, writer.write_report(study, tmp_path), strict=True):
    assert a.read_bytes() == b.read_bytes(), a.name


def test_single_workdir_is_a_study_of_one(tmp_path):
  writer.write_report(synthetic.write_run(tmp_path / "grpo"))
  assert (tmp_path / "grpo" / "report" / "report.html").is_file()


def test_empty_folder_is_an_error_that_names_the_fix(tmp_path):
  with pytest.raises(UserError, match="folder of a training run"):
    writer.write_report(tmp_path)
