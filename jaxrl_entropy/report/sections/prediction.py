"""Section: the later curve predicted from the baseline's early points."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy.analysis import law, studies
from jaxrl_entropy.report import law_table, plots, style
from jaxrl_entropy.report.section import (
  NO_BASELINE,
  Absent,
  Members,
  Row,
  Section,
  Table,
)
from jaxrl_entropy.report.sections.law_fit import NO_LAW

_TITLE = "Prediction of the later curve from the early one"
_FRACTIONS = (law.PAPER_EARLY_FRACTION, 0.25, law.EARLY_FRACTION, 0.5, 0.75)


def build(study: studies.Study) -> Section | Absent:
  """Fits early points of each seed and predicts the later ones."""
  if study.baseline is None:
    return Absent(_TITLE, NO_BASELINE)
  label, members = study.baseline
  points = points_by_seed(members)
  if not points:
    return Absent(_TITLE, NO_LAW)
  predictions = {
    fraction: [
      law.predict(*seed_points, fraction) for seed_points in points.values()
    ]
    for fraction in _FRACTIONS
    if all(
      law.can_predict(seed_points, fraction) for seed_points in points.values()
    )
  }
  if law.EARLY_FRACTION not in predictions:
    return Absent(
      _TITLE, f"the first {law.EARLY_FRACTION:.0%} of the points are too few"
    )
  rows: list[Row] = [
    (name, f"{f:.0%}", p.points, p.law.a, p.law.b, p.rmse, p.final_error)
    for f, by_run in predictions.items()
    for name, p in zip(points, by_run, strict=True)
  ]
  columns = (
    *("run", "fitted part", "points", "a", "b"),
    *("RMSE, later points", "error, last point"),
  )
  name, first = next(iter(points.items()))
  return Section(
    "prediction",
    _TITLE,
    _sentence(label, predictions),
    {
      "early": _panel(name, first, predictions[law.EARLY_FRACTION][0]),
      "error": _error_panel(predictions),
    },
    Table(columns, rows),
  )


def points_by_seed(members: Members) -> dict[str, law.Points]:
  """Returns the points of a variant's runs, named by their seeds."""
  return {
    f"seed {run.setting('seed', run.name)}": points
    for run in members
    for points in law.of_runs([run])
  }


def _sentence(
  label: str, predictions: Mapping[float, Sequence[law.Prediction]]
) -> str:
  rmse, error = _errors(predictions[law.EARLY_FRACTION])
  text = (
    f"A law fitted to the first {law.EARLY_FRACTION:.0%} of {label}'s points "
    f"predicts the others with an RMSE of {rmse:.3f} and the last one with an "
    f"error of {error:.3f}"
  )
  early = f"the first {law.PAPER_EARLY_FRACTION:.0%}"
  paper = predictions.get(law.PAPER_EARLY_FRACTION)
  if paper is None:
    return f"{text} (the paper, from {early}, about .01 and .005)."
  rmse, error = _errors(paper)
  return (
    f"{text}; one fitted to {early}, as in the paper, with {rmse:.3f} and "
    f"{error:.3f} (the paper reports about .01 and .005)."
  )


def _errors(predictions: Sequence[law.Prediction]) -> tuple[float, float]:
  """Returns the means over runs of RMSE and absolute error at the end."""
  return (
    float(np.mean([prediction.rmse for prediction in predictions])),
    float(np.mean([abs(prediction.final_error) for prediction in predictions])),
  )


def _panel(name: str, points: law.Points, prediction: law.Prediction) -> Figure:
  entropy, score = points
  cut = prediction.points
  clouds = [
    plots.Cloud("fitted", entropy[:cut], score[:cut], style.MUTED),
    plots.Cloud("predicted", entropy[cut:], score[cut:], style.ACCENT),
  ]
  x = np.linspace(entropy.min(), entropy.max(), 100)
  curve = plots.Line("", x, prediction.law(x), style.INK)
  return plots.scatter(
    f"Performance, {name}", clouds, [curve], x_label=law_table.ENTROPY_AXIS
  )


def _error_panel(
  predictions: Mapping[float, Sequence[law.Prediction]],
) -> Figure:
  shares = np.round(100 * np.array(list(predictions)))
  rmse, last = np.array([_errors(by_run) for by_run in predictions.values()]).T
  curves = [
    plots.Line("all later", shares, rmse, style.INK),
    plots.Line("last", shares, last, style.ACCENT),
  ]
  return plots.lines(
    "Error of the prediction", curves, x_label="points fitted (%)"
  )
