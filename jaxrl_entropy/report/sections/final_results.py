"""Section: every held-out measure at the end of training."""

from collections.abc import Mapping

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy.analysis import dynamics, stats, studies
from jaxrl_entropy.report import panels, plots, wording
from jaxrl_entropy.report.measures import Measure, final_measures
from jaxrl_entropy.report.section import Row, Section, Table

_TIE = 5e-4
"""Means that differ by less look the same with three decimals."""


def build(study: studies.Study) -> Section:
  """Tabulates final results over seeds."""
  measures = final_measures(study)
  rows: list[Row] = [
    (
      label,
      len(members),
      *(str(stats.over_seeds(members, end)) for end in measures.values()),
    )
    for label, members in study.variants.items()
  ]
  return Section(
    "results",
    "Results at the end",
    _sentence(study),
    _passes_panel(study, measures),
    Table(("variant", "runs", *measures), rows),
  )


def _sentence(study: studies.Study) -> str:
  scores = {
    label: stats.over_seeds(members, dynamics.final_score).mean
    for label, members in study.variants.items()
  }
  best = max(scores.values())
  tied = [label for label, score in scores.items() if best - score < _TIE]
  end = f"at a {study.score_name} of {best:.3f}"
  if len(scores) == 1:
    return f"{tied[0]} ended {end}."
  if len(tied) == len(scores):
    return f"All {len(scores)} variants ended {end}: a tie."
  text = f"{wording.listing(tied)} ended highest, {end}"
  several = all(len(members) > 1 for members in study.variants.values())
  doubt = (
    "an order of variants whose intervals overlap is not established"
    if several
    else "one run does not establish an order"
  )
  return f"{text}; {doubt}."


def _passes_panel(
  study: studies.Study, measures: Mapping[str, Measure]
) -> dict[str, Figure]:
  """Draws pass@k against k if any k is above 1."""
  passes = {
    int(name.removeprefix("pass@")): end
    for name, end in measures.items()
    if name.startswith("pass@")
  }
  if not passes or "accuracy" not in measures:
    return {}
  passes = {1: measures["accuracy"], **passes}
  colors = panels.palette(study)
  lines = {
    label: plots.Line(
      label,
      np.array(list(passes)),
      np.array(
        [stats.over_seeds(members, end).mean for end in passes.values()]
      ),
      colors[label],
    )
    for label, members in study.variants.items()
  }
  return {
    f"passes{suffix}": plots.lines(
      "pass@k: one of k samples is correct",
      [lines[label] for label in labels],
      x_label="k",
      beside=list(lines.values()),
    )
    for suffix, labels in panels.groups(study, lines).items()
  }
