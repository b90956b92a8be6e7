"""Section: every held-out measure at the end of training."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy.analysis import dynamics, stats, studies
from jaxrl_entropy.report import panels, plots, wording
from jaxrl_entropy.report.measures import curve_of_temperatures, final_measures
from jaxrl_entropy.report.section import Row, Section, Table

_TIE = 5e-4
"""Means that differ by less look the same with three decimals."""
_MIN_TEMPERATURES = 3


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
    _temperatures_panel(study),
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


def _temperatures_panel(study: studies.Study) -> dict[str, Figure]:
  """Draws accuracy against temperature, of runs that have three or more."""
  curves = {
    label: [
      curve
      for run in members
      if len(curve := curve_of_temperatures(run)) >= _MIN_TEMPERATURES
    ]
    for label, members in study.variants.items()
  }
  if not all(curves.values()):
    return {}
  colors = panels.palette(study)
  lines = {
    label: _over_temperatures(label, by_run, colors[label])
    for label, by_run in curves.items()
  }
  return {
    f"temperatures{suffix}": plots.lines(
      "Accuracy of samples, by temperature",
      [lines[label] for label in labels],
      x_label="temperature (0: greedy)",
      beside=list(lines.values()),
    )
    for suffix, labels in panels.groups(study, lines).items()
  }


def _over_temperatures(
  label: str, curves: Sequence[Mapping[float, float]], color: str
) -> plots.Line:
  """Returns the mean over runs, at the temperatures that all of them have."""
  common = sorted(set.intersection(*(set(curve) for curve in curves)))
  mean = np.mean([[curve[t] for t in common] for curve in curves], axis=0)
  return plots.Line(label, np.array(common), mean, color)
