"""The report as one HTML page.

The page is whole in itself (images are embedded, there is no script) and reads
on a phone and on paper. Whatever comes from a file is escaped.
"""

from collections.abc import Mapping, Sequence
import string
from urllib.parse import quote

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report import answers, claims, plots
from jaxrl_entropy.report.section import (
  Row,
  Section,
  Table,
  as_text,
  listing,
  plural,
)
from jaxrl_entropy.text import to_html

_VERDICTS = {True: "held", False: "did not hold", None: "not measured"}
# What need not be escaped in a URL that stands in double quotes.
_PLAIN = "".join(set(string.punctuation + " ") - set('%#"&<>'))
_RELATION_SIGNS = {"<": "&lt;", ">": "&gt;", ">=": "≥"}


def render(
  study: studies.Study,
  sections: Sequence[Section],
  checked: Sequence[claims.Claim],
  images: Mapping[str, plots.Image],
) -> str:
  """The page of a study.

  Args:
    study: the runs.
    sections: what to show of them.
    checked: statements about them.
    images: the drawn panels, by `<section>_<panel>`.
  """
  parts = [
    _verdicts(checked),
    *(_section(section, images) for section in sections),
    _notes(study),
  ]
  return _page(study.name, lead(study, checked), parts)


def render_overview(
  name: str,
  answered: Sequence[answers.Answer],
  leads: Mapping[str, str],
  sections: Sequence[Section],
  images: Mapping[str, plots.Image],
) -> str:
  """The page over several studies.

  Args:
    name: of the folder that holds them.
    answered: what they say together.
    leads: what `lead` says of each study, by its name; their pages stand in
      `<name>/report/report.html` of the folder above this page's.
    sections: over all of them.
    images: the drawn panels, by `<section>_<panel>`.
  """
  items = "".join(
    f'<li><a href="../{to_html(quote(study))}/report/report.html">'
    f"{to_html(study)}</a>: {to_html(text)}</li>"
    for study, text in leads.items()
  )
  replies = "".join(
    f"<dt>{to_html(each.question)}</dt><dd>{to_html(each.answer)}</dd>"
    for each in answered
  )
  parts = [
    f"<section id=answers><dl>{replies}</dl></section>",
    f"<section id=studies><h2>The studies</h2><ul>{items}</ul></section>",
    *(_section(section, images) for section in sections),
  ]
  return _page(name, f"{len(leads)} studies.", parts)


def _page(name: str, lead: str, parts: Sequence[str]) -> str:
  title = to_html(name)
  header = (
    f"<header><p class=kicker>Entropy report</p><h1>{title}</h1>"
    f"<p class=lead>{to_html(lead)}</p></header>"
  )
  body = "\n".join([header, *parts, f"<footer>{_READING}</footer>"])
  return _TEMPLATE.format(title=title, css=_CSS, body=body)


def lead(study: studies.Study, checked: Sequence[claims.Claim]) -> str:
  """A study in two sentences."""
  verdicts = [each.holds for each in checked]
  counts = [
    f"{count} {word}"
    for verdict, word in _VERDICTS.items()
    if (count := verdicts.count(verdict))
  ]
  steps = max(run.records[-1]["step"] for run in study.runs)
  number = plural(len(study.runs), "run")
  return (
    f"{number} of up to {steps} steps. Of {len(checked)} statements of the "
    f"paper: {listing(counts)}."
  )


def _verdicts(checked: Sequence[claims.Claim]) -> str:
  """The statements that this study can tell about."""
  measured = [each for each in checked if each.holds is not None]
  if not measured:
    return ""
  rows = "".join(
    f"<tr class={_VERDICTS[each.holds].replace(' ', '-')}>"
    f"<td>{to_html(each.claim)}</td>"
    f"<td>{as_text(each.value)}</td>"
    f"<td>{_RELATION_SIGNS[each.relation]} {each.threshold:g}</td>"
    f"<td>{_VERDICTS[each.holds]}</td></tr>"
    for each in measured
  )
  return (
    "<section id=claims><h2>What held</h2><div class=scroll><table>"
    "<thead><tr><th>Statement</th><th>Measured</th><th>Asked</th><th>Verdict</th></tr>"
    f"</thead><tbody>{rows}</tbody></table></div></section>"
  )


def _section(section: Section, images: Mapping[str, plots.Image]) -> str:
  panels = "".join(
    f'<img alt="{to_html(f"{section.title}: {name}")}" '
    f'src="{_data_url(images[f"{section.name}_{name}"].svg)}">'
    for name in section.panels
  )
  return (
    f"<section id={section.name}><h2>{to_html(section.title)}</h2>"
    f"<p>{to_html(section.sentence)}</p>"
    f"<div class=panels>{panels}</div>{_table(section.table)}</section>"
  )


def _table(table: Table) -> str:
  head = "".join(f"<th>{to_html(name)}</th>" for name in table.columns)
  body = "".join(_row(row) for row in table.rows)
  return (
    f"<div class=scroll><table><thead><tr>{head}</tr></thead>"
    f"<tbody>{body}</tbody></table></div>"
  )


def _row(row: Row) -> str:
  cells = (f"<td>{to_html(as_text(cell))}</td>" for cell in row)
  return f"<tr>{''.join(cells)}</tr>"


def _notes(study: studies.Study) -> str:
  if not study.notes:
    return ""
  items = "".join(f"<li>{to_html(note)}</li>" for note in study.notes)
  return (
    f"<section id=notes><h2>Notes on the data</h2><ul>{items}</ul></section>"
  )


def _data_url(svg: str) -> str:
  """The image in an attribute; a third shorter than in base64."""
  return "data:image/svg+xml," + quote(svg.replace("\n", " "), safe=_PLAIN)


_READING = """<h2>How to read this</h2>
<p>R is the accuracy of samples on held-out problems, H the policy's entropy in
nats a token. A curve is the mean over runs that differ in nothing but their
seed, smoothed over a fortieth of the steps; its band spans the seeds. A number
with ± has a 95% Student interval over seeds; one seed gives none. Brackets hold
a 95% interval by block bootstrap within runs. What is called final is the mean
of the last twentieth of the values. A law is dashed below the entropies that
were seen; the dotted line is the ceiling of the first law. Of more than four
variants, each method has a panel of its own, or its first variant stands for
it; the table has all.</p>"""

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
main { max-width: 60rem; margin: 0 auto; padding: 3rem 1.25rem 4rem; }
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
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }
.panels img { width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; min-width: 50%;
  font-variant-numeric: tabular-nums; }
th { font-weight: 400; color: var(--muted); vertical-align: bottom; }
th, td { padding: .35rem .9rem .35rem 0; text-align: right;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0;
  background: #fff; }
td:not(:first-child), section:not(#claims) td { white-space: nowrap; }
#claims td:last-child { white-space: normal; min-width: 3.6em; }
#claims td:last-child { font-weight: 600; }
.held td:last-child { color: #1b7a4b; }
.did-not-hold td:last-child { color: #c0392b; }
a { color: inherit; }
dt { font-weight: 600; }
dd { max-width: 44rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
footer { margin-top: 3.2rem; }
#notes, footer p { color: var(--muted); font-size: .86rem; }
@media print { body { font-size: 10.5pt; } main { max-width: none; padding: 0; }
  section { margin-top: 1.6rem; }
  h2, h2 + p { break-after: avoid; }
  p, img, tr { break-inside: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 7pt; }
  th, td { padding-right: .8em; }
  .panels { grid-template-columns: repeat(2, 1fr); } }
"""
