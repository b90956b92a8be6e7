"""Sections on the entropy law: its fit, its predictions, its rivals."""

from collections.abc import Mapping

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy.analysis import (
  forms,
  interventions,
  law,
  plots,
  section,
  stats,
  studies,
  style,
)
from jaxrl_entropy.analysis.section import Row, Section, Table

Points = tuple[np.ndarray, np.ndarray]

# The paper predicts a run of 236 steps from its first 36; with an evaluation
# every few steps, more of the run is needed for as many points.
EARLY = 0.36
# A difference of AIC below this distinguishes nothing.
_DISTINCT = 2
_ENTROPY = "entropy (nats/token)"


def fitted(study: studies.Study) -> Section | None:
  """R against H for every variant, with the law of each."""
  points = {
    label: pooled
    for label, members in study.variants.items()
    if law.is_enough((pooled := law.pooled(members))[0])
  }
  if not points:
    return None
  laws = {label: law.fit(*each) for label, each in points.items()}
  intervals = {label: law.bootstrap(*each) for label, each in points.items()}
  palette = style.colors(list(study.variants))
  baseline = study.baseline[0] if study.baseline else ""
  lead = baseline if baseline in laws else next(iter(laws))
  best, (low, high) = laws[lead], intervals[lead].ceiling
  sentence = (
    f"{lead} follows R = -{best.a:.3f} exp(H) + {best.b:.3f} with R² = "
    f"{best.r2:.3f} over {best.points} points; its ceiling at H = 0 is "
    f"{best.ceiling:.3f} (95% interval {low:.3f} to {high:.3f})."
  )
  rows = [_law_row(k, each, intervals[k]) for k, each in laws.items()]
  columns = ("method", "points", "a", "b", "ceiling", "R²", "RMSE")
  return Section(
    "law",
    "Accuracy against entropy",
    sentence,
    {"all": _law_panel(points, laws, palette, lead)},
    Table(columns, rows),
  )


def prediction(study: studies.Study) -> Section | None:
  """The law of the baseline's early points against its later ones."""
  if study.baseline is None:
    return None
  label, members = study.baseline
  found = [
    (run, points, law.predict(*points, EARLY))
    for run in members
    if len((points := law.points(run))[0]) > 2 * law.MIN_POINTS
  ]
  if not found:
    return None
  rows: list[Row] = [
    (run.name, each.points, each.law.a, each.law.b, each.rmse, each.final_error)
    for run, _, each in found
  ]
  rmse = float(np.mean([each.rmse for *_, each in found]))
  error = float(np.mean([abs(each.final_error) for *_, each in found]))
  sentence = (
    f"A law fitted on the first {EARLY:.0%} of {label}'s points predicts the "
    f"others with an RMSE of {rmse:.3f} and the last one with an error of "
    f"{error:.3f} (the paper reports about .01 and .005)."
  )
  columns = ("run", "early points", "a", "b", "RMSE, later", "error, last")
  _, points, first = found[0]
  return Section(
    "prediction",
    "Predicting the later curve from the early one",
    sentence,
    {"early": _prediction_panel(points, first)},
    Table(columns, rows),
  )


def rivals(study: studies.Study) -> Section | None:
  """The exponential form against others, on the baseline's points."""
  if study.baseline is None:
    return None
  label, members = study.baseline
  each = [p for run in members if len((p := law.points(run))[0]) >= 8]
  if not each:
    return None
  entropy, score = (np.concatenate(parts) for parts in zip(*each, strict=True))
  fits = [f for form in forms.FORMS if (f := forms.fit(form, entropy, score))]
  aic, bic = (min(getattr(f, c) for f in fits) for c in ("aic", "bic"))
  errors = [
    stats.estimate([forms.later_error(f.form, *p) for p in each]).mean
    for f in fits
  ]
  rows: list[Row] = [
    (f.form.name, f.form.formula, f.aic - aic, f.bic - bic, error)
    for f, error in zip(fits, errors, strict=True)
  ]
  close = [f.form.name for f in fits if f.aic - aic < _DISTINCT]
  surest = fits[int(np.nanargmin(errors))].form.name
  sentence = (
    f"Over all of {label}'s points, lowest in AIC or within {_DISTINCT} of it: "
    f"{section.listing(close)}. Fitted on the first half, the {surest} form "
    "predicts the second half best."
  )
  columns = ("form", "R =", "ΔAIC", "ΔBIC", "RMSE, second half")
  return Section(
    "forms",
    "Other forms of the law",
    sentence,
    {"forms": _forms_panel((entropy, score), fits)},
    Table(columns, rows),
  )


