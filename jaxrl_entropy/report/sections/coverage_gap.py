"""Section: coverage of each method at the accuracy that it ended with."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import coverage, runs, stats, studies
from jaxrl_entropy.report import panels, plots, wording
from jaxrl_entropy.report.comparisons import Comparison
from jaxrl_entropy.report.measures import largest_pass
from jaxrl_entropy.report.section import (
  NO_BASELINE,
  Absent,
  Members,
  Row,
  Section,
  Table,
)
from jaxrl_entropy.report.sections.differences import power

_TITLE = "Coverage at equal accuracy"
_PASS_1 = run_files.HELD_OUT_ACCURACY
_MIN_TRIES = 8
"""Largest k of pass@k below which it does not measure coverage."""


def build(study: studies.Study) -> Section | Absent:
  """Compares methods with the baseline stopped at their accuracy."""
  if study.baseline is None:
    return Absent(_TITLE, NO_BASELINE)
  name, baseline = study.baseline
  if not is_measured(baseline):
    return Absent(_TITLE, f"no run records pass@k for a k of {_MIN_TRIES}")
  key = largest_pass(baseline)
  compared = {
    label: _Gaps(baseline, members, key)
    for label, members in study.variants.items()
    if members[0].method != runs.BASELINE
    and not study.confounders(label)
    and key in members[0].metrics
  }
  if not compared:
    return Absent(_TITLE, f"there is nothing to compare with {name}")
  k = key.rpartition("/")[2]
  columns = (
    *("variant", "runs"),
    f"final {k}, minus {name}'s at equal accuracy",
    f"final {k}, minus {name}'s at equal entropy",
    f"final accuracy, minus {name}'s at equal entropy",
  )
  rows: list[Row] = [
    (label, gaps.count, *map(str, gaps.all)) for label, gaps in compared.items()
  ]
  return Section(
    "coverage",
    _TITLE,
    _sentence(name, k, compared),
    _panels(study, [name, *compared], key, k),
    Table(columns, rows),
  )


def is_measured(members: Members) -> bool:
  """Whether runs record a pass@k of a k that is large enough."""
  return int(largest_pass(members).rpartition("@")[2] or 0) >= _MIN_TRIES


def at_equal_accuracy(compared: Comparison) -> stats.Estimate:
  """Estimates the gap in pass@k to the baseline stopped at a variant's end."""
  key = largest_pass(compared.baseline)
  return coverage.gaps(compared.baseline, compared.members, _PASS_1, key)


class _Gaps:
  """The gaps of one variant."""

  def __init__(self, baseline: Members, members: Members, key: str):
    entropy = run_files.ENTROPY
    self.count = len(members)
    self.at_accuracy = coverage.gaps(baseline, members, _PASS_1, key)
    self.at_entropy = coverage.gaps(baseline, members, entropy, key)
    self.accuracy = coverage.gaps(baseline, members, entropy, _PASS_1)

  @property
  def all(self) -> Sequence[stats.Estimate]:
    return self.at_accuracy, self.at_entropy, self.accuracy


def _sentence(name: str, k: str, compared: Mapping[str, _Gaps]) -> str:
  differences = {label: gaps.at_accuracy for label, gaps in compared.items()}
  seeded = {
    label: difference
    for label, difference in differences.items()
    if difference.count > 1
  }
  lead = f"The baseline is {name}, stopped at the accuracy of each method's end"
  if not seeded:
    return f"{lead}. No method has two runs that end on its curve."
  signs = dict(zip(seeded, stats.holm(list(seeded.values())), strict=True))
  texts = {
    sign: wording.listing(
      [f"{label} ({seeded[label]})" for label in seeded if signs[label] == sign]
    )
    for sign in (1, -1)
  }
  text = (
    f"{lead}. After Holm's correction, with more {k}: {texts[1] or 'none'}; "
    f"with less: {texts[-1] or 'none'}."
  )
  return f"{text} {power(list(seeded.values()), list(signs.values()))}".strip()


def _panels(
  study: studies.Study, labels: Sequence[str], key: str, k: str
) -> dict[str, Figure]:
  """Draws pass@k against accuracy: mean paths, and every run's end."""
  colors = panels.palette(study)
  paths, ends = {}, {}
  for label in labels:
    curves = [coverage.curve(r, _PASS_1, key) for r in study.variants[label]]
    x, y = np.array([curve[:, -1] for curve in curves]).T
    ends[label] = plots.Cloud(label, x, y, colors[label])
    common = min(curve.shape[1] for curve in curves)
    x, y = np.mean([curve[:, :common] for curve in curves], axis=0)
    paths[label] = plots.Line("", x, y, colors[label])
  return {
    f"frontier{suffix}": plots.scatter(
      f"{k} against accuracy, along training",
      [ends[label] for label in members],
      [paths[label] for label in members],
      x_label="accuracy of a sample (pass@1)",
      beside=[*paths.values(), *ends.values()],
    )
    for suffix, members in panels.groups(study, labels).items()
  }
