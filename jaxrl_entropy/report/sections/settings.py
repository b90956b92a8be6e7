"""Sections on settings: coefficients and model size against the outcome."""

from collections.abc import Callable, Mapping, Sequence
import math

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, law, runs, studies
from jaxrl_entropy.report import plots, section, style
from jaxrl_entropy.report.section import Members, Row, Section, Table
from jaxrl_entropy.report.sections import law_fit

PARAMETERS = run_files.PARAMETERS
COEFFICIENT = run_files.CONTROL + "coefficient"


def coefficients(study: studies.Study) -> Section | None:
  """Final entropy and accuracy against the setting that a method varies."""
  sweeps = {
    (method, setting): values
    for method, variants in _by_method(study).items()
    for setting, values in _varied(variants).items()
  }
  if not sweeps:
    return None
  panels: dict[str, Figure] = {}
  rows: list[Row] = []
  parts = []
  for index, ((method, setting), values) in enumerate(sweeps.items()):
    x = np.array(sorted(values))
    entropy = np.array([_final(values[v], dynamics.final_entropy) for v in x])
    score = np.array([_final(values[v], dynamics.final_score) for v in x])
    color = style.colors([method])[method]
    for name, unit, measure, y in (
      ("entropy", " (nats/token)", dynamics.final_entropy, entropy),
      ("accuracy", "", dynamics.final_score, score),
    ):
      panels[f"{name}_{index}"] = plots.scatter(
        f"{method}: final {name}{unit}",
        [plots.Cloud("", x, y, color)],
        [
          plots.Line("", x, y, color),
          *_without(study, x, measure),
        ],
        x_label=_with_symbol(method, setting),
      )
    rows += [
      (method, f"{setting} = {v:g}", len(values[v]), float(h), float(r))
      for v, h, r in zip(x, entropy, score, strict=True)
    ]
    parts.append(
      f"{method} from {entropy[0]:.3f} to {entropy[-1]:.3f} as {setting} goes "
      f"from {x[0]:g} to {x[-1]:g}"
    )
  sentence = f"Final entropy changes for {section.listing(parts)}."
  columns = ("method", "setting", "runs", "final entropy", "final accuracy")
  return Section(
    "coefficients",
    "What the coefficients do",
    sentence,
    panels,
    Table(columns, rows),
  )


def _with_symbol(method: str, setting: str) -> str:
  symbol = studies.symbol_of(method, setting)
  return setting if symbol in ("", setting) else f"{setting} {symbol}"


def _without(
  study: studies.Study, x: np.ndarray, measure: Callable[[runs.Run], float]
) -> list[plots.Line]:
  """A level line at the baseline's value, with its name."""
  if study.baseline is None:
    return []
  label, members = study.baseline
  level = np.full(2, _final(members, measure))
  color = style.colors([label])[label]
  return [plots.Line(label, x[[0, -1]], level, color, style=":")]


def controlled(study: studies.Study) -> Section | None:
  """The entropy of runs whose coefficient was driven to hold a target."""
  targets = {
    label: target
    for label, members in study.variants.items()
    if (target := _target(members[0])) is not None
  }
  if not targets:
    return None
  rows: list[Row] = []
  parts = []
  for label, target in targets.items():
    members = study.variants[label]
    entropy = [_later_half(run, run_files.ENTROPY) for run in members]
    low, high = np.min(entropy), np.max(entropy)
    held = float(np.mean(entropy))
    coefficient = _final(
      members, lambda run: float(_later_half(run, COEFFICIENT).mean())
    )
    accuracy = _final(members, dynamics.final_score)
    reach = f"{low:.3f} to {high:.3f}"
    rows.append((label, target, held, reach, coefficient, accuracy))
    parts.append(f"{label} kept {held:.3f} ({reach})")
  palette = style.colors(list(study.variants))
  lines = [
    line
    for label in targets
    if (
      line := section.curve(
        label, study.variants[label], run_files.ENTROPY, palette[label]
      )
    )
  ]
  lines += [
    plots.Line(
      "",
      line.x,
      np.full(len(line.x), targets[line.label]),
      line.color,
      style=":",
    )
    for line in lines
  ]
  columns = (
    *("method", "target", "entropy, second half", "its range"),
    *("coefficient, second half", "final accuracy"),
  )
  return Section(
    "controlled",
    "Entropy held at a target",
    "In the second half of training, as a mean and its range in nats a token, "
    f"{section.listing(parts)}.",
    {"entropy": plots.lines("Entropy (nats/token) and target", lines)},
    Table(columns, rows),
  )


