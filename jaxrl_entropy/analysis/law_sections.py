"""Sections on the entropy law: its fit, its predictions, its rivals."""

from collections.abc import Mapping, Sequence

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
_FRACTIONS = (0.25, EARLY, 0.5, 0.75)
# A difference of AIC below this distinguishes nothing.
_DISTINCT = 2
_ENTROPY = "entropy (nats/token)"
LAW_COLUMNS = ("points", "a", "b", "ceiling", "R²", "RMSE")


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
  rows = [law_row(k, each, intervals[k]) for k, each in laws.items()]
  columns = ("method", *LAW_COLUMNS)
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
  points = {run.name: law.points(run) for run in members}
  points = {
    name: each
    for name, each in points.items()
    if len(each[0]) > 2 * law.MIN_POINTS
  }
  if not points:
    return None
  found = {
    fraction: [law.predict(*each, fraction) for each in points.values()]
    for fraction in _FRACTIONS
  }
  rmse, error = _errors(found[EARLY])
  sentence = (
    f"A law fitted on the first {EARLY:.0%} of {label}'s points predicts the "
    f"others with an RMSE of {rmse:.3f} and the last one with an error of "
    f"{error:.3f} (the paper reports about .01 and .005)."
  )
  rows: list[Row] = [
    (name, f"{f:.0%}", p.points, p.law.a, p.law.b, p.rmse, p.final_error)
    for f, predictions in found.items()
    for name, p in zip(points, predictions, strict=True)
  ]
  columns = (
    *("run", "fitted on the first", "points", "a", "b"),
    *("RMSE, later", "error, last"),
  )
  return Section(
    "prediction",
    "Predicting the later curve from the early one",
    sentence,
    {
      "early": _prediction_panel(next(iter(points.values())), found[EARLY][0]),
      "error": _error_panel(found),
    },
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
  if study.baseline is None:
    return None
  name, baseline = study.baseline
  found = {
    label: compared
    for label, members in study.variants.items()
    if label != name
    and (compared := interventions.compare(baseline, members)).count
  }
  if not found:
    return None
  rows: list[Row] = [
    (
      label,
      each.count,
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
  return Section(
    "intervention",
    "Does the law hold under intervention?",
    _verdicts(name, found),
    {"residuals": _residual_panel(study, name, list(found))},
    Table(columns, rows),
  )


def _verdicts(
  name: str, found: Mapping[str, interventions.Intervention]
) -> str:
  """Each variant's verdict; of many, how many there are of each."""
  several = [each for each in found.values() if each.count > 1]
  if len(found) > section.FEW:
    above = sum(each.residual.mean > 0 for each in found.values())
    past = sum(each.above_ceiling.mean > 0 for each in found.values())
    text = (
      f"Of {len(found)} variants, {above} lie above {name}'s curve at equal "
      f"entropy on average and {past} end above its ceiling."
    )
  else:
    text = " ".join(_verdict(name, *each) for each in found.items())
  return text if several else f"{text} One seed gives no interval."


def _verdict(name: str, label: str, found: interventions.Intervention) -> str:
  residual, above_ceiling = found.residual, found.above_ceiling
  if found.count < 2:
    where = (
      f"lies {residual.mean:+.3f} from {name}'s curve at equal entropy"
      if residual.count
      else f"has no entropy in common with {name}"
    )
    return (
      f"{label} {where} and ends {above_ceiling.mean:+.3f} from its ceiling."
    )
  return (
    f"At equal entropy {label} is {_side(residual)} {name}'s curve "
    f"({residual}); it ends {_side(above_ceiling)} the predicted ceiling "
    f"({above_ceiling}) and {_side(found.above_baseline)} {name} itself "
    f"({found.above_baseline})."
  )


def _side(estimate: stats.Estimate) -> str:
  return {1: "above", 0: "not separable from", -1: "below"}[estimate.sign]


def law_row(label: str, each: law.Law, intervals: law.Intervals) -> Row:
  """A label and the `LAW_COLUMNS` of a law."""

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
    plots.Line(
      f"{lead}'s ceiling", x[[0, -1]], ceiling, palette[lead], style=":"
    )
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


def _errors(predictions: Sequence[law.Prediction]) -> tuple[float, float]:
  """Mean RMSE and mean absolute error at the end, over runs."""
  return (
    float(np.mean([each.rmse for each in predictions])),
    float(np.mean([abs(each.final_error) for each in predictions])),
  )


def _error_panel(found: Mapping[float, Sequence[law.Prediction]]) -> Figure:
  shares = 100 * np.array(list(found))
  rmse, last = np.array([_errors(each) for each in found.values()]).T
  curves = [
    plots.Line("all later", shares, rmse, style.INK),
    plots.Line("last", shares, last, style.ACCENT),
  ]
  return plots.lines(
    "Error of the prediction", curves, x_label="points fitted (%)"
  )


def _residual_panel(
  study: studies.Study, name: str, labels: Sequence[str]
) -> Figure:
  """What is left over the baseline's law, its own points included."""
  palette = style.colors(list(study.variants))
  baseline = study.variants[name]
  clouds = [
    plots.Cloud(
      label,
      *interventions.all_residuals(baseline, study.variants[label]),
      palette[label],
    )
    for label in (name, *labels)
  ]
  return plots.scatter(
    f"Accuracy over {name}'s law", clouds, x_label=_ENTROPY, origin="x"
  )


def _forms_panel(points: Points, fits: list[forms.Fit]) -> Figure:
  entropy, score = points
  x = np.linspace(entropy.min(), entropy.max(), 100)
  palette = style.colors([each.form.name for each in fits])
  curves = [
    plots.Line(f.form.name, x, f(x), palette[f.form.name]) for f in fits
  ]
  clouds = [plots.Cloud("", entropy, score, style.MUTED)]
  return plots.scatter("Accuracy", clouds, curves, x_label=_ENTROPY)
