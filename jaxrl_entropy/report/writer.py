"""Builds the files of a report: HTML pages, a JSON summary and plots."""

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import json
import math
import pathlib
from typing import Any

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import samples, studies
from jaxrl_entropy.report import (
  answers,
  claims,
  images,
  overview,
  page,
  samples_page,
)
from jaxrl_entropy.report.section import Absent, Builder, Section
from jaxrl_entropy.report.sections import (
  alarm_list,
  coefficients,
  collapse,
  covariance_splits,
  covariance_tail,
  coverage_gap,
  differences,
  differing_settings,
  extra_tokens,
  final_results,
  intervention,
  law_fit,
  law_forms,
  model_sizes,
  pass_at_k,
  prediction,
  probe_covariance,
  random_controls,
  sampled_covariance,
  selection_rules,
  staleness,
  target_entropy,
  tradeoff,
  training_curves,
  what_ran,
)

_BUILDERS: tuple[Builder, ...] = (
  what_ran.build,
  differing_settings.build,
  alarm_list.build,
  pass_at_k.build,
  training_curves.build,
  collapse.build,
  law_fit.build,
  prediction.build,
  law_forms.build,
  intervention.build,
  probe_covariance.build,
  selection_rules.build,
  sampled_covariance.build,
  covariance_tail.build,
  covariance_splits.build,
  extra_tokens.build,
  coefficients.build,
  target_entropy.build,
  model_sizes.build,
  final_results.build,
  coverage_gap.build,
  differences.build,
  tradeoff.build,
  random_controls.build,
  staleness.build,
)
_SIGNIFICANT_DIGITS = 6


@dataclasses.dataclass(frozen=True)
class Content:
  """The sections and claims of a report about one study.

  Attributes:
    study: the runs.
    checked: the paper's statements with their verdicts.
    sections: those that the study has data for, in the page's order.
    absent: the others, with the reason for each.
  """

  study: studies.Study
  checked: Sequence[claims.Claim]
  sections: Sequence[Section]
  absent: Sequence[Absent]


def build(study: studies.Study) -> Content:
  """Checks the statements and builds all sections, in the page's order."""
  built = [build(study) for build in _BUILDERS]
  return Content(
    study,
    claims.check(study),
    [section for section in built if isinstance(section, Section)],
    [section for section in built if isinstance(section, Absent)],
  )


def write_report(
  folder: str | pathlib.Path,
  output: str | pathlib.Path | None = None,
  plot_files: Collection[str] | None = None,
) -> list[pathlib.Path]:
  """Writes the report of a run, of a study, or of several studies.

  Args:
    folder: folder of one run; or a study: a folder with one folder per run; or
      a folder of studies, each of which gets its report beside an overview.
    output: where to write; `folder/report` by default.
    plot_files: names of the plots to write as files too; all by default.

  Returns:
    The files: `report.html`, `summary.json`, the plots as PNG and SVG, and
    pages of sampled responses. Those of an overview come first.

  Raises:
    UserError: if the folder holds no run with metrics.
    OSError: if the output cannot be written.
  """
  folder = pathlib.Path(folder)
  output = pathlib.Path(output or folder / run_files.REPORT)
  all_studies = studies.load_parts(folder)
  if not all_studies:
    return _write_study(studies.load(folder), output, plot_files)
  written = _write_overview(
    folder.resolve().name, all_studies, output, plot_files
  )
  for study in all_studies:
    part_output = folder / study.name / run_files.REPORT
    written += _write_study(study, part_output, plot_files)
  return written


def summarize(content: Content) -> dict[str, Any]:
  """Returns all numbers and sentences of a report, ready for JSON."""
  return {
    "study": content.study.name,
    "runs": [
      {"name": run.name, "method": run.method, "steps": len(run.records)}
      for run in content.study.runs
    ],
    "notes": list(content.study.notes),
    "claims": [
      {
        "claim": claim.claim,
        "value": _rounded(claim.value.mean),
        "half_width": _rounded(claim.value.half_width),
        "seeds": claim.value.count,
        "relation": claim.relation,
        "threshold": claim.threshold,
        "verdict": claim.verdict,
        "reason": claim.reason,
      }
      for claim in content.checked
    ],
    "figures": _figures(content.sections),
    "absent": {section.title: section.reason for section in content.absent},
  }


def _write_study(
  study: studies.Study,
  output: pathlib.Path,
  plot_files: Collection[str] | None,
) -> list[pathlib.Path]:
  content = build(study)
  drawn = _draw(content.sections)
  sample_pages = _sample_pages(study)
  html = page.render(
    study,
    content.sections,
    content.absent,
    content.checked,
    drawn,
    {run: file for run, (file, _) in sample_pages.items()},
  )
  texts = {"report.html": html, "summary.json": _json(summarize(content))}
  texts |= dict(sample_pages.values())
  return _save(output, texts, drawn, plot_files)


def _sample_pages(study: studies.Study) -> dict[str, tuple[str, str]]:
  """Returns file name and content by run, for runs with samples."""
  pages = {}
  for index, run in enumerate(study.runs):
    sampled, notes = samples.load(run.folder) if run.folder else ([], ())
    if sampled:
      html = samples_page.render(run.name, sampled, notes)
      pages[run.name] = (f"samples-{index}.html", html)
  return pages


def _write_overview(
  name: str,
  all_studies: Sequence[studies.Study],
  output: pathlib.Path,
  plot_files: Collection[str] | None,
) -> list[pathlib.Path]:
  sections = overview.sections(all_studies)
  drawn = _draw(sections)
  leads = {
    study.name: page.lead(study, claims.check(study)) for study in all_studies
  }
  answered = answers.answers(all_studies)
  numbers = {
    "answers": {answer.question: answer.answer for answer in answered},
    "studies": leads,
    "figures": _figures(sections),
  }
  html = page.render_overview(name, answered, leads, sections, drawn)
  texts = {"report.html": html, "summary.json": _json(numbers)}
  return _save(output, texts, drawn, plot_files)


def _draw(sections: Sequence[Section]) -> dict[str, images.Image]:
  """Returns the panels of sections, by `<section>_<panel>`."""
  return {
    (name := f"{section.name}_{panel}"): images.Image(figure, name)
    for section in sections
    for panel, figure in section.panels.items()
  }


def _save(
  output: pathlib.Path,
  texts: Mapping[str, str],
  drawn: Mapping[str, images.Image],
  plot_files: Collection[str] | None,
) -> list[pathlib.Path]:
  files = {name: text.encode() for name, text in texts.items()}
  for name, image in drawn.items():
    png, svg = f"plots/{name}.png", f"plots/{name}.svg"
    if plot_files is None or png in plot_files:
      files[png] = image.png
    if plot_files is None or svg in plot_files:
      files[svg] = image.svg.encode()
  paths = [output / file for file in files]
  for path, content in zip(paths, files.values(), strict=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
  return paths


def _figures(sections: Sequence[Section]) -> dict[str, Any]:
  return {
    section.name: {
      "title": section.title,
      "sentence": section.sentence,
      "columns": list(section.table.columns),
      "rows": [[_rounded(c) for c in row] for row in section.table.rows],
    }
    for section in sections
  }


def _rounded(value: Any) -> Any:
  """Rounds a float: the last of 17 digits differ between processors."""
  if not isinstance(value, float):
    return value
  if not math.isfinite(value):
    return None
  return float(f"{value:.{_SIGNIFICANT_DIGITS}g}")


def _json(numbers: Mapping[str, Any]) -> str:
  return json.dumps(numbers, indent=1, allow_nan=False, ensure_ascii=False)
