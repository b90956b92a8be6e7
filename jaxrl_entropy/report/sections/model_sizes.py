"""Section: the law's parameters against the size of the model."""

from collections.abc import Mapping, Sequence
import math

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, law, runs, studies
from jaxrl_entropy.report import law_table, plots, style
from jaxrl_entropy.report.section import Absent, Row, Section, without_empty

_TITLE = "Model size"
_MIN_SIZES = 3


def build(study: studies.Study) -> Section | Absent:
  """Predicts the largest model's law from those of the smaller ones."""
  by_size = {
    size: by_run
    for size, members in sorted(_by_size(study).items())
    if (by_run := law.of_runs(members))
  }
  if len(by_size) < _MIN_SIZES:
    return Absent(
      _TITLE, f"fewer than {_MIN_SIZES} model sizes have a GRPO run with a law"
    )
  size = np.array(list(by_size))
  laws = [law.fit_runs(by_run) for by_run in by_size.values()]
  a, b = np.array([(fitted.a, fitted.b) for fitted in laws]).T
  guess_a, guess_b = _extrapolate(size, a), _extrapolate(size, b)
  sentence = (
    "Lines through the smaller models, linear in the logarithm of size, "
    f"predict a = {guess_a:.3f} and b = {guess_b:.3f} for the largest "
    f"({_count(size[-1])} parameters). Its own fit gives {a[-1]:.3f} and "
    f"{b[-1]:.3f}; the predicted ceiling is off by "
    f"{guess_b - guess_a - laws[-1].ceiling:+.3f}."
  )
  rows: list[Row] = [
    law_table.row(f"{count:,.0f}", by_run) for count, by_run in by_size.items()
  ]
  guesses = (f"{guess:.3f}" for guess in (guess_a, guess_b, guess_b - guess_a))
  rows.append(("the largest, predicted", None, *guesses, *[None] * 4))
  return Section(
    "sizes",
    _TITLE,
    sentence,
    {
      "curves": _curves(study, by_size),
      "a": _parameter_panel("a", size, a),
      "b": _parameter_panel("b", size, b),
    },
    without_empty(("parameters", *law_table.COLUMNS), rows),
  )


def _by_size(study: studies.Study) -> dict[float, list[runs.Run]]:
  """Returns plain GRPO's runs by number of parameters."""
  grouped: dict[float, list[runs.Run]] = {}
  for run in study.runs:
    count = dynamics.first(run.series(run_files.PARAMETERS))
    if run.method == runs.BASELINE and math.isfinite(count):
      grouped.setdefault(count, []).append(run)
  return grouped


def _extrapolate(size: np.ndarray, values: np.ndarray) -> float:
  """Predicts the last value by a line in log size through the others."""
  line = np.polyfit(np.log(size[:-1]), values[:-1], 1)
  return float(np.polyval(line, np.log(size[-1])))


def _curves(
  study: studies.Study, by_size: Mapping[float, Sequence[law.Points]]
) -> Figure:
  clouds = [
    plots.Cloud(
      _count(size),
      *law.pooled(by_run),
      style.shade(style.ACCENT, len(by_size) - 1 - index, len(by_size)),
    )
    for index, (size, by_run) in enumerate(by_size.items())
  ]
  return plots.scatter(
    f"{study.score_name.capitalize()}, by parameters",
    clouds,
    x_label=law_table.ENTROPY_AXIS,
    logarithmic=True,
  )


def _count(parameters: float) -> str:
  """Formats a number of parameters as model names do: `1.5B`."""
  for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
    if parameters >= unit:
      return f"{parameters / unit:.3g}{name}"
  return f"{parameters:g}"


def _parameter_panel(name: str, size: np.ndarray, values: np.ndarray) -> Figure:
  """Draws the fits, and the line through all but the largest model."""
  line = np.polyval(np.polyfit(np.log(size[:-1]), values[:-1], 1), np.log(size))
  return plots.scatter(
    f"{name} of the law",
    [
      plots.Cloud("smaller", size[:-1], values[:-1], style.INK),
      plots.Cloud("largest", size[-1:], values[-1:], style.ACCENT),
      plots.Cloud("predicted", size[-1:], line[-1:], style.MUTED),
    ],
    [plots.Line("", size, line, style.MUTED, style="--")],
    x_label="parameters",
    logarithmic=True,
  )
