"""The frame of every page: one HTML document without scripts.

A page is self-contained (images are embedded) and readable on a phone and on
paper. Text from files must be escaped by `text.to_html` before it gets here.
"""

from collections.abc import Sequence

from jaxrl_entropy.text import to_html


def render(
  title: str, kicker: str, lead: str, sections: Sequence[str], css: str = ""
) -> str:
  """Returns a complete HTML document.

  Args:
    title: heading, as plain text.
    kicker: small line above the heading, as plain text.
    lead: first paragraph, as plain text.
    sections: the body, as HTML.
    css: style rules beside those of every page.
  """
  header = (
    f"<header><p class=kicker>{to_html(kicker)}</p><h1>{to_html(title)}</h1>"
    f"<p class=lead>{to_html(lead)}</p></header>"
  )
  return _TEMPLATE.format(
    title=f"{to_html(title)}: {to_html(kicker.lower())}",
    css=_CSS + css,
    body="\n".join([header, *sections]),
  )


def table(
  columns: Sequence[str],
  rows: Sequence[Sequence[str]],
  classes: Sequence[str] = (),
) -> str:
  """Returns a table of plain text that scrolls sideways where it must.

  Args:
    columns: headings.
    rows: cells.
    classes: CSS class of each row; none if empty.
  """
  head = "".join(f"<th>{to_html(name)}</th>" for name in columns)
  body = "".join(
    f"<tr{f' class={classes[index]}' if classes else ''}>"
    + "".join(f"<td>{to_html(cell)}</td>" for cell in row)
    + "</tr>"
    for index, row in enumerate(rows)
  )
  return (
    f"<div class=scroll tabindex=0><table><thead><tr>{head}</tr></thead>"
    f"<tbody>{body}</tbody></table></div>"
  )


_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
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
/* Shadows at the edges show that a table goes on beyond them. */
.scroll { overflow-x: auto; scrollbar-width: thin; padding-bottom: .2rem;
  background:
    linear-gradient(to right, #fff 40%, #fff0) 0 0 / 2.5rem 100% local,
    linear-gradient(to left, #fff 40%, #fff0) 100% 0 / 2.5rem 100% local,
    linear-gradient(to right, #1f29332e, #1f293300) 0 0 / 1rem 100% scroll,
    linear-gradient(to left, #1f29332e, #1f293300) 100% 0 / 1rem 100% scroll
    #fff;
  background-repeat: no-repeat; }
table { border-collapse: collapse; font-size: .86rem; min-width: 50%;
  font-variant-numeric: tabular-nums; }
th { font-weight: 400; color: var(--muted); vertical-align: bottom; }
th, td { padding: .35rem .9rem .35rem 0; text-align: right;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
td:not(:first-child), section:not(#claims) td { white-space: nowrap; }
section td:first-child { max-width: 14rem; white-space: normal;
  overflow-wrap: anywhere; min-width: 6rem; }
section#alarms td { white-space: normal; min-width: 8rem; }
#claims td:first-child { max-width: none; min-width: 11rem; }
#claims td:nth-child(4) { font-weight: 600; white-space: normal;
  min-width: 4em; }
#claims td:last-child { color: var(--muted); white-space: normal;
  text-align: left; min-width: 9rem; padding-right: 0; }
.held td:nth-child(4) { color: #1b7a4b; }
.did-not-hold td:nth-child(4) { color: #c0392b; }
a { color: inherit; }
dt { font-weight: 600; }
dd { max-width: 44rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
footer { margin-top: 3.2rem; }
.not-settled td:nth-child(4) { color: var(--muted); }
#notes, #absent, .small, footer p { color: var(--muted); font-size: .86rem; }
@media print { body { font-size: 10.5pt; } main { max-width: none; padding: 0; }
  section { margin-top: 1.6rem; }
  h2, h2 + p { break-after: avoid; }
  p, img, tr { break-inside: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 7pt; }
  th, td { padding-right: .8em; }
  .panels { grid-template-columns: repeat(2, 1fr); } }
"""
