import json
import re

import pytest

from jaxrl_entropy.errors import UserError
from jaxrl_entropy.report import writer
from tests.analysis import synthetic

# Parts of the page that hold no figures.
OTHERS = {"claims", "absent"}


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


def test_every_quickstart_claim_is_measured(paths):
  claims = json.loads(paths[1].read_text())["claims"]
  assert len(claims) == 10
  assert all(claim["value"] is not None for claim in claims)
  # One seed each: the statements that compare methods are not settled.
  verdicts = [claim["verdict"] for claim in claims]
  assert verdicts.count("not settled") == 4
  assert verdicts.count("held") == 5


def test_summary_is_rounded(paths):
  text = paths[1].read_text()
  assert re.search(r"\d\.\d{12}", text) is None


def test_summary_has_the_numbers_of_every_section_of_the_page(paths):
  figures = json.loads(paths[1].read_text())["figures"]
  sections = re.findall(r"<section id=(\w+)", paths[0].read_text())
  assert list(figures) == [s for s in sections if s not in OTHERS]
  assert all(figure["sentence"] for figure in figures.values())
  rows = [row for f in figures.values() for row in f["rows"]]
  columns = [f["columns"] for f in figures.values() for _ in f["rows"]]
  assert [len(row) for row in rows] == [len(names) for names in columns]


def test_page_counts_the_verdicts(paths):
  text = paths[0].read_text()
  assert "5 held, 1 did not hold and 4 not settled" in text


def test_missing_methods_are_reported_with_the_reason(tmp_path):
  synthetic.write_run(tmp_path / "only", "clip_cov")
  page, _, *_ = writer.write_report(tmp_path)
  text = page.read_text()
  assert "10 not measured" in text
  assert "needs a GRPO run" in text


def test_sections_without_data_are_listed_with_the_reason(paths):
  text = paths[0].read_text()
  assert "Tokens that a higher clip adds: no run records extra/" in text


def test_the_labels_of_unlike_runs_are_their_folders(tmp_path):
  for index, name in enumerate(("plain", "with-a-very-long-name-of-its-own")):
    run = synthetic.write_run(tmp_path / name)
    config = json.loads((run / "config.json").read_text())
    config["model"] = {"weights": f"folder/of/some/weights{index}"}
    config["optimizer"] = {"learning_rate": 10.0**-index}
    config["task"] = {"args": {"path": f"data/of/mine{index}.jsonl"}}
    (run / "config.json").write_text(json.dumps(config))
  _, summary, *_ = writer.write_report(tmp_path, plot_files=[])
  figures = json.loads(summary.read_text())["figures"]
  labels = figures["settings"]["columns"][1:]
  assert labels == ["plain", "with-a-very-long-name-o…"]
  assert [row[0] for row in figures["settings"]["rows"]] == [
    *("model.weights", "optimizer.learning_rate", "task.args.path")
  ]


def test_sampled_responses_have_a_page(tmp_path):
  run = synthetic.write_run(tmp_path / "grpo")
  (run / "samples.jsonl").write_text(json.dumps(synthetic.SAMPLE))
  paths = writer.write_report(tmp_path, plot_files=[])
  assert (tmp_path / "report" / "samples-0.html") in paths
  assert 'href="samples-0.html"' in paths[0].read_text()


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
