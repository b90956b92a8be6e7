"""The report of a study: an HTML page, its numbers as JSON, plots as files.

The page is whole in itself (images are embedded, there is no script) and reads
on a phone and on paper. Whatever comes from a file is escaped.
"""

import base64
from collections.abc import Sequence
import html
import json
import math
import pathlib
from typing import Any

from jaxrl_entropy.analysis import (
  claims,
  dynamics_sections,
  law_sections,
  plots,
  runs,
  training_sections,
)
from jaxrl_entropy.analysis.section import Builder, Cell, Section, Table

SECTIONS: tuple[Builder, ...] = (
  training_sections.methods,
  training_sections.collapse,
  law_sections.fitted,
  law_sections.prediction,
  dynamics_sections.covariance,
  dynamics_sections.group_wise,
  dynamics_sections.tail,
  training_sections.final_table,
)


def write(
  folder: str | pathlib.Path, output: str | pathlib.Path | None = None
) -> list[pathlib.Path]:
  """Writes the report of a study, or of a single run.

  Args:
    folder: one workdir, or a folder with one workdir a run.
    output: where to write; `folder/report` by default.

  Returns:
    The files: `report.html`, `summary.json`, and the plots as PNG and SVG.

  Raises:
    UserError: the folder holds no run with metrics.
    OSError: the output cannot be written.
  """
  study = runs.load_study(folder)
  output = pathlib.Path(output or pathlib.Path(folder) / "report")
  (output / "plots").mkdir(parents=True, exist_ok=True)
  sections = [found for build in SECTIONS if (found := build(study))]
  checked = claims.check(study)
  page, summary = output / "report.html", output / "summary.json"
  page.write_text(_page(study, sections, checked), encoding="utf-8")
  summary.write_text(
    json.dumps(_summary(study, sections, checked), indent=1, allow_nan=False),
    encoding="utf-8",
  )
  return [page, summary, *_write_plots(sections, output / "plots")]


def _write_plots(
  sections: Sequence[Section], folder: pathlib.Path
) -> list[pathlib.Path]:
  paths = []
  for section in sections:
    for name, figure in section.panels.items():
      path = folder / f"{section.name}_{name}"
      path.with_suffix(".svg").write_text(plots.svg(figure, path.name))
      path.with_suffix(".png").write_bytes(plots.png(figure))
      paths += [path.with_suffix(".png"), path.with_suffix(".svg")]
  return paths


def _summary(
  study: runs.Study,
  sections: Sequence[Section],
  checked: Sequence[claims.Claim],
) -> dict[str, Any]:
  return {
    "study": study.name,
    "runs": [
      {"name": run.name, "method": run.method, "steps": len(run.records)}
      for run in study.runs
    ],
    "notes": list(study.notes),
    "claims": [
      {
        "claim": each.claim,
        "value": _finite(each.value),
        "relation": each.relation,
        "threshold": each.threshold,
        "holds": each.holds,
      }
      for each in checked
    ],
    "figures": {
      section.name: {
        "title": section.title,
        "sentence": section.sentence,
        "columns": list(section.table.columns),
        "rows": [[_finite(c) for c in row] for row in section.table.rows],
      }
      for section in sections
    },
  }


def _finite(cell: Cell) -> Cell:
  return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _page(
  study: runs.Study,
  sections: Sequence[Section],
  checked: Sequence[claims.Claim],
) -> str:
  title = html.escape(study.name)
  parts = [
    f"<header><p class=kicker>Entropy report</p><h1>{title}</h1>"
    f"<p class=lead>{html.escape(_lead(study, checked))}</p></header>",
    _verdicts(checked),
    *(_section(section) for section in sections),
    _notes(study),
  ]
  return _TEMPLATE.format(title=title, css=_CSS, body="\n".join(parts))


def _lead(study: runs.Study, checked: Sequence[claims.Claim]) -> str:
  verdicts = [each.holds for each in checked]
  held, failed = verdicts.count(True), verdicts.count(False)
  steps = max(len(run.records) for run in study.runs)
  text = (
    f"{len(study.runs)} run(s) of up to {steps} steps. Of {len(checked)} "
    f"statements of the paper, {held} held here"
  )
  text += f" and {failed} did not" if failed else ""
  missing = len(checked) - held - failed
  return text + (f"; {missing} could not be measured." if missing else ".")


