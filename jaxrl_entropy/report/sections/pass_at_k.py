"""Section: what one sample solves and what many do, before RL and after."""

from collections.abc import Iterable

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy.analysis import stats, studies
from jaxrl_entropy.report import panels, plots, style, wording
from jaxrl_entropy.report.measures import curve_of_passes, largest_pass
from jaxrl_entropy.report.section import (
  Absent,
  Members,
  Row,
  Section,
  Table,
  no_metric,
)

_TITLE = "One sample against many"
_START = "before RL"
Passes = dict[int, stats.Estimate]


def build(study: studies.Study) -> Section | Absent:
  """Compares pass@k of the final policies with that of the start."""
  if not all(largest_pass(members) for members in study.variants.values()):
    return Absent(_TITLE, no_metric("eval/held_out/pass@{k}"))
  # Runs of one study may differ in their number of samples.
  tries = sorted(
    set.intersection(*(set(curve_of_passes(run, True)) for run in study.runs))
  )
  # The runs of a seed start from the same policy.
  starts = list({run.seed: run for run in study.runs}.values())
  start = _passes(starts, tries, last=False)
  ends = {
    label: _passes(members, tries, last=True)
    for label, members in study.variants.items()
  }
  rows: list[Row] = [(_START, len(starts), *map(str, start.values()))]
  rows += [
    (label, len(study.variants[label]), *map(str, passes.values()))
    for label, passes in ends.items()
  ]
  return Section(
    "passes",
    _TITLE,
    _sentence(start, panels.representatives(study, ends)),
    _panels(study, start, ends),
    Table(("policy", "runs", *(f"pass@{k}" for k in tries)), rows),
  )


def _passes(members: Members, tries: Iterable[int], last: bool) -> Passes:
  """Estimates pass@k by k, of the last policies or the first, over seeds."""
  curves = [curve_of_passes(run, last) for run in members]
  return {k: stats.estimate([curve[k] for curve in curves]) for k in tries}


def _sentence(start: Passes, ends: dict[str, Passes]) -> str:
  one, many = min(start), max(start)
  results = wording.listing(
    [
      f"{passes[one].mean:.3f} and {passes[many].mean:.3f} with {label}"
      for label, passes in ends.items()
    ]
  )
  traded = [
    label
    for label, passes in ends.items()
    if passes[one].mean > start[one].mean
    and passes[many].mean < start[many].mean
  ]
  text = (
    f"Before RL, one sample solves {start[one].mean:.3f} of the held-out "
    f"problems, and at least one of {many} solves {start[many].mean:.3f}. "
    f"After RL, these shares are {results}."
  )
  if not traded:
    return text
  return (
    f"{text} {wording.listing(traded)} gained with one sample and lost with "
    f"{many}: answers that the policy often gave became likelier, and problems "
    "that it solved now and then were given up."
  )


def _panels(
  study: studies.Study, start: Passes, ends: dict[str, Passes]
) -> dict[str, Figure]:
  """Draws pass@k against k, before training and after."""
  colors = panels.palette(study)
  first = _line(_START, start, style.MUTED)
  lines = {
    label: _line(label, passes, colors[label]) for label, passes in ends.items()
  }
  beside = [first, *lines.values()]
  return {
    f"curve{suffix}": plots.lines(
      "pass@k: one of k samples is correct",
      [first, *(lines[label] for label in labels)],
      x_label="k",
      logarithmic=True,
      beside=beside,
    )
    for suffix, labels in panels.groups(study, lines).items()
  }


def _line(label: str, passes: Passes, color: str) -> plots.Line:
  means = np.array([estimate.mean for estimate in passes.values()])
  return plots.Line(label, np.array(list(passes)), means, color)
