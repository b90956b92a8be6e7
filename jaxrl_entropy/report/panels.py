"""Plots of a metric by variant, and the choice of variants that share one."""

from collections.abc import Iterable, Mapping
import itertools
from typing import TypeVar

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report import plots, style
from jaxrl_entropy.report.section import Members

Item = TypeVar("Item")

MAX_PER_PANEL = 4
"""More variants than this do not share a panel, nor a sentence."""
_MAX_OF_A_METHOD = 8


def palette(study: studies.Study) -> dict[str, str]:
  """Returns a color for each variant; those of one method share its hue."""
  return style.colors(
    {label: members[0].method for label, members in study.variants.items()}
  )


def curve(
  label: str, members: Members, key: str, color: str
) -> plots.Line | None:
  """Returns a metric's mean over seeds, with the range of seeds as its band.

  Only steps that all seeds share are used. Values are smoothed over a fortieth
  of the run.

  Args:
    label: text at the end of the curve; "" for none.
    members: runs of one variant; those without the metric are left out.
    key: name of the metric in the runs' records.
    color: of the curve, as matplotlib takes it.

  Returns:
    None if no run records the metric.
  """
  recorded = [series for run in members if len(series := run.series(key))]
  if not recorded:
    return None
  steps = recorded[0].steps
  for series in recorded[1:]:
    steps = np.intersect1d(steps, series.steps)
  values = np.array(
    [_smooth(s.values[np.isin(s.steps, steps)]) for s in recorded]
  )
  several = len(recorded) > 1
  band = (values.min(axis=0), values.max(axis=0)) if several else None
  return plots.Line(label, steps, values.mean(axis=0), color, band)


def curves(
  study: studies.Study, key: str, name: str, title: str
) -> dict[str, Figure]:
  """Draws a metric of every variant that records it, on one scale.

  Args:
    study: the runs, by variant.
    key: name of the metric in the runs' records.
    name: first part of the figures' names.
    title: quantity on the vertical axis, with its unit.

  Returns:
    A figure per group of variants, named `name` and the group's suffix.
  """
  colors = palette(study)
  lines = {
    label: line
    for label, members in study.variants.items()
    if (line := curve(label, members, key, colors[label]))
  }
  return {
    f"{name}{suffix}": plots.lines(
      title, [lines[label] for label in labels], beside=list(lines.values())
    )
    for suffix, labels in groups(study, lines).items()
  }


def groups(study: studies.Study, labels: Iterable[str]) -> dict[str, list[str]]:
  """Returns the variants that share a panel, by a suffix for its name.

  Few variants share one panel. Otherwise each method has one, which shows the
  baseline too; a method of many variants has several.

  Args:
    study: tells the method of each variant, and the baseline.
    labels: variants to show, in order.
  """
  labels = list(labels)
  if len(labels) <= MAX_PER_PANEL:
    return {"": labels} if labels else {}
  first = [study.baseline[0]] if study.baseline else []
  first = [label for label in first if label in labels]
  by_method: dict[str, list[str]] = {}
  for label in labels:
    if label not in first:
      method = study.variants[label][0].method
      by_method.setdefault(method, []).append(label)
  panels = [
    first + members[start : start + _MAX_OF_A_METHOD]
    for members in by_method.values()
    for start in range(0, len(members), _MAX_OF_A_METHOD)
  ]
  return {f"_{index}": panel for index, panel in enumerate(panels)}


def representatives(
  study: studies.Study, of: Mapping[str, Item]
) -> dict[str, Item]:
  """Returns at most `MAX_PER_PANEL` items: the first of each method.

  If there are no more than that, all are returned.

  Args:
    study: tells the method of each variant.
    of: items by the label of their variant.
  """
  if len(of) <= MAX_PER_PANEL:
    return dict(of)
  by_method: dict[str, str] = {}
  for label in of:
    by_method.setdefault(study.variants[label][0].method, label)
  return {
    label: of[label]
    for label in itertools.islice(by_method.values(), MAX_PER_PANEL)
  }


def _smooth(values: np.ndarray) -> np.ndarray:
  """Computes a centered moving average; the window shrinks at the ends."""
  half = len(values) // 80
  window = np.ones(2 * half + 1)
  weight = np.convolve(np.ones_like(values), window, "same")
  return np.convolve(values, window, "same") / weight
