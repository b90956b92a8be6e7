"""Section: other forms of the law, fitted to the baseline's points."""

from collections.abc import Sequence

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy.analysis import forms, law, studies
from jaxrl_entropy.report import law_table, plots, style, wording
from jaxrl_entropy.report.section import (
  NO_BASELINE,
  Absent,
  Row,
  Section,
  Table,
)
from jaxrl_entropy.report.sections.law_fit import NO_LAW
from jaxrl_entropy.report.sections.prediction import points_by_seed

_TITLE = "Other forms of the law"


def build(study: studies.Study) -> Section | Absent:
  """Compares the exponential form with its rivals."""
  if study.baseline is None:
    return Absent(_TITLE, NO_BASELINE)
  label, members = study.baseline
  points = points_by_seed(members)
  rivals = forms.compare(list(points.values())) if points else []
  if not rivals:
    return Absent(_TITLE, NO_LAW)
  rows: list[Row] = [
    (
      rival.form.name,
      rival.form.formula,
      rival.aic,
      rival.bic,
      rival.later_error,
    )
    for rival in rivals
  ]
  columns = ("form", "R =", "ΔAIC", "ΔBIC", "RMSE, second half")
  name, first = next(iter(points.items()))
  return Section(
    "forms",
    _TITLE,
    _sentence(label, rivals),
    {"forms": _panel(name, first, [rival.fits[0] for rival in rivals])},
    Table(columns, rows),
  )


def _sentence(label: str, rivals: Sequence[forms.Rival]) -> str:
  close = [rival.form.name for rival in rivals if rival.is_close]
  text = (
    f"Over all of {label}'s points, AIC is lowest, or within "
    f"{forms.MIN_AIC_DIFFERENCE} of the lowest, for {wording.listing(close)}"
  )
  for rival in rivals:
    if rival.form.name == "exponential" and not rival.is_close:
      text += f"; that of the exponential form is {rival.aic:.1f} higher"
  if best := forms.best_predictor(rivals):
    text += (
      f". Fitted to the first half, the {best.form.name} form predicts the "
      "second half best"
    )
  return f"{text}."


def _panel(name: str, points: law.Points, fits: Sequence[forms.Fit]) -> Figure:
  entropy, score = points
  x = np.linspace(entropy.min(), entropy.max(), 100)
  colors = style.colors({fit.form.name: fit.form.name for fit in fits})
  curves = [plots.Line(f.form.name, x, f(x), colors[f.form.name]) for f in fits]
  clouds = [plots.Cloud("", entropy, score, style.MUTED)]
  return plots.scatter(
    f"Performance, {name}", clouds, curves, x_label=law_table.ENTROPY_AXIS
  )