def sizes(study: studies.Study) -> Section | None:
  """a and b of plain GRPO against model size, and R against log H."""
  by_size = {
    size: each
    for size, members in sorted(_by_size(study).items())
    if (each := law.of_runs(members))
  }
  if len(by_size) < 3:
    return None
  size = np.array(list(by_size))
  laws = [law.fit_runs(each) for each in by_size.values()]
  a, b = np.array([(each.a, each.b) for each in laws]).T
  guess_a, guess_b = _extrapolate(size, a), _extrapolate(size, b)
  sentence = (
    f"Log-linear lines through the smaller models predict a = {guess_a:.3f} "
    f"and b = {guess_b:.3f} for the largest ({_count(size[-1])} parameters); "
    f"its own fit gives {a[-1]:.3f} and {b[-1]:.3f}, and its ceiling is off by "
    f"{guess_b - guess_a - laws[-1].ceiling:+.3f}."
  )
  rows: list[Row] = [
    law_fit.law_row(f"{count:,.0f}", each) for count, each in by_size.items()
  ]
  guesses = (f"{guess:.3f}" for guess in (guess_a, guess_b, guess_b - guess_a))
  rows.append(("the largest, predicted", None, *guesses, *[None] * 4))
  return Section(
    "sizes",
    "Model size",
    sentence,
    {
      "curves": _size_curves(by_size),
      "a": _size_panel("a", size, a),
      "b": _size_panel("b", size, b),
    },
    section.without_empty(("parameters", *law_fit.LAW_COLUMNS), rows),
  )


def _by_method(study: studies.Study) -> dict[str, list[Members]]:
  grouped: dict[str, list[Members]] = {}
  for members in study.variants.values():
    grouped.setdefault(members[0].method, []).append(members)
  return grouped


def _varied(variants: list[Members]) -> dict[str, dict[float, Members]]:
  """The loss's numeric arguments with three values or more, and their runs.

  Only variants that differ in nothing but that argument are put together; of
  several such families, the largest counts.
  """
  settings = [(members, members[0].loss_arguments) for members in variants]
  found = {}
  for name in sorted({name for _, args in settings for name in args}):
    families: dict[str, dict[float, Members]] = {}
    for members, args in settings:
      others = str(sorted((k, v) for k, v in args.items() if k != name))
      if isinstance(value := args.get(name), int | float):
        families.setdefault(others, {})[float(value)] = members
    largest = max(families.values(), key=len, default={})
    if len(largest) >= 3:
      found[name] = largest
  return found


def _by_size(study: studies.Study) -> dict[float, list[runs.Run]]:
  """Plain GRPO's runs by number of parameters."""
  grouped: dict[float, list[runs.Run]] = {}
  for run in study.runs:
    count = dynamics.first(run.series(PARAMETERS))
    if run.method == runs.BASELINE and math.isfinite(count):
      grouped.setdefault(count, []).append(run)
  return grouped


def _extrapolate(size: np.ndarray, values: np.ndarray) -> float:
  """The last value, by a line in log size through the others."""
  line = np.polyfit(np.log(size[:-1]), values[:-1], 1)
  return float(np.polyval(line, np.log(size[-1])))


def _size_curves(
  by_size: Mapping[float, Sequence[law.Points]],
) -> Figure:
  clouds = [
    plots.Cloud(
      _count(size),
      *law.pooled(each),
      style.shade(style.ACCENT, len(by_size) - 1 - index, len(by_size)),
    )
    for index, (size, each) in enumerate(by_size.items())
  ]
  return plots.scatter(
    "Accuracy, by parameters",
    clouds,
    x_label="entropy (nats/token)",
    logarithmic=True,
  )


def _count(parameters: float) -> str:
  """A number of parameters, as models are named by it."""
  for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
    if parameters >= unit:
      return f"{parameters / unit:.3g}{name}"
  return f"{parameters:g}"


def _size_panel(name: str, size: np.ndarray, values: np.ndarray) -> Figure:
  """The fits, and the line through all but the largest."""
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


def _target(run: runs.Run) -> float | None:
  """The entropy that a controller of the loss is to hold, if there is one."""
  controls = run.setting("loss.controllers", {})
  targets = [
    control["target"]
    for control in (controls.values() if isinstance(controls, Mapping) else ())
    if isinstance(control, Mapping)
    and control.get("name") == "target_entropy"
    and isinstance(control.get("target"), int | float)
  ]
  return float(targets[0]) if targets else None


def _later_half(run: runs.Run, key: str) -> np.ndarray:
  values = run.series(key).values
  return values[len(values) // 2 :]


def _final(members: Members, measure: Callable[[runs.Run], float]) -> float:
  return section.over_seeds(members, measure).mean
