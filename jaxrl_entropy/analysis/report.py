"""The report of a study: an HTML page, its numbers as JSON, plots as files."""

from collections.abc import Sequence
import json
import math
import pathlib
from typing import Any

from jaxrl_entropy.analysis import (
  claims,
  dynamics_sections,
  law_sections,
  page,
  plots,
  studies,
  sweep_sections,
  training_sections,
)
from jaxrl_entropy.analysis.section import Builder, Cell, Section

_SECTIONS: tuple[Builder, ...] = (
  training_sections.methods,
  training_sections.collapse,
  law_sections.fitted,
  law_sections.prediction,
  law_sections.rivals,
  law_sections.intervention,
  dynamics_sections.covariance,
  dynamics_sections.group_wise,
  dynamics_sections.tail,
  dynamics_sections.splits,
  dynamics_sections.let_through,
  sweep_sections.coefficients,
  sweep_sections.sizes,
  training_sections.results,
)


def sections(study: studies.Study) -> list[Section]:
  """What the study has the data for, in the order of the page."""
  return [found for build in _SECTIONS if (found := build(study))]


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
  study = studies.load(folder)
  output = pathlib.Path(output or pathlib.Path(folder) / "report")
  (output / "plots").mkdir(parents=True, exist_ok=True)
  shown = sections(study)
  checked = claims.check(study)
  images = {
    f"{section.name}_{name}": plots.render(figure, f"{section.name}_{name}")
    for section in shown
    for name, figure in section.panels.items()
  }
  html, summary = output / "report.html", output / "summary.json"
  numbers = summarize(study, shown, checked)
  html.write_text(page.render(study, shown, checked, images), "utf-8")
  summary.write_text(json.dumps(numbers, indent=1, allow_nan=False), "utf-8")
  paths = [html, summary]
  for name, image in images.items():
    path = output / "plots" / name
    path.with_suffix(".svg").write_text(image.svg, encoding="utf-8")
    path.with_suffix(".png").write_bytes(image.png)
    paths += [path.with_suffix(".png"), path.with_suffix(".svg")]
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
    "figures": {
      section.name: {
        "title": section.title,
        "sentence": section.sentence,
        "columns": list(section.table.columns),
        "rows": [[_finite(c) for c in row] for row in section.table.rows],
      }
      for section in shown
    },
  }


def _finite(cell: Cell) -> Cell:
  return None if isinstance(cell, float) and not math.isfinite(cell) else cell
