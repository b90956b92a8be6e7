"""Rows and curves of fitted laws, for the sections that show them."""

from collections.abc import Sequence

import numpy as np

from jaxrl_entropy.analysis import law
from jaxrl_entropy.report import plots, wording
from jaxrl_entropy.report.section import Row

COLUMNS = (
  *("points", "a", "b", "ceiling"),
  *("a, over seeds", "ceiling, over seeds", "R²", "RMSE"),
)
ENTROPY_AXIS = "entropy (nats/token)"


def row(label: str, points_by_run: Sequence[law.Points]) -> Row:
  """Returns a label and the `COLUMNS` of runs with the given points.

  Args:
    label: text of the first cell.
    points_by_run: the law's points (H, R) of each run.
  """
  fitted, intervals = law.fit_runs(points_by_run), law.bootstrap(points_by_run)
  laws = [law.fit(*run) for run in points_by_run]

  def with_interval(value: float, interval: law.Interval) -> str:
    return f"{value:.3f} ({interval[0]:.3f}–{interval[1]:.3f})"

  def over_seeds(values: Sequence[float]) -> str | None:
    return wording.value_range(values) if len(values) > 1 else None

  return (
    label,
    fitted.points,
    with_interval(fitted.a, intervals.a),
    with_interval(fitted.b, intervals.b),
    with_interval(fitted.ceiling, intervals.ceiling),
    over_seeds([one.a for one in laws]),
    over_seeds([one.ceiling for one in laws]),
    fitted.r2,
    fitted.rmse,
  )


def curves(
  label: str, points_by_run: Sequence[law.Points], color: str
) -> list[plots.Line]:
  """Returns the law's curve, dashed below the entropies that were observed.

  Args:
    label: text at the end of the curve; "" for none.
    points_by_run: the law's points (H, R) of each run, to all of which one law
      is fitted.
    color: of both parts, as matplotlib takes it.
  """
  entropy, _ = law.pooled(points_by_run)
  fitted = law.fit_runs(points_by_run)
  observed = np.linspace(entropy.min(), entropy.max(), 60)
  below = np.linspace(0, entropy.min(), 40)
  return [
    plots.Line(label, observed, fitted(observed), color),
    plots.Line("", below, fitted(below), color, style="--"),
  ]
