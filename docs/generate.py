"""Fills the generated parts of the documentation from committed results.

    python docs/generate.py            # rewrites README.md, docs/*.md, reports
    python docs/generate.py --check    # lists the pages that would change

A folder `docs/results/STUDY` with one folder per run is a study. Its report is
rewritten, and parts that name no study show all of them. A generated part is
between two comments, the first of which says what to show:

    <!-- generated: answers -->
    <!-- generated: studies -->
    <!-- generated: overview -->
    <!-- generated: claims STUDY -->
    <!-- generated: section STUDY law -->
    <!-- generated: sentence STUDY law -->
    <!-- generated: benchmark_claims -->
    <!-- generated: benchmarks -->
    <!-- generated: plans -->
    <!-- generated: estimates -->
    <!-- generated: config -->
    <!-- generated: recipes -->
    <!-- generated: api -->
    ...
    <!-- end -->

A file `NOTE.md` in a study's folder is quoted at the top of its part.
Benchmarks are the JSON files of `docs/results/benchmarks`; plans are those of
`docs/results/plans`, each the output of `jaxrl-entropy plan --json`; estimates
are those of `docs/results/estimates`, as `--estimate --json` prints them.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
import inspect
import json
from pathlib import Path
import re
import sys
from typing import Any

import jaxrl_entropy as jrl
from jaxrl_entropy import config
from jaxrl_entropy.analysis import studies
from jaxrl_entropy.config import reference
from jaxrl_entropy.report import answers, claims, overview, writer
from jaxrl_entropy.report.section import Cell, Section, Table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
SWEEPS = ("entropy_mechanism", "frontier")
OWN_CONFIGS = ("smollm2", "quickstart")  # studies outside the sweep
# Studies of other settings than the rest: other pages have them, no summary.
ELSEWHERE = ("methods", "explosion")
_BLOCK = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.S)
_VERDICTS = {claims.HELD: "yes", claims.REFUTED: "**no**"}
# Sections whose table is shown beside their sentence.
_WITH_TABLE = {
  *("law", "intervention", "results", "differences", "coverage"),
  *("coefficients", "controlled", "sizes", "controls", "staleness"),
}
# Sections about the baseline alone, which several studies may share.
_OF_BASELINE = {
  "collapse",
  "prediction",
  "forms",
  "group_wise",
  "tail",
  "splits",
}


def pages() -> list[Path]:
  return [
    p
    for p in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))
    if p.is_file()
  ]


def fill(text: str) -> str:
  """Returns the text with every generated part rewritten.

  Raises:
    KeyError: if a part asks for a kind or a section that does not exist.
    UserError: if a part asks for a study that does not exist.
  """

  def render(match: re.Match) -> str:
    kind, *arguments = match[2].split()
    return match[1] + _KINDS[kind](*arguments) + "\n" + match[3]

  return _BLOCK.sub(render, text)


@functools.cache
def _study(name: str) -> studies.Study:
  return studies.load(RESULTS / name)


@functools.cache
def _names() -> tuple[str, ...]:
  """Returns the committed studies, in the order of the sweep's parts."""
  found = {study.name for study in studies.load_parts(RESULTS)}
  found -= set(ELSEWHERE)
  known = [name for name in _descriptions() if name in found]
  return (*known, *sorted(found - set(known)))


@functools.cache
def _descriptions() -> dict[str, str]:
  """Returns the question that each study asks."""
  folder = ROOT / "configs" / "sweeps"
  sweeps = [config.load_module(f"{folder / name}.py") for name in SWEEPS]
  parts = {name: part for each in sweeps for name, part in each.PARTS.items()}
  configs = {name: ROOT / "configs" / f"{name}.py" for name in OWN_CONFIGS}
  modules = {
    name: config.load_module(str(path)) for name, path in configs.items()
  }
  return {
    name: inspect.getdoc(made) for name, made in (parts | modules).items()
  }


@functools.cache
def content(name: str) -> writer.Content:
  """Returns what the report of a committed study says.

  Args:
    name: the study's folder in docs/results.
  """
  return writer.build(_study(name))


def _sections(name: str) -> dict[str, Section]:
  return {section.name: section for section in content(name).sections}


def _studies() -> str:
  return "\n\n".join(_one(name) for name in _names())


