"""Sections on the entropy law: its fit, its ceiling and its predictions."""

from collections.abc import Sequence

import numpy as np

from jaxrl_entropy.analysis import law, plots, runs
from jaxrl_entropy.analysis.section import Section, Table

# The paper predicts a run of 236 steps from its first 36.
EARLY = 0.36


def fitted(study: runs.Study) -> Section | None:
  """R against H for every variant, with the law of each."""
  variants = {
    label: points
    for label, members in study.variants.items()
    if fits(points := pooled(members))
  }
  if not variants:
    return None
  laws = {label: law.fit(*points) for label, points in variants.items()}
  palette = plots.colors(list(study.variants))
  baseline = study.baseline[0] if study.baseline else ""
  lead = baseline if baseline in laws else next(iter(laws))
  panels = {
    "all": _panel(variants, {lead: laws[lead]}, palette),
    **{
      f"variant_{index}": _panel(
        {label: variants[label]}, {label: each}, palette
      )
      for index, (label, each) in enumerate(laws.items())
    },
  }
  rows = [_row(label, variants[label], each) for label, each in laws.items()]
  best = laws[lead]
  low, high = law.bootstrap(*variants[lead]).ceiling
  sentence = (
    f"{lead} follows R = -{best.a:.3f} exp(H) + {best.b:.3f} with R² = "
    f"{best.r2:.3f} over {best.points} points; its ceiling at H = 0 is "
    f"{best.ceiling:.3f} (95 % interval {low:.3f} to {high:.3f})."
  )
  columns = (
    "method",
    "points",
    "a",
    "b",
    "ceiling",
    "ceiling, 95 %",
    "R²",
    "RMSE",
  )
  return Section(
    "law", "Accuracy against entropy", sentence, panels, Table(columns, rows)
  )


def prediction(study: runs.Study) -> Section | None:
  """The law of the baseline's early points against its later ones."""
  if study.baseline is None:
    return None
  label, members = study.baseline
  found = [
    (run, points)
    for run in members
    if len((points := law.points(run))[0]) > 2 * law.MIN_POINTS
  ]
  if not found:
    return None
  predictions = [law.predict(*points, EARLY) for _, points in found]
  rows = [
    (run.name, each.points, each.law.a, each.law.b, each.rmse, each.final_error)
    for (run, _), each in zip(found, predictions, strict=True)
  ]
  rmse = float(np.mean([each.rmse for each in predictions]))
  error = float(np.mean([abs(each.final_error) for each in predictions]))
  sentence = (
    f"A law fitted on the first {EARLY:.0%} of {label}'s points predicts the "
    f"others with an RMSE of {rmse:.3f} and the last one with an error of "
    f"{error:.3f} (the paper reports about .01 and .005)."
  )
  columns = ("run", "early points", "a", "b", "RMSE, later", "error, last")
  return Section(
    "prediction",
    "Predicting the later curve from the early one",
    sentence,
    {"early": _prediction_panel(found[0][1], predictions[0])},
    Table(columns, rows),
  )


def pooled(members: Sequence[runs.Run]) -> tuple[np.ndarray, np.ndarray]:
  """The (H, R) points of several runs, one after the other."""
  each = [law.points(run) for run in members]
  entropy, score = (np.concatenate(parts) for parts in zip(*each, strict=True))
  return entropy, score


def fits(points: tuple[np.ndarray, np.ndarray]) -> bool:
  """Whether there are points enough for a law."""
  return len(points[0]) >= law.MIN_POINTS and np.ptp(points[0]) > 0


def _panel(variants, laws, palette):
  clouds = [
    plots.Cloud(label if len(variants) > 1 else "", *points, palette[label])
    for label, points in variants.items()
  ]
  curves = []
  for label, each in laws.items():
    x = np.linspace(0, max(p[0].max() for p in variants.values()), 100)
    curves.append(plots.Line("", x, each(x), palette[label]))
    top = np.full(2, each.ceiling)
    curves.append(plots.Line("", x[[0, -1]], top, palette[label], style=":"))
  title = next(iter(variants)) if len(variants) == 1 else "Held-out accuracy"
  return plots.scatter(title, clouds, curves, x_label="entropy (nats/token)")


def _prediction_panel(points, prediction):
  entropy, score = points
  cut = prediction.points
  early = plots.Cloud("fitted", entropy[:cut], score[:cut], plots.MUTED)
  later = plots.Cloud("predicted", entropy[cut:], score[cut:], "#d64545")
  x = np.linspace(0, entropy.max(), 100)
  curve = plots.Line("", x, prediction.law(x), plots.INK)
  return plots.scatter(
    "Accuracy", [early, later], [curve], x_label="entropy (nats/token)"
  )


def _row(label, points, fitted_law):
  low, high = law.bootstrap(*points).ceiling
  return (
    label,
    fitted_law.points,
    fitted_law.a,
    fitted_law.b,
    fitted_law.ceiling,
    f"{low:.3f} to {high:.3f}",
    fitted_law.r2,
    fitted_law.rmse,
  )
