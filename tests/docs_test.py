"""The documentation's figures are those of the committed results."""

import importlib.util
import json
from pathlib import Path
import re

import jax
import numpy as np
import pytest

from jaxrl_entropy.config import defaults
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.report import writer
from tests.analysis import synthetic

ROOT = Path(__file__).parents[1]
MAX_RESULTS = 8_000_000
DECIMAL = re.compile(r"(-?\d+)\.(\d+)|\d+(?=%)")


@pytest.fixture
def generate():
  """A copy of its own: it remembers what it has read."""
  return load()


@pytest.fixture(scope="module")
def committed():
  return load()


def load():
  path = ROOT / "docs" / "generate.py"
  spec = importlib.util.spec_from_file_location("generate", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_every_page_matches_the_committed_results(committed):
  for page in committed.pages():
    text = page.read_text()
    made = committed.fill(text)
    assert _same(made, text), f"{page}: run python docs/generate.py"


def _same(made, text):
  """Equal but for the last digits shown: processors round sums differently."""
  if DECIMAL.sub("#", made) != DECIMAL.sub("#", text):
    return False
  pairs = zip(DECIMAL.finditer(made), DECIMAL.finditer(text), strict=True)
  return all(
    abs(float(a[0]) - float(b[0])) < 1.5 * 10.0 ** -len(b[2] or "")
    for a, b in pairs
  )


def test_the_last_digit_alone_may_differ():
  assert _same("a 0.120, 5%", "a 0.121, 6%")
  assert not _same("a 0.120", "a 0.122")
  assert not _same("a 0.120", "b 0.120")
  assert not _same("5%", "7%")
  assert not _same("12 runs", "13 runs")


def test_committed_summaries_are_those_of_the_committed_metrics(committed):
  for file in (ROOT / "docs" / "results").glob("*/report/summary.json"):
    made = writer.summarize(committed.content(file.parents[1].name))
    stored = json.loads(file.read_text())
    assert [c["verdict"] for c in made["claims"]] == [
      c["verdict"] for c in stored["claims"]
    ]
    made, stored = _sentences(made), _sentences(stored)
    assert made.keys() == stored.keys()
    assert all(_same(made[name], stored[name]) for name in made), file


@pytest.mark.parametrize(
  ("study", "section", "panel"),
  [
    ("headline", "collapse", "entropy"),
    ("headline", "prediction", "early"),
    ("headline", "covariance", "probe_0"),
    ("headline", "splits", "difficulty"),
    ("headline", "tail", "tail"),
    ("headline", "methods", "length"),
    ("headline", "passes", "curve"),
    ("headline", "intervention", "residuals"),
    ("algorithms", "law", "all"),
    ("sizes", "sizes", "curves"),
    ("sizes", "sizes", "a"),
    ("sizes", "sizes", "b"),
    ("baselines", "coefficients", "entropy_0"),
    ("baselines", "coefficients", "entropy_1"),
    ("baselines", "let_through", "extra"),
    ("coefficients", "coefficients", "entropy_0"),
    ("coefficients", "coefficients", "entropy_1"),
    ("coefficients", "coefficients", "entropy_2"),
    ("controllers", "controlled", "entropy"),
    ("smollm2", "methods", "entropy"),
  ],
)
def test_the_papers_figures_are_in_the_reports(
  committed, study, section, panel
):
  """Each with its numbers, and a sentence."""
  found = committed._sections(study)[section]
  assert panel in found.panels
  assert found.table.rows
  assert found.sentence
  page = committed.RESULTS / study / "report" / "report.html"
  assert f"<section id={section}>" in page.read_text()


def _sentences(summary):
  return {name: f["sentence"] for name, f in summary["figures"].items()}


GENTLE = ("opefo", "papo", "cw_grpo", "kl_cov")
HARSH = ("nsr", "w_reinforce", "entrocraft", "entropy_tokens")


def method_facts(table):
  """What the page of objectives says in words of the table of methods."""
  cells = {row[0]: row[2:6] for row in table.rows}
  value = {
    label: [float(cell.split()[0]) for cell in row]
    for label, row in cells.items()
  }
  halves = [
    max(float(row[i].split()[2]) for row in cells.values() if "±" in row[i])
    for i in (0, 3)
  ]
  more = [label for label, row in cells.items() if "↑" in row[0]]
  more.sort(key=lambda label: -value[label][0])
  near = [label for label in cells if label not in (*more, "grpo")]

  def span(labels, column):
    found = [value[label][column] for label in labels]
    return f"{min(found):.2f} to {max(found):.2f}"

  base = [f"{x:.2f}" for x in value["grpo"]]
  assert all(value[label][3] < value["grpo"][3] for label in more)
  assert not any("↑" in cell for row in cells.values() for cell in row[1:])
  assert min(value[x][1] for x in GENTLE) > max(value[x][1] for x in HARSH)
  return [
    f"Of the {len(cells) - 1} methods beside GRPO, {len(more)} end with more "
    f"entropy than it, beyond what seeds explain: {', '.join(more)}.",
    f"They keep {span(more, 0)} of the entropy of the start, GRPO {base[0]}, "
    f"and the others {span(near, 0)}.",
    f"at temperature 1 {span(more, 3)}, against GRPO's {base[3]}",
    f"greedily {span(GENTLE, 1)}, against GRPO's {base[1]} and "
    f"{span(HARSH, 1)} of {', '.join(HARSH)}",
    f"the others, {span(near, 3)} at temperature 1",
    f"± {halves[0]:.3f} in entropy kept and ± {halves[1]:.3f} in accuracy at "
    "temperature 1",
  ]


def test_what_the_page_says_of_the_methods_is_in_their_table(committed):
  page = (ROOT / "docs" / "objectives.md").read_text()
  words = " ".join(re.sub(r"<!--.*?<!-- end -->", "", page, flags=re.S).split())
  for fact in method_facts(committed._sections("methods")["tradeoff"].table):
    assert fact in words


def test_committed_results_are_small():
  files = (ROOT / "docs" / "results").rglob("*")
  sizes = [f.stat().st_size for f in files if f.is_file() and not _made(f)]
  assert sum(sizes) <= MAX_RESULTS


def _made(file):
  """Whether a file is made from the others, as reports are."""
  return "report" in file.parts


def test_parts_are_filled_from_a_study(generate, monkeypatch, tmp_path):
  monkeypatch.setattr(generate, "RESULTS", tmp_path)
  synthetic.write_study(tmp_path / "quick")
  old = (
    "Before\n<!-- generated: claims quick -->\nold\n<!-- end -->\n"
    "<!-- generated: section quick law -->\n<!-- end -->\nAfter"
  )
  new = generate.fill(old)
  assert "old" not in new
  assert "| GRPO's final entropy, as a share of its first" in new
  assert "GRPO follows R = " in new
  assert new.startswith("Before")
  assert new.endswith("After")
  assert generate.fill(new) == new


def test_every_study_is_on_the_page_with_its_report(
  generate, monkeypatch, tmp_path
):
  monkeypatch.setattr(generate, "RESULTS", tmp_path)
  for name in ("own", "sizes", "headline"):
    synthetic.write_study(tmp_path / name)
  (tmp_path / "benchmarks").mkdir()
  made = generate.fill("<!-- generated: studies -->\n<!-- end -->")
  titles = re.findall("^### (.+)", made, re.M)
  assert titles == [
    "headline",
    "sizes",
    "own",
  ]  # the sweep's order, then others
  assert "(results/sizes/report/report.html)" in made
  assert "GRPO follows R = " in made
  overview = generate.fill("<!-- generated: overview -->\n<!-- end -->")
  # The same runs in three folders are one setting.
  assert "Over 1 setting, the law" in overview
  assert made.count("All its runs are in the studies above.") == 2
  answers = generate.fill("<!-- generated: answers -->\n<!-- end -->")
  assert "- **Does R = -a exp(H) + b hold?** In 1 setting of" in answers


def test_committed_studies_have_their_reports(generate):
  for name in generate._names():
    folder = generate.RESULTS / name / "report"
    assert (folder / "report.html").is_file(), "run python docs/generate.py"
    assert (folder / "summary.json").is_file()


@pytest.mark.parametrize("combined", [True, False])
def test_benchmarks_become_tables(generate, monkeypatch, tmp_path, combined):
  monkeypatch.setattr(generate, "RESULTS", tmp_path)
  asked = "<!-- generated: benchmarks -->\n<!-- end -->"
  assert "No results are committed." in generate.fill(asked)
  machine = {"processor": "Some CPU", "cores": 2}
  result = {
    "case": "B=1",
    "metric": "tokens/s",
    "ours": 27.34567,
    "peer": "transformers",
    "peer_value": 19.1,
    "ratio": 1.43,
    "spread": 0.05,
    "quartiles": [1.4, 1.5],
  }
  answer = {"name": "sampler", "machine": machine, "results": [result]}
  content = {"machine": machine, "benchmarks": [answer]} if combined else answer
  (tmp_path / "benchmarks").mkdir()
  (tmp_path / "benchmarks" / "b.json").write_text(json.dumps(content))
  made = generate.fill(asked)
  assert "| sampler | B=1 | tokens/s | 27.35 | transformers | 19.1" in made
  assert "| 1.43 | 1.40–1.50 |  | 2 cores, Some CPU |" in made


def test_a_part_without_results_is_an_error(generate, monkeypatch, tmp_path):
  monkeypatch.setattr(generate, "RESULTS", tmp_path)
  with pytest.raises(UserError, match="nowhere"):
    generate.fill("<!-- generated: claims nowhere -->\n<!-- end -->")


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]
CODE = re.compile(r"^```python\n(.*?)^```", re.S | re.M)
# extending_test.py runs the code of that page, as a module.
WITH_CODE = [
  page
  for page in PAGES
  if CODE.search(page.read_text()) and page.name != "extending.md"
]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page):
  names = {"config": defaults.get_config()}
  # With the strict promotion rules of the tests relaxed: a user's are.
  with jax.numpy_dtype_promotion("standard"):
    for block in CODE.findall(page.read_text()):
      exec(block, names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_points_at_is_there(page):
  text = page.read_text()
  links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
  assert [link for link in links if not (page.parent / link).exists()] == []
  files = re.findall(
    r"(?<![/\w])(?:configs|tests|launch|benchmarks)/[\w./]+\w", text
  )
  assert [file for file in files if not (ROOT / file).exists()] == []


def test_weights_of_the_plot_are_minus_the_derivative():
  path = ROOT / "docs" / "gradient_weights.py"
  spec = importlib.util.spec_from_file_location("gradient_weights", path)
  plot = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(plot)
  ratio = np.exp(plot.DRIFT * plot.ADVANTAGES)
  want = np.where(
    np.abs(ratio - 1) <= 0.2, plot.ADVANTAGES * ratio, 0 * plot.ADVANTAGES
  )
  got = plot.weights("grpo")
  assert got.shape == (len(plot.ADVANTAGES), len(plot.PROBABILITIES))
  for column in got.T:
    np.testing.assert_allclose(column, want, rtol=1e-4, atol=1e-6)
