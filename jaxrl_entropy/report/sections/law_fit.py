"""Sections on the entropy law: its fit, its predictions, its rivals."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy.analysis import forms, law, studies
from jaxrl_entropy.report import plots, section, style
from jaxrl_entropy.report.section import Row, Section, Table

_FRACTIONS = (law.PAPERS_EARLY, 0.25, law.EARLY, 0.5, 0.75)
_ENTROPY = "entropy (nats/token)"
LAW_COLUMNS = (
  *("points", "a", "b", "ceiling"),
  *("a, over seeds", "ceiling, over seeds", "R²", "RMSE"),
)


def fitted(study: studies.Study) -> Section | None:
  """R against H for every variant, with the law of each."""
  points = {
    label: each
    for label, members in study.variants.items()
    if (each := law.of_runs(members))
  }
  if not points:
    return None
  laws = {label: law.fit_runs(each) for label, each in points.items()}
  baseline = study.baseline[0] if study.baseline else ""
  lead = baseline if baseline in laws else next(iter(laws))
  columns = ("method", *LAW_COLUMNS)
  return Section(
    "law",
    "Accuracy against entropy",
    _law_sentence(lead, points[lead]),
    {
      name or "all": _law_panel(labels, points, lead, study)
      for name, labels in section.groups(study, points).items()
    },
    section.without_empty(
      columns, [law_row(k, each) for k, each in points.items()]
    ),
  )


def _law_sentence(label: str, each: Sequence[law.Points]) -> str:
  found = law.fit_runs(each)
  low, high = law.bootstrap(each).ceiling
  ceilings = [law.fit(*run).ceiling for run in each]
  seeds = (
    f"; over {len(each)} seeds {_range(ceilings)}" if len(each) > 1 else ""
  )
  return (
    f"{label} follows R = -{found.a:.3f} exp(H) + {found.b:.3f} with R² = "
    f"{found.r2:.3f} over {found.points} points; its ceiling at H = 0 is "
    f"{found.ceiling:.3f} (95% interval {low:.3f} to {high:.3f}{seeds})."
  )


def prediction(study: studies.Study) -> Section | None:
  """The law of the baseline's early points against its later ones."""
  if study.baseline is None:
    return None
  label, members = study.baseline
  points = _by_seed(members)
  found = {
    fraction: [law.predict(*each, fraction) for each in points.values()]
    for fraction in _FRACTIONS
    if all(law.can_predict(each, fraction) for each in points.values())
  }
  if not points or law.EARLY not in found:
    return None
  rmse, error = _errors(found[law.EARLY])
  sentence = (
    f"A law fitted on the first {law.EARLY:.0%} of {label}'s points predicts "
    f"the others with an RMSE of {rmse:.3f} and the last one with an error of "
    f"{error:.3f}{_as_in_the_paper(found.get(law.PAPERS_EARLY))}"
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
  name, each = next(iter(points.items()))
  return Section(
    "prediction",
    "Predicting the later curve from the early one",
    sentence,
    {
      "early": _prediction_panel(name, each, found[law.EARLY][0]),
      "error": _error_panel(found),
    },
    Table(columns, rows),
  )


def _by_seed(members: section.Members) -> dict[str, law.Points]:
  """The points of a variant's runs, which their seeds tell apart."""
  return {
    f"seed {run.setting('seed', run.name)}": each
    for run in members
    for each in law.of_runs([run])
  }


def _as_in_the_paper(found: Sequence[law.Prediction] | None) -> str:
  """The errors from as early a part as the paper's, where there are points."""
  part = f"first {law.PAPERS_EARLY:.0%}"
  if found is None:
    return f" (the paper, from its {part}, about .01 and .005)."
  rmse, error = _errors(found)
  return (
    f"; one fitted on the {part}, as in the paper, with {rmse:.3f} and "
    f"{error:.3f} (the paper reports about .01 and .005)."
  )


def rivals(study: studies.Study) -> Section | None:
  """The exponential form against others, on the baseline's points."""
  if study.baseline is None:
    return None
  label, members = study.baseline
  points = _by_seed(members)
  found = forms.compare(list(points.values())) if points else []
  if not found:
    return None
  rows: list[Row] = [
    (each.form.name, each.form.formula, each.aic, each.bic, each.later_error)
    for each in found
  ]
  columns = ("form", "R =", "ΔAIC", "ΔBIC", "RMSE, second half")
  name, first = next(iter(points.items()))
  return Section(
    "forms",
    "Other forms of the law",
    _rivals_sentence(label, found),
    {"forms": _forms_panel(name, first, [each.fits[0] for each in found])},
    Table(columns, rows),
  )


def _rivals_sentence(label: str, found: Sequence[forms.Rival]) -> str:
  close = [each.form.name for each in found if each.is_close]
  text = (
    f"Over all of {label}'s points, lowest in AIC or within {forms.DISTINCT} "
    f"of it: {section.listing(close)}"
  )
  for each in found:
    if each.form.name == "exponential" and not each.is_close:
      text += f"; the exponential form lies {each.aic:.1f} above"
  if surest := forms.surest(found):
    text += (
      f". Fitted on the first half, the {surest.form.name} form predicts the "
      "second half best"
    )
  return f"{text}."


def law_row(label: str, each: Sequence[law.Points]) -> Row:
  """A label and the `LAW_COLUMNS` of the runs with these points."""
  found, intervals = law.fit_runs(each), law.bootstrap(each)
  laws = [law.fit(*run) for run in each]

  def with_interval(value: float, interval: law.Interval) -> str:
    return f"{value:.3f} ({interval[0]:.3f}–{interval[1]:.3f})"

  return (
    label,
    found.points,
    with_interval(found.a, intervals.a),
    with_interval(found.b, intervals.b),
    with_interval(found.ceiling, intervals.ceiling),
    _range([one.a for one in laws]) if len(laws) > 1 else None,
    _range([one.ceiling for one in laws]) if len(laws) > 1 else None,
    found.r2,
    found.rmse,
  )


def _range(values: Sequence[float]) -> str:
  return f"{min(values):.3f} to {max(values):.3f}"


def law_curves(
  label: str, each: Sequence[law.Points], color: str
) -> list[plots.Line]:
  """The law of some runs: dashed where it goes on below their entropies."""
  entropy, _ = law.pooled(each)
  found = law.fit_runs(each)
  seen = np.linspace(entropy.min(), entropy.max(), 60)
  below = np.linspace(0, entropy.min(), 40)
  return [
    plots.Line(label, seen, found(seen), color),
    plots.Line("", below, found(below), color, style="--"),
  ]


def _law_panel(
  labels: Sequence[str],
  points: Mapping[str, Sequence[law.Points]],
  lead: str,
  study: studies.Study,
) -> Figure:
  """Points and laws of some variants; the ceiling of one, at H = 0."""
  palette = style.colors(list(study.variants))
  clouds = {
    k: plots.Cloud(k, *law.pooled(each), palette[k])
    for k, each in points.items()
  }
  curves = {k: law_curves("", each, palette[k]) for k, each in points.items()}
  every = [curve for each in curves.values() for curve in each]
  x = np.array([0, max(cloud.x.max() for cloud in clouds.values())])
  ceiling = np.full(2, law.fit_runs(points[lead]).ceiling)
  return plots.scatter(
    "Accuracy",
    [clouds[label] for label in labels],
    [
      *(curve for label in labels for curve in curves[label]),
      plots.Line("", x, ceiling, palette[lead], style=":"),
    ],
    x_label=_ENTROPY,
    beside=[*clouds.values(), *every],
  )


def _prediction_panel(
  name: str, points: law.Points, found: law.Prediction
) -> Figure:
  entropy, score = points
  cut = found.points
  clouds = [
    plots.Cloud("fitted", entropy[:cut], score[:cut], style.MUTED),
    plots.Cloud("predicted", entropy[cut:], score[cut:], style.ACCENT),
  ]
  x = np.linspace(entropy.min(), entropy.max(), 100)
  curve = plots.Line("", x, found.law(x), style.INK)
  return plots.scatter(f"Accuracy, {name}", clouds, [curve], x_label=_ENTROPY)


def _errors(predictions: Sequence[law.Prediction]) -> tuple[float, float]:
  """Mean RMSE and mean absolute error at the end, over runs."""
  return (
    float(np.mean([each.rmse for each in predictions])),
    float(np.mean([abs(each.final_error) for each in predictions])),
  )


def _error_panel(found: Mapping[float, Sequence[law.Prediction]]) -> Figure:
  shares = np.round(100 * np.array(list(found)))
  rmse, last = np.array([_errors(each) for each in found.values()]).T
  curves = [
    plots.Line("all later", shares, rmse, style.INK),
    plots.Line("last", shares, last, style.ACCENT),
  ]
  return plots.lines(
    "Error of the prediction (accuracy)",
    curves,
    x_label="points fitted (%)",
  )


def _forms_panel(
  name: str, points: law.Points, fits: Sequence[forms.Fit]
) -> Figure:
  entropy, score = points
  x = np.linspace(entropy.min(), entropy.max(), 100)
  palette = style.colors([each.form.name for each in fits])
  curves = [
    plots.Line(f.form.name, x, f(x), palette[f.form.name]) for f in fits
  ]
  clouds = [plots.Cloud("", entropy, score, style.MUTED)]
  return plots.scatter(f"Accuracy, {name}", clouds, curves, x_label=_ENTROPY)
