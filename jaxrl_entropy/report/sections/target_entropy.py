"""Section: entropy of runs whose coefficient was controlled to hold it."""

from collections.abc import Mapping

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, runs, stats, studies
from jaxrl_entropy.report import panels, plots, wording
from jaxrl_entropy.report.section import Absent, Row, Section, Table

_TITLE = "Entropy held at a target"


def build(study: studies.Study) -> Section | Absent:
  """Compares entropy with its target in the second half of training."""
  targets = {
    label: target
    for label, members in study.variants.items()
    if (target := _target(members[0])) is not None
  }
  if not targets:
    return Absent(_TITLE, "no loss has a controller named target_entropy")
  rows: list[Row] = []
  texts = []
  for label, target in targets.items():
    members = study.variants[label]
    entropy = [_second_half(run, run_files.ENTROPY) for run in members]
    mean = float(np.mean(entropy))
    reach = wording.value_range([np.min(entropy), np.max(entropy)])
    coefficient = stats.over_seeds(
      members,
      lambda run: float(_second_half(run, run_files.COEFFICIENT).mean()),
    ).mean
    score = stats.over_seeds(members, dynamics.final_score).mean
    rows.append((label, target, mean, reach, coefficient, score))
    texts.append(f"{mean:.3f} ({reach}) for {label}")
  columns = (
    *("variant", "target", "entropy, second half", "its range"),
    *("coefficient, second half", f"final {study.score_name}"),
  )
  return Section(
    "controlled",
    _TITLE,
    "In the second half of training, mean and range of entropy are "
    f"{wording.listing(texts)}, in nats per token.",
    {
      "entropy": plots.lines(
        "Entropy (nats/token) and target", _lines(study, targets)
      )
    },
    Table(columns, rows),
  )


def _lines(
  study: studies.Study, targets: Mapping[str, float]
) -> list[plots.Line]:
  """Returns the entropy curves, and a dotted line at each one's target."""
  colors = panels.palette(study)
  lines = []
  for label, target in targets.items():
    members, color = study.variants[label], colors[label]
    if line := panels.curve(label, members, run_files.ENTROPY, color):
      level = np.full(len(line.x), target)
      lines += [line, plots.Line("", line.x, level, color, style=":")]
  return lines


def _target(run: runs.Run) -> float | None:
  """Returns the entropy that a controller of the loss is to hold, if any."""
  controls = run.setting("loss.controllers", {})
  targets = [
    control["target"]
    for control in (controls.values() if isinstance(controls, Mapping) else ())
    if isinstance(control, Mapping)
    and control.get("name") == "target_entropy"
    and isinstance(control.get("target"), int | float)
  ]
  return float(targets[0]) if targets else None


def _second_half(run: runs.Run, key: str) -> np.ndarray:
  values = run.series(key).values
  return values[len(values) // 2 :]