def intervention(study: studies.Study) -> Section | None:
  """Each method's points over the baseline's curve, and its ceiling."""
  others = {
    label: members
    for label, members in study.variants.items()
    if study.baseline and label != study.baseline[0]
  }
  if not others or study.baseline is None:
    return None
  name, baseline = study.baseline
  if not law.is_enough(law.pooled(baseline)[0]):
    return None
  found = {k: interventions.compare(baseline, m) for k, m in others.items()}
  rows: list[Row] = [
    (
      label,
      len(others[label]),
      str(each.residual),
      str(each.above_ceiling),
      str(each.above_baseline),
    )
    for label, each in found.items()
  ]
  columns = (
    "method",
    "runs",
    f"over {name}'s curve at equal entropy",
    "final accuracy over its ceiling",
    f"final accuracy over {name}'s",
  )
  sentence = " ".join(_verdict(name, label, i) for label, i in found.items())
  return Section(
    "intervention",
    "Does the law hold under intervention?",
    sentence,
    {},
    Table(columns, rows),
  )


def _verdict(name: str, label: str, found: interventions.Intervention) -> str:
  residual, above_ceiling = found.residual, found.above_ceiling
  if residual.count < 2:
    return (
      f"{label} lies {residual.mean:+.3f} from {name}'s curve at equal entropy "
      f"and ends {above_ceiling.mean:+.3f} from its ceiling; one seed gives no "
      "interval."
    )
  return (
    f"At equal entropy {label} is {_side(residual)} {name}'s curve "
    f"({residual}); it ends {_side(above_ceiling)} the predicted ceiling "
    f"({above_ceiling}) and {_side(found.above_baseline)} {name} itself "
    f"({found.above_baseline})."
  )


def _side(estimate: stats.Estimate) -> str:
  return {1: "above", 0: "not separable from", -1: "below"}[estimate.sign]


def _law_row(label: str, each: law.Law, intervals: law.Intervals) -> Row:
  def with_interval(value: float, interval: law.Interval) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"

  return (
    label,
    each.points,
    with_interval(each.a, intervals.a),
    with_interval(each.b, intervals.b),
    with_interval(each.ceiling, intervals.ceiling),
    each.r2,
    each.rmse,
  )


def _law_panel(
  points: Mapping[str, Points],
  laws: Mapping[str, law.Law],
  palette: Mapping[str, str],
  lead: str,
) -> Figure:
  """Points and curves of all variants; the ceiling of one."""
  x = np.linspace(0, max(entropy.max() for entropy, _ in points.values()), 100)
  ceiling = np.full(2, laws[lead].ceiling)
  curves = [plots.Line("", x, each(x), palette[k]) for k, each in laws.items()]
  curves.append(
    plots.Line("ceiling", x[[0, -1]], ceiling, palette[lead], style=":")
  )
  clouds = [plots.Cloud(k, *each, palette[k]) for k, each in points.items()]
  return plots.scatter("Accuracy", clouds, curves, x_label=_ENTROPY)


def _prediction_panel(points: Points, found: law.Prediction) -> Figure:
  entropy, score = points
  cut = found.points
  clouds = [
    plots.Cloud("fitted", entropy[:cut], score[:cut], style.MUTED),
    plots.Cloud("predicted", entropy[cut:], score[cut:], style.ACCENT),
  ]
  x = np.linspace(0, entropy.max(), 100)
  curve = plots.Line("", x, found.law(x), style.INK)
  return plots.scatter("Accuracy", clouds, [curve], x_label=_ENTROPY)


def _forms_panel(points: Points, fits: list[forms.Fit]) -> Figure:
  entropy, score = points
  x = np.linspace(entropy.min(), entropy.max(), 100)
  palette = style.colors([each.form.name for each in fits])
  curves = [
    plots.Line(f.form.name, x, f(x), palette[f.form.name]) for f in fits
  ]
  clouds = [plots.Cloud("", entropy, score, style.MUTED)]
  return plots.scatter("Accuracy", clouds, curves, x_label=_ENTROPY)
