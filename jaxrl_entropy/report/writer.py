"""The report of a study: an HTML page, its numbers as JSON, plots as files."""

from collections.abc import Collection, Mapping, Sequence
import json
import math
import pathlib
from typing import Any

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report import answers, claims, overview, page, plots
from jaxrl_entropy.report.section import Builder, Cell, Section
from jaxrl_entropy.report.sections import (
  covariance,
  intervention,
  law_fit,
  settings,
  training_curves,
)

_SECTIONS: tuple[Builder, ...] = (
  training_curves.methods,
  training_curves.collapse,
  law_fit.fitted,
  law_fit.prediction,
  law_fit.rivals,
  intervention.intervention,
  covariance.covariance,
  covariance.group_wise,
  covariance.tail,
  covariance.splits,
  covariance.let_through,
  settings.coefficients,
  settings.controlled,
  settings.sizes,
  training_curves.results,
  training_curves.differences,
)


def sections(study: studies.Study) -> list[Section]:
  """What the study has the data for, in the order of the page."""
  return [found for build in _SECTIONS if (found := build(study))]


def write_report(
  folder: str | pathlib.Path,
  output: str | pathlib.Path | None = None,
  plot_files: Collection[str] | None = None,
) -> list[pathlib.Path]:
  """Writes the report of a study, of a single run, or of several studies.

  Args:
    folder: one workdir; or a folder with one workdir a run; or one with such a
      folder a study, each of which gets its report, and all an overview.
    output: where to write; `folder/report` by default.
    plot_files: which plots are written as files too; all by default.

  Returns:
    The files: `report.html`, `summary.json`, and the plots as PNG and SVG; for
    several studies, first those of the overview.

  Raises:
    UserError: the folder holds no run with metrics.
    OSError: the output cannot be written.
  """
  folder = pathlib.Path(folder)
  output = pathlib.Path(output or folder / "report")
  parts = studies.load_parts(folder)
  if not parts:
    study = studies.load(folder)
    checked, shown = claims.check(study), sections(study)
    images = _draw(shown)
    html = page.render(study, shown, checked, images)
    numbers = summarize(study, shown, checked)
    return _save(output, html, numbers, images, plot_files)
  shown = overview.sections(parts)
  images = _draw(shown)
  leads = {part.name: page.lead(part, claims.check(part)) for part in parts}
  name = folder.resolve().name
  answered = answers.answers(parts)
  html = page.render_overview(name, answered, leads, shown, images)
  numbers = {
    "answers": {each.question: each.answer for each in answered},
    "studies": leads,
    "figures": _figures(shown),
  }
  written = _save(output, html, numbers, images, plot_files)
  for part in parts:
    written += write_report(folder / part.name, plot_files=plot_files)
  return written


def _draw(shown: Sequence[Section]) -> dict[str, plots.Image]:
  """The panels of sections, by `<section>_<panel>`."""
  return {
    (name := f"{section.name}_{panel}"): plots.render(figure, name)
    for section in shown
    for panel, figure in section.panels.items()
  }


def _save(
  output: pathlib.Path,
  html: str,
  numbers: Mapping[str, Any],
  images: Mapping[str, plots.Image],
  plot_files: Collection[str] | None,
) -> list[pathlib.Path]:
  files: dict[str, bytes] = {
    "report.html": html.encode(),
    "summary.json": json.dumps(numbers, indent=1, allow_nan=False).encode(),
  }
  for name, image in images.items():
    for file, content in (
      (f"plots/{name}.png", image.png),
      (f"plots/{name}.svg", image.svg.encode()),
    ):
      if plot_files is None or file in plot_files:
        files[file] = content
  paths = [output / file for file in files]
  for path, content in zip(paths, files.values(), strict=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
  return paths


def summarize(
  study: studies.Study,
  shown: Sequence[Section],
  checked: Sequence[claims.Claim],
) -> dict[str, Any]:
  """All numbers and sentences of a report, ready for JSON."""
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
    "figures": _figures(shown),
  }


def _figures(shown: Sequence[Section]) -> dict[str, Any]:
  return {
    section.name: {
      "title": section.title,
      "sentence": section.sentence,
      "columns": list(section.table.columns),
      "rows": [[_finite(c) for c in row] for row in section.table.rows],
    }
    for section in shown
  }


def _finite(cell: Cell) -> Cell:
  return None if isinstance(cell, float) and not math.isfinite(cell) else cell
