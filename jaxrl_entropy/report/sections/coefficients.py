"""Section: final entropy and performance against a method's arguments."""

from collections.abc import Callable, Sequence

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy.analysis import dynamics, runs, stats, studies, variants
from jaxrl_entropy.report import panels, plots, style, wording
from jaxrl_entropy.report.section import Absent, Members, Row, Section, Table

_TITLE = "Effect of the coefficients"
_MIN_VALUES = 3


def build(study: studies.Study) -> Section | Absent:
  """Shows each argument of a loss that a method varies."""
  sweeps = {
    (method, setting): values
    for method, variants in _by_method(study).items()
    for setting, values in _varied(variants).items()
  }
  if not sweeps:
    return Absent(
      _TITLE,
      f"no argument of a loss has {_MIN_VALUES} values with all else equal",
    )
  figures: dict[str, Figure] = {}
  rows: list[Row] = []
  texts = []
  for index, ((method, setting), values) in enumerate(sweeps.items()):
    x = np.array(sorted(values))
    entropy = _finals(values, x, dynamics.final_entropy)
    score = _finals(values, x, dynamics.final_score)
    color = style.colors({method: method})[method]
    for name, title, measure, y in (
      ("entropy", "entropy (nats/token)", dynamics.final_entropy, entropy),
      ("accuracy", study.score_name, dynamics.final_score, score),
    ):
      figures[f"{name}_{index}"] = plots.scatter(
        f"{method}: final {title}",
        [plots.Cloud("", x, y, color)],
        [plots.Line("", x, y, color), *_baseline_level(study, x, measure)],
        x_label=_with_symbol(method, setting),
      )
    rows += [
      (method, f"{setting} = {v:g}", len(values[v]), float(h), float(r))
      for v, h, r in zip(x, entropy, score, strict=True)
    ]
    texts.append(
      f"from {entropy[0]:.3f} to {entropy[-1]:.3f} for {method} as {setting} "
      f"goes from {x[0]:g} to {x[-1]:g}"
    )
  columns = (
    *("method", "setting", "runs", "final entropy"),
    f"final {study.score_name}",
  )
  return Section(
    "coefficients",
    _TITLE,
    f"Final entropy changes {wording.listing(texts)}.",
    figures,
    Table(columns, rows),
  )


def _finals(
  values: dict[float, Members],
  x: np.ndarray,
  measure: Callable[[runs.Run], float],
) -> np.ndarray:
  return np.array([stats.over_seeds(values[v], measure).mean for v in x])


def _with_symbol(method: str, setting: str) -> str:
  symbol = variants.symbol_of(method, setting)
  return setting if symbol in ("", setting) else f"{setting} {symbol}"


def _baseline_level(
  study: studies.Study, x: np.ndarray, measure: Callable[[runs.Run], float]
) -> list[plots.Line]:
  """Returns a level line at the baseline's value."""
  if study.baseline is None:
    return []
  label, members = study.baseline
  level = np.full(2, stats.over_seeds(members, measure).mean)
  color = panels.palette(study)[label]
  return [plots.Line(label, x[[0, -1]], level, color, style=":")]


def _by_method(study: studies.Study) -> dict[str, list[Members]]:
  grouped: dict[str, list[Members]] = {}
  for members in study.variants.values():
    grouped.setdefault(members[0].method, []).append(members)
  return grouped


def _varied(variants: Sequence[Members]) -> dict[str, dict[float, Members]]:
  """Returns runs by value, for each numeric argument of enough values.

  Only variants that agree in all other arguments are compared. Of several such
  families, the largest is taken.
  """
  settings = [(members, members[0].loss_arguments) for members in variants]
  varied = {}
  for name in sorted({name for _, args in settings for name in args}):
    families: dict[str, dict[float, Members]] = {}
    for members, args in settings:
      others = str(sorted((k, v) for k, v in args.items() if k != name))
      if isinstance(value := args.get(name), int | float):
        families.setdefault(others, {})[float(value)] = members
    largest = max(families.values(), key=len, default={})
    if len(largest) >= _MIN_VALUES:
      varied[name] = largest
  return varied