def _one(name: str) -> str:
  """Describes a study: its question, the statements, and each result.

  Runs that an earlier study has too are described there alone.
  """
  asks = _descriptions().get(name, "").split("\n\n")[0].replace("\n", " ")
  link = f"[Its report](results/{name}/report/report.html) has every figure."
  parts = [f"### {name}", f"{asks} {link}".strip(), _note(name)]
  own = [label for of, label in _distinct() if of == name]
  baseline = _study(name).baseline
  if not own:
    parts.append("All its runs are in the studies above.")
    return "\n\n".join(filter(None, parts))
  if baseline and baseline[0] not in own:
    parts.append(f"Its {baseline[0]} is in a study above.")
  else:
    parts.append(_claims(name))
  for section in _sections(name).values():
    if section.name in _OF_BASELINE and baseline and baseline[0] not in own:
      continue
    title = (
      section.title if section.title.endswith("?") else f"{section.title}."
    )
    parts.append(f"**{title}** {section.sentence}")
    if section.name in _WITH_TABLE:
      parts.append(_table(section.table.columns, section.table.rows))
  return "\n\n".join(filter(None, parts))


@functools.cache
def _distinct() -> list[tuple[str, str]]:
  parts = [_study(name) for name in _names()]
  return [(of.name, label) for of, label, _ in studies.distinct(parts)]


def _answers() -> str:
  made = answers.answers([_study(name) for name in _names()])
  return "\n".join(f"- **{each.question}** {each.answer}" for each in made)


def _overview() -> str:
  made = overview.sections([_study(name) for name in _names()])
  return "\n\n".join(f"### {each.title}\n\n{_shown(each)}" for each in made)


def _note(name: str) -> str:
  """Returns a caveat about the study, if there is one."""
  path = RESULTS / name / "NOTE.md"
  return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _claims(name: str) -> str:
  """Tabulates the measured statements; returns "" if there are none."""
  rows = [
    (
      c.claim,
      str(c.value),
      f"{c.relation} {c.threshold:g}",
      _VERDICTS.get(c.verdict, c.verdict),
    )
    for c in claims.check(_study(name))
    if c.verdict != claims.NOT_MEASURED
  ]
  columns = ("statement", "measured", "expected", "held")
  return _table(columns, rows) if rows else ""


def _section(name: str, section: str) -> str:
  return _shown(_sections(name)[section])


def _shown(section: Section) -> str:
  table = _table(section.table.columns, section.table.rows)
  return f"{section.sentence}\n\n{table}"


def _sentence(name: str, section: str) -> str:
  return _sections(name)[section].sentence


def _benchmarks() -> str:
  results = _benchmark_tables().load(RESULTS / "benchmarks")
  rows = list(_benchmark_tables().table(results))
  if not rows:
    return "No results are committed."
  return _table(_benchmark_tables().COLUMNS, rows)


def _benchmark_claims() -> str:
  results = _benchmark_tables().load(RESULTS / "benchmarks")
  columns = ("benchmark", "question", "answer")
  return _table(columns, _benchmark_tables().claims(results))


@functools.cache
def _benchmark_tables() -> Any:
  return config.load_module(str(ROOT / "docs" / "benchmark_tables.py"))


def _plans() -> str:
  """Tabulates the compiled configs; see docs/scaling.md."""
  files = sorted((RESULTS / "plans").glob("*.json"))
  rows = [_plan(json.loads(file.read_text())) for file in files]
  columns = (
    *("config", "slice", "mesh", "tokens of a row", "verdict"),
    *("training, GiB", "sampling beside it, GiB", "of, GiB"),
    *("an update takes at least, s", "sent, of the least"),
  )
  return _table(columns, rows) if rows else "No plans are committed."


def _plan(plan: Mapping[str, Any]) -> Sequence[Cell]:
  sizes = (*plan["phases"].values(), plan["topology"]["generation"]["hbm"])
  mesh = (f"{axis} {size}" for axis, size in plan["mesh"].items() if size > 1)
  file, _, name = Path(plan["config"]).name.partition(":")
  train = plan["programs"]["train"]
  return (
    f"{Path(file).stem}{':' * bool(name)}{name}",
    plan["topology"]["name"],
    ", ".join(mesh),
    # Older files have neither the load nor the least that must be sent.
    f"{plan['estimate']['load']['row']:,}" if "estimate" in plan else "",
    plan["verdict"],
    *("" if size is None else f"{size / 2**30:.2f}" for size in sizes),
    f"{train['bound_seconds']:.1f}",
    f"{train['excess']:.2f}" if train.get("excess") else "",
  )


