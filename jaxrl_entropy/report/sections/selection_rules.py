"""Section: which tokens rules of selection pick, and what they predict."""

from collections.abc import Sequence
import functools

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, runs, stats, studies
from jaxrl_entropy.report import plots, style, wording
from jaxrl_entropy.report.section import (
  Absent,
  Members,
  Row,
  Section,
  Table,
  no_metric,
)

_TITLE = "Rules as predictors of the change of entropy"
# Names of the rules, and of what is shown of each.
_RULES = {
  "cov": "Cov",
  "centered_cov": "Cov - E Cov",
  "discriminator": "discriminator",
  "omega": "Omega",
  "flow": "exact flow",
  "entropy": "entropy",
}
_TRAITS = ("probability", "rank", "entropy", "position")
_COLUMNS = (
  *("variant", "rule", "flow, by token", "change, by token"),
  *("change, by step", *_TRAITS, "picks shared with Cov"),
)
_COLORS = {"flow, by token": style.MUTED, "change, by token": style.ACCENT}


def build(study: studies.Study) -> Section | Absent:
  """Compares the rules of the first variant that records them, and tabulates.

  Correlations by token are means over steps and seeds; the correlation by step
  is that of the mean prediction and the mean change of each step.
  """
  recorded = {
    label: members
    for label, members in study.variants.items()
    if members[0].series(run_files.PREDICTED_CHANGE).values.size
  }
  if not recorded:
    return Absent(_TITLE, no_metric(run_files.PREDICTED_CHANGE))
  rows = [
    _row(label, rule, members)
    for label, members in recorded.items()
    for rule in _RULES
  ]
  label = next(iter(recorded))
  first = {row[1]: row for row in rows if row[0] == label}
  shown = [_RULES[rule] for rule in _RULES if rule != "entropy"]
  heights = {
    column: [float(first[name][index] or 0.0) for name in shown]
    for index, column in enumerate(_COLUMNS)
    if column in _COLORS
  }
  panel = plots.bars(
    f"{label}: correlation over tokens",
    shown,
    heights,
    _COLORS,
    x_label="rule",
  )
  return Section(
    "rules",
    _TITLE,
    _sentence(label, shown, heights["change, by token"]),
    {"correlation": panel},
    Table(_COLUMNS, rows),
  )


def _sentence(
  label: str, names: Sequence[str], correlations: Sequence[float]
) -> str:
  order = np.argsort(-np.asarray(correlations))
  ranked = [f"{names[i]} {correlations[i]:.2f}" for i in order]
  return (
    f"Over {label}'s tokens, the predicted change of entropy correlates with "
    f"the one that a step's updates brought: {wording.listing(ranked)}."
  )


def _row(label: str, rule: str, members: Members) -> Row:
  predicts = f"{run_files.PREDICTORS}{rule}/"
  picks = f"{run_files.PICKS}{rule}/"
  keys = (
    predicts + "flow_correlation",
    predicts + "change_correlation",
    *(picks + trait for trait in _TRAITS),
    picks + "overlap/cov",
  )
  flow, change, *traits = [_mean(members, key) for key in keys]
  by_step = stats.over_seeds(
    members, functools.partial(_by_step, key=predicts + "mean")
  ).mean
  return (label, _RULES[rule], flow, change, by_step, *traits)


def _mean(members: Members, key: str) -> float:
  return stats.over_seeds(
    members, functools.partial(dynamics.mean_over_steps, key=key)
  ).mean


def _by_step(run: runs.Run, key: str) -> float:
  """Returns the correlation over steps; NaN for fewer than three."""
  agreement = dynamics.agreement(*run.table(key, run_files.PREDICTED_CHANGE).T)
  return agreement.correlation if agreement else float("nan")
