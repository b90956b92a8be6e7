"""Fills the generated parts of the documentation from committed results.

    python docs/generate.py            # rewrites README.md, docs/*.md, reports
    python docs/generate.py --check    # says which pages would change

A folder `docs/results/STUDY` with one folder a run is a study: its report is
made anew, and all studies are in the parts below that name none. A generated
part stands between two comments, the first of which says what it shows:

    <!-- generated: answers -->
    <!-- generated: studies -->
    <!-- generated: overview -->
    <!-- generated: claims STUDY -->
    <!-- generated: section STUDY law -->
    <!-- generated: sentence STUDY law -->
    <!-- generated: benchmarks -->
    <!-- generated: plans -->
    ...
    <!-- end -->

Benchmarks are the JSON files of `docs/results/benchmarks`, plans those of
`docs/results/plans`, each what `jaxrl-entropy plan --json` printed.
"""

from collections.abc import Mapping, Sequence
import functools
import inspect
import json
from pathlib import Path
import re
import sys
from typing import Any

from jaxrl_entropy import config
from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report import answers, claims, overview, writer
from jaxrl_entropy.report.section import Cell, Section, as_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
SWEEP = ROOT / "configs" / "sweeps" / "entropy_mechanism.py"
ALONE = ("smollm2", "quickstart")  # studies with a config of their own
_BLOCK = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.S)
_VERDICTS = {True: "yes", False: "**no**"}
# Of each study on a page, the sections whose table stands there too.
_WITH_TABLE = {
  *("law", "intervention", "results", "differences"),
  *("coefficients", "controlled", "sizes"),
}
# Those that speak of the baseline alone, which a study may share with another.
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
  """The text with every generated part made anew.

  Raises:
    KeyError: a part asks for a kind or a section that does not exist.
    UserError: a part asks for a study that is not there.
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
  """The committed studies, in the order in which they are described."""
  found = {study.name for study in studies.load_parts(RESULTS)}
  known = [name for name in _descriptions() if name in found]
  return (*known, *sorted(found - set(known)))


@functools.cache
def _descriptions() -> dict[str, str]:
  """What each part of the study asks."""
  parts = config.load_module(str(SWEEP)).PARTS
  configs = {name: ROOT / "configs" / f"{name}.py" for name in ALONE}
  modules = {
    name: config.load_module(str(path)) for name, path in configs.items()
  }
  return {
    name: inspect.getdoc(made) for name, made in (parts | modules).items()
  }


@functools.cache
def _sections(name: str) -> dict[str, Section]:
  return {each.name: each for each in writer.sections(_study(name))}


def _studies() -> str:
  return "\n\n".join(_one(name) for name in _names())


def _one(name: str) -> str:
  """A study: what it asks, what held, and each figure's sentence.

  Of runs that an earlier study has as well, only that is said.
  """
  asks = _descriptions().get(name, "").split("\n\n")[0].replace("\n", " ")
  link = f"[Its report](results/{name}/report/report.html) has every figure."
  parts = [f"### {name}", f"{asks} {link}".strip()]
  own = [label for of, label in _distinct() if of == name]
  baseline = _study(name).baseline
  if not own:
    return "\n\n".join([*parts, "All its runs are in the studies above."])
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


def _claims(name: str) -> str:
  """The statements that the study can tell about; empty for none."""
  rows = [
    (c.claim, c.value, f"{c.relation} {c.threshold:g}", _VERDICTS[c.holds])
    for c in claims.check(_study(name))
    if c.holds is not None
  ]
  columns = ("statement", "measured", "asked", "held")
  return _table(columns, rows) if rows else ""


def _section(name: str, section: str) -> str:
  return _shown(_sections(name)[section])


def _shown(section: Section) -> str:
  table = _table(section.table.columns, section.table.rows)
  return f"{section.sentence}\n\n{table}"


def _sentence(name: str, section: str) -> str:
  return _sections(name)[section].sentence


def _benchmarks() -> str:
  files = sorted((RESULTS / "benchmarks").glob("*.json"))
  parts = [_benchmark(json.loads(file.read_text())) for file in files]
  return "\n\n".join(parts) or "No results are committed."


def _benchmark(content: Mapping[str, Any]) -> str:
  """The table of one benchmark's file, or of one of `benchmarks.run`."""
  rows = [
    (
      answer["name"],
      result["case"],
      result["metric"],
      float(f"{result['ours']:.4g}"),
      result["peer"],
      float(f"{result['peer_value']:.4g}"),
      f"{result['ratio']:.2f} (±{result['spread']:.0%})",
    )
    for answer in content.get("benchmarks", [content])
    for result in answer["results"]
  ]
  columns = ("benchmark", "case", "metric", "ours", "peer", "theirs", "ratio")
  machine = content["machine"]
  where = f"On {machine['cores']} cores of {machine['processor']}."
  if machine.get("device", "cpu") != "cpu":
    where = f"On one {machine['device']}."
  return where + "\n\n" + _table(columns, rows)


def _plans() -> str:
  """A row for each config that was compiled; see docs/scaling.md."""
  files = sorted((RESULTS / "plans").glob("*.json"))
  rows = [_plan(json.loads(file.read_text())) for file in files]
  columns = (
    *("config", "slice", "mesh", "verdict", "training, GiB"),
    *("sampling beside it, GiB", "of, GiB", "an update takes at least, s"),
  )
  return _table(columns, rows) if rows else "No plans are committed."


def _plan(plan: Mapping[str, Any]) -> Sequence[Cell]:
  sizes = (*plan["phases"].values(), plan["topology"]["generation"]["hbm"])
  mesh = (f"{axis} {size}" for axis, size in plan["mesh"].items() if size > 1)
  return (
    Path(plan["config"]).stem,
    plan["topology"]["name"],
    ", ".join(mesh),
    plan["verdict"],
    *(f"{size / 2**30:.2f}" for size in sizes),
    f"{plan['programs']['train']['bound_seconds']:.1f}",
  )


_KINDS = {
  "plans": _plans,
  "answers": _answers,
  "studies": _studies,
  "overview": _overview,
  "claims": _claims,
  "section": _section,
  "sentence": _sentence,
  "benchmarks": _benchmarks,
}


def write_reports() -> None:
  """The report of every study, with the plots that a page refers to."""
  text = "".join(page.read_text(encoding="utf-8") for page in pages())
  for name in _names():
    plots = re.findall(rf"results/{name}/report/(plots/\w+\.svg)", text)
    writer.write_report(RESULTS / name, plot_files=plots)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
  lines = [columns, ["---"] * len(columns)]
  lines += [[as_text(cell).replace("|", "\\|") for cell in row] for row in rows]
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