def _verdicts(checked: Sequence[claims.Claim]) -> str:
  words = {True: "held", False: "did not hold", None: "not measured"}
  rows = "".join(
    f"<tr class={words[each.holds].replace(' ', '-')}>"
    f"<td>{html.escape(each.claim)}</td>"
    f"<td>{_cell(each.value)}</td><td>{words[each.holds]}</td></tr>"
    for each in checked
  )
  return (
    "<section id=claims><h2>What held</h2><div class=scroll><table>"
    "<thead><tr><th>Statement</th><th>Measured</th><th>Verdict</th></tr>"
    f"</thead><tbody>{rows}</tbody></table></div></section>"
  )


def _section(section: Section) -> str:
  panels = "".join(
    f'<img alt="{html.escape(f"{section.title}: {name}")}" src="data:'
    f"image/svg+xml;base64,{_base64(plots.svg(figure, section.name + name))}"
    '">'
    for name, figure in section.panels.items()
  )
  return (
    f"<section id={section.name}><h2>{html.escape(section.title)}</h2>"
    f"<p>{html.escape(section.sentence)}</p>"
    f"<div class=panels>{panels}</div>{_table(section.table)}</section>"
  )


def _table(table: Table) -> str:
  head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
  body = "".join(
    f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>"
    for row in table.rows
  )
  return (
    f"<div class=scroll><table><thead><tr>{head}</tr></thead>"
    f"<tbody>{body}</tbody></table></div>"
  )


def _cell(cell: Cell) -> str:
  if _finite(cell) is None:
    return "–"
  if isinstance(cell, float):
    return f"{cell:.3g}" if abs(cell) < 0.1 else f"{cell:.3f}"
  return html.escape(str(cell))


def _notes(study: runs.Study) -> str:
  if not study.notes:
    return ""
  items = "".join(f"<li>{html.escape(note)}</li>" for note in study.notes)
  return (
    f"<section id=notes><h2>Notes on the data</h2><ul>{items}</ul></section>"
  )


def _base64(text: str) -> str:
  return base64.b64encode(text.encode()).decode()


_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: entropy report</title>
<style>{css}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

_CSS = """
:root { color-scheme: light; --ink: #1f2933; --muted: #616e7c;
  --line: #e4e7eb; }
body { margin: 0; color: var(--ink); background: #fff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Arial, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 3rem 1.25rem 4rem; }
h1 { font-weight: 300; font-size: 2.4rem; letter-spacing: -.02em;
  line-height: 1.15; margin: 0 0 .6rem; overflow-wrap: anywhere; }
h2 { font-weight: 400; font-size: 1.45rem; letter-spacing: -.01em;
  margin: 0 0 .4rem; }
p { max-width: 44rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
.kicker { color: var(--muted); font-size: .8rem; letter-spacing: .12em;
  text-transform: uppercase; margin: 0; }
.lead { font-size: 1.15rem; font-weight: 300; }
section { margin-top: 3.2rem; }
.panels { display: grid; gap: 1rem 1.5rem; margin: 1.2rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
.panels img { width: 100%; max-width: 30rem; height: auto; display: block; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; min-width: 50%;
  font-variant-numeric: tabular-nums; }
th { font-weight: 400; color: var(--muted); vertical-align: bottom; }
th, td { padding: .35rem .9rem .35rem 0; text-align: right;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
#claims td:last-child { white-space: nowrap; font-weight: 600; }
.held td:last-child { color: #1b7a4b; }
.did-not-hold td:last-child { color: #c0392b; }
.not-measured td { color: var(--muted); }
#notes { color: var(--muted); font-size: .86rem; }
@media print { body { font-size: 10.5pt; } main { max-width: none; padding: 0; }
  section { break-inside: avoid; margin-top: 1.6rem; }
  .panels { grid-template-columns: repeat(2, 1fr); } }
"""