def _estimates() -> str:
  """Tabulates the estimated steps, a row for each form of a slice."""
  files = sorted((RESULTS / "estimates").glob("*.json"))
  rows = [
    row
    for file in files
    for row in _estimate(file.stem, json.loads(file.read_text()))
  ]
  columns = (
    *("config", "slice", "form", "sampling, s", "training, s", "step, s"),
    *("chip-hours", "at the peaks, s", "held in training, GiB"),
    *("in sampling, GiB", "of, GiB"),
  )
  return _table(columns, rows) if rows else "No estimates are committed."


def _estimate(
  name: str, estimate: Mapping[str, Any]
) -> Iterator[Sequence[Cell]]:
  config, _, slice_ = name.partition("-")
  forms = {
    "one mesh": (estimate["expected"], estimate["memory"]),
    "two halves": (estimate["split"], estimate["split_memory"]),
  }
  for form, (step, memory) in forms.items():
    if step is None:
      continue
    state, gradient, copy, cache = memory.values()
    sampling = copy + cache + (state if form == "one mesh" else 0)
    least = estimate["least"]["seconds"] if form == "one mesh" else None
    sizes = (state + gradient, sampling, estimate["hbm"])
    yield (
      *(config, slice_, form),
      *(f"{step[key]:.0f}" for key in ("sampling", "training", "seconds")),
      f"{step['chip_hours']:,.0f}",
      f"{least:.0f}" if least else "",
      *(f"{size / 2**30:.1f}" for size in sizes),
    )


def _api() -> str:
  """Lists the public names of the package with the first line of each."""
  rows = [
    (f"`jrl.{name}`", _summary(getattr(jrl, name)))
    for name in jrl.__all__
    if name != "__version__"
  ]
  tables = [_table(("name", "what it is"), rows)]
  for module in (jrl.losses, jrl.objectives, jrl.advantages):
    functions = [
      (name, value)
      for name, value in vars(module).items()
      if callable(value) and name[0].islower() and _is_own(value)
    ]
    rows = [
      (f"`{name}{_signature(value)}`", _summary(value))
      for name, value in sorted(functions)
    ]
    title = f"## {module.__name__.removeprefix('jaxrl_entropy.')}"
    tables += [title, _table(("function", "what it is"), rows)]
  return "\n\n".join(tables)


def _is_own(value: Any) -> bool:
  return getattr(value, "__module__", "").startswith("jaxrl_entropy.")


def _summary(value: Any) -> str:
  text = (inspect.getdoc(value) or "").split("\n\n")[0]
  return text.replace("\n", " ").replace("|", "\\|")


def _signature(value: Any) -> str:
  """Returns the parameters with their defaults, without annotations."""
  parameters = inspect.signature(value).parameters.values()
  bare = (p.replace(annotation=inspect.Parameter.empty) for p in parameters)
  text = str(inspect.Signature(list(bare)))
  return text.replace("|", "\\|")


_KINDS = {
  "config": reference.markdown,
  "recipes": reference.recipes_markdown,
  "api": _api,
  "plans": _plans,
  "estimates": _estimates,
  "answers": _answers,
  "studies": _studies,
  "overview": _overview,
  "claims": _claims,
  "section": _section,
  "sentence": _sentence,
  "benchmarks": _benchmarks,
  "benchmark_claims": _benchmark_claims,
}


def write_reports() -> None:
  """Writes the report of every study, with the plots that pages refer to."""
  text = "".join(page.read_text(encoding="utf-8") for page in pages())
  apart = [name for name in ELSEWHERE if (RESULTS / name).is_dir()]
  for name in (*_names(), *apart):
    plots = re.findall(rf"results/{name}/report/(plots/\w+\.svg)", text)
    writer.write_report(RESULTS / name, plot_files=plots)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
  lines = [columns, ["---"] * len(columns)]
  lines += [
    [cell.replace("|", "\\|") for cell in row]
    for row in Table(columns, rows).as_text()
  ]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str]) -> int:
  if "--check" not in arguments:
    write_reports()
  stale = []
  for page in pages():
    text = page.read_text(encoding="utf-8")
    made = fill(text)
    if made != text:
      stale.append(page)
      if "--check" not in arguments:
        page.write_text(made, encoding="utf-8")
  for page in stale:
    print(page.relative_to(ROOT))
  return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
