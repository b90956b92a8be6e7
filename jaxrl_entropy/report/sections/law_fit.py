"""Section: performance against entropy, with the law of every variant."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy.analysis import law, studies
from jaxrl_entropy.report import law_table, panels, plots, wording
from jaxrl_entropy.report.section import Absent, Section, without_empty

_TITLE = "Performance against entropy"

NO_LAW = (
  f"a law needs {law.MIN_POINTS_TO_REPORT} evaluations of a run, at different "
  "entropies"
)
"""Reason for the absence of sections about the law."""


def build(study: studies.Study) -> Section | Absent:
  """Fits R = -a exp(H) + b to every variant."""
  points = {
    label: by_run
    for label, members in study.variants.items()
    if (by_run := law.of_runs(members))
  }
  if not points:
    return Absent(_TITLE, NO_LAW)
  baseline = study.baseline[0] if study.baseline else ""
  lead = baseline if baseline in points else next(iter(points))
  return Section(
    "law",
    _TITLE,
    _sentence(lead, points[lead]),
    {
      name or "all": _panel(labels, points, lead, study)
      for name, labels in panels.groups(study, points).items()
    },
    without_empty(
      ("variant", *law_table.COLUMNS),
      [law_table.row(label, by_run) for label, by_run in points.items()],
    ),
  )


def _sentence(label: str, points_by_run: Sequence[law.Points]) -> str:
  fitted = law.fit_runs(points_by_run)
  low, high = law.bootstrap(points_by_run).ceiling
  ceilings = [law.fit(*run).ceiling for run in points_by_run]
  seeds = (
    f"; over {len(points_by_run)} seeds {wording.value_range(ceilings)}"
    if len(points_by_run) > 1
    else ""
  )
  return (
    f"{label} follows R = -{fitted.a:.3f} exp(H) + {fitted.b:.3f} with R² = "
    f"{fitted.r2:.3f} over {fitted.points} points; its ceiling at H = 0 is "
    f"{fitted.ceiling:.3f} (95% interval {low:.3f} to {high:.3f}{seeds})."
  )


def _panel(
  labels: Sequence[str],
  points: Mapping[str, Sequence[law.Points]],
  lead: str,
  study: studies.Study,
) -> Figure:
  """Draws points and laws of some variants, and the ceiling of one of them."""
  colors = panels.palette(study)
  clouds = {
    k: plots.Cloud(k, *law.pooled(by_run), colors[k])
    for k, by_run in points.items()
  }
  curves = {
    k: law_table.curves("", by_run, colors[k]) for k, by_run in points.items()
  }
  every = [curve for lines in curves.values() for curve in lines]
  x = np.array([0, max(cloud.x.max() for cloud in clouds.values())])
  ceiling = np.full(2, law.fit_runs(points[lead]).ceiling)
  return plots.scatter(
    study.score_name.capitalize(),
    [clouds[label] for label in labels],
    [
      *(curve for label in labels for curve in curves[label]),
      plots.Line("", x, ceiling, colors[lead], style=":"),
    ],
    x_label=law_table.ENTROPY_AXIS,
    beside=[*clouds.values(), *every],
  )
