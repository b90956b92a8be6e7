"""Fills the generated parts of the documentation from committed results.

    python docs/generate.py            # rewrites README.md and docs/*.md
    python docs/generate.py --check    # says what would change

A generated part stands between two comments, the first of which says what it
shows of a folder (a study) or a file (benchmarks) under `docs/results`:

    <!-- generated: claims headline -->
    <!-- generated: section headline law -->
    <!-- generated: sentence headline law -->
    <!-- generated: benchmarks benchmarks.json -->
    ...
    <!-- end -->
"""

from collections.abc import Sequence
import functools
import json
from pathlib import Path
import re
import sys

from jaxrl_entropy.analysis import claims, report, studies
from jaxrl_entropy.analysis.section import Cell, Section, as_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
_BLOCK = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.S)
_VERDICTS = {True: "yes", False: "**no**", None: "not measured"}


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
def _sections(name: str) -> dict[str, Section]:
  return {each.name: each for each in report.sections(_study(name))}


def _claims(name: str) -> str:
  return _table(
    ("statement", "measured", "asked", "held"),
    [
      (c.claim, c.value, f"{c.relation} {c.threshold:g}", _VERDICTS[c.holds])
      for c in claims.check(_study(name))
    ],
  )


def _section(name: str, section: str) -> str:
  found = _sections(name)[section]
  table = _table(found.table.columns, found.table.rows)
  return f"{found.sentence}\n\n{table}"


def _sentence(name: str, section: str) -> str:
  return _sections(name)[section].sentence


def _benchmarks(file: str) -> str:
  content = json.loads((RESULTS / file).read_text())
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
    for answer in content["benchmarks"]
    for result in answer["results"]
  ]
  columns = ("benchmark", "case", "metric", "ours", "peer", "theirs", "ratio")
  machine = content["machine"]
  where = f"On {machine['cores']} cores of {machine['processor']}."
  return where + "\n\n" + _table(columns, rows)


_KINDS = {
  "claims": _claims,
  "section": _section,
  "sentence": _sentence,
  "benchmarks": _benchmarks,
}


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
  lines = [columns, ["---"] * len(columns)]
  lines += [[as_text(cell).replace("|", "\\|") for cell in row] for row in rows]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str]) -> int:
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
