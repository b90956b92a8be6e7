"""The HTML pages of a study and of several studies."""

from collections.abc import Iterable, Mapping, Sequence
import string
from urllib.parse import quote

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report import answers, claims, document, images, wording
from jaxrl_entropy.report.section import Absent, Section
from jaxrl_entropy.text import to_html

_KICKER = "Entropy report"
_RELATION_SIGNS = {">=": "≥"}
# Characters that need no escape in a URL between double quotes.
_PLAIN = "".join(set(string.punctuation + " ") - set('%#"&<>'))


def render(
  study: studies.Study,
  sections: Sequence[Section],
  absent: Sequence[Absent],
  checked: Sequence[claims.Claim],
  drawn: Mapping[str, images.Image],
  samples: Mapping[str, str],
) -> str:
  """Renders the page of a study.

  Args:
    study: the runs.
    sections: sections to show.
    absent: sections for which the study has no data.
    checked: the paper's statements.
    drawn: the panels, by `<section>_<panel>`.
    samples: pages with sampled responses, by run.
  """
  body = [
    _claims(checked),
    *(_section(section, drawn) for section in sections),
    _samples(samples),
    _notes(study),
    _absent(absent),
    f"<footer>{_READING}</footer>",
  ]
  return document.render(study.name, _KICKER, lead(study, checked), body)


def render_overview(
  name: str,
  answered: Sequence[answers.Answer],
  leads: Mapping[str, str],
  sections: Sequence[Section],
  drawn: Mapping[str, images.Image],
) -> str:
  """Renders the page of several studies.

  Args:
    name: name of the folder that holds them.
    answered: the paper's questions, answered from all studies.
    leads: first paragraph of each study's page, by its name. That page is
      `<name>/report/report.html` in the folder above this page's.
    sections: sections over all studies.
    drawn: the panels, by `<section>_<panel>`.
  """
  items = "".join(
    f'<li><a href="../{to_html(quote(study))}/report/report.html">'
    f"{to_html(study)}</a>: {to_html(text)}</li>"
    for study, text in leads.items()
  )
  replies = "".join(
    f"<dt>{to_html(answer.question)}</dt><dd>{to_html(answer.answer)}</dd>"
    for answer in answered
  )
  body = [
    f"<section id=answers><dl>{replies}</dl></section>",
    f"<section id=studies><h2>The studies</h2><ul>{items}</ul></section>",
    *(_section(section, drawn) for section in sections),
    f"<footer>{_READING}</footer>",
  ]
  return document.render(name, _KICKER, f"{len(leads)} studies.", body)


def lead(study: studies.Study, checked: Sequence[claims.Claim]) -> str:
  """Describes a study in two sentences.

  Args:
    study: its runs and their steps are counted.
    checked: the paper's statements, counted by their verdicts.
  """
  verdicts = [claim.verdict for claim in checked]
  counts = [
    f"{count} {verdict}"
    for verdict in (
      *(claims.HELD, claims.REFUTED),
      *(claims.NOT_SETTLED, claims.NOT_MEASURED),
    )
    if (count := verdicts.count(verdict))
  ]
  steps = max(run.steps for run in study.runs)
  number = wording.plural(len(study.runs), "run")
  length = f"{steps}" if len(study.runs) == 1 else f"up to {steps}"
  return (
    f"{number} of {length} steps. Of {len(checked)} statements of the paper: "
    f"{wording.listing(counts)}."
  )


def _claims(checked: Sequence[claims.Claim]) -> str:
  """Renders a table of the measured statements and a list of the others."""
  measured = [c for c in checked if c.verdict != claims.NOT_MEASURED]
  rows = [
    (
      claim.claim,
      str(claim.value),
      f"{_RELATION_SIGNS.get(claim.relation, claim.relation)} "
      f"{claim.threshold:g}",
      claim.verdict,
      claim.reason,
    )
    for claim in measured
  ]
  table = document.table(
    ("statement", "measured", "expected", "verdict", ""),
    rows,
    [claim.verdict.replace(" ", "-") for claim in measured],
  )
  return (
    "<section id=claims><h2>The paper's statements</h2>"
    f"{table if measured else ''}{_unmeasured(checked)}</section>"
  )


def _unmeasured(checked: Sequence[claims.Claim]) -> str:
  by_reason: dict[str, list[str]] = {}
  for claim in checked:
    if claim.verdict == claims.NOT_MEASURED:
      by_reason.setdefault(claim.reason, []).append(claim.claim)
  if not by_reason:
    return ""
  items = "".join(
    f"<li>{to_html('; '.join(names))}: {to_html(reason)}</li>"
    for reason, names in by_reason.items()
  )
  return f"<p>Not measured:</p><ul class=small>{items}</ul>"


def _section(section: Section, drawn: Mapping[str, images.Image]) -> str:
  panels = "".join(
    f'<img alt="{to_html(f"{section.title}: {name}")}" '
    f'src="{_data_url(drawn[f"{section.name}_{name}"].svg)}">'
    for name in section.panels
  )
  if panels:
    panels = f"<div class=panels>{panels}</div>"
  table = document.table(section.table.columns, section.table.as_text())
  return (
    f"<section id={section.name}><h2>{to_html(section.title)}</h2>"
    f"<p>{to_html(section.sentence)}</p>{panels}{table}</section>"
  )


def _samples(samples: Mapping[str, str]) -> str:
  if not samples:
    return ""
  items = "".join(
    f'<li><a href="{to_html(quote(file))}">{to_html(run)}</a></li>'
    for run, file in samples.items()
  )
  return (
    "<section id=samples><h2>Sampled responses</h2><p>Tokens colored by "
    f"entropy, covariance and selection.</p><ul>{items}</ul></section>"
  )


def _notes(study: studies.Study) -> str:
  return _list("notes", "Notes on the data", map(to_html, study.notes))


def _absent(absent: Sequence[Absent]) -> str:
  items = (
    f"{to_html(section.title)}: {to_html(section.reason)}" for section in absent
  )
  return _list("absent", "Sections without data", items)


def _list(name: str, title: str, items: Iterable[str]) -> str:
  body = "".join(f"<li>{item}</li>" for item in items)
  if not body:
    return ""
  return f"<section id={name}><h2>{title}</h2><ul>{body}</ul></section>"


def _data_url(svg: str) -> str:
  """Returns the image as a URL; a third shorter than in base64."""
  return "data:image/svg+xml," + quote(svg.replace("\n", " "), safe=_PLAIN)


_READING = """<h2>How to read this</h2>
<p>H is the policy's entropy in nats per token. R is performance: the accuracy
of samples on held-out problems, or the metric that the table names. A curve is
the mean over runs that differ in their seed alone, smoothed over a fortieth of
the steps; its band is the range of the seeds. A number with ± has a 95% Student
interval over seeds, and one seed gives none. Numbers in brackets are 95%
intervals of a block bootstrap within runs. A final value is the mean of the
last twentieth of the values. Laws are dashed below the observed entropies; the
dotted line is the ceiling of the first law. A study of more than four variants
has one panel per method, or shows the first variant of each; tables list all
variants.</p>"""
