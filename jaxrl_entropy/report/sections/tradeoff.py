"""Section: entropy that is kept against accuracy, by temperature."""

import functools

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, runs, stats, studies
from jaxrl_entropy.report import plots, style, wording
from jaxrl_entropy.report.measures import AT_TEMPERATURE, Measure
from jaxrl_entropy.report.section import (
  Absent,
  Row,
  Section,
  Table,
  no_metric,
)

_TITLE = "Entropy kept against accuracy"


def build(study: studies.Study) -> Section | Absent:
  """Ranks variants by how many others are better in both.

  Entropy kept is that of the end over that of the start. Accuracies are greedy
  (temperature 0), at the further temperatures that were measured, and at that
  of the evaluation.
  """
  measures = _accuracies(study)
  if not any(name.startswith("T = ") for name in measures):
    return Absent(
      _TITLE, no_metric(run_files.HELD_OUT + "at_{temperature}/accuracy")
    )
  kept = {
    label: stats.over_seeds(members, _entropy_kept)
    for label, members in study.variants.items()
  }
  accuracies = {
    label: [stats.over_seeds(members, measure) for measure in measures.values()]
    for label, members in study.variants.items()
  }
  places = {
    label: (
      kept[label].mean,
      *(estimate.mean for estimate in accuracies[label]),
    )
    for label in kept
  }
  better = {label: _better(label, places) for label in kept}
  ranked = sorted(kept, key=lambda label: (better[label], -kept[label].mean))
  rows: list[Row] = [
    (
      label,
      len(study.variants[label]),
      str(kept[label]),
      *map(str, accuracies[label]),
      better[label],
    )
    for label in ranked
  ]
  panels = {
    f"kept_{index}": plots.scatter(
      f"accuracy, {name}",
      [
        plots.Cloud(
          "",
          np.array([places[label][0] for label in ranked]),
          np.array([places[label][1 + index] for label in ranked]),
          style.MUTED,
        )
      ],
      x_label="entropy at the end over that at the start",
    )
    for index, name in enumerate(measures)
  }
  front = [label for label in ranked if not better[label]]
  return Section(
    "tradeoff",
    _TITLE,
    f"Of {wording.plural(len(ranked), 'variant')}, no other kept more entropy "
    "and was more accurate at every temperature than "
    f"{wording.listing(front)}.",
    panels,
    Table(
      ("variant", "runs", "entropy kept", *measures, "better in all"), rows
    ),
  )


def _accuracies(study: studies.Study) -> dict[str, Measure]:
  """Returns the accuracy at the end by temperature, the coldest first."""
  shared = set.intersection(*(run.metrics for run in study.runs))
  keys = {
    match[1]: key for key in shared if (match := AT_TEMPERATURE.fullmatch(key))
  }
  named = {f"T = {at}": keys[at] for at in sorted(keys, key=float)}
  if run_files.HELD_OUT_GREEDY in shared:
    named = {"greedy": run_files.HELD_OUT_GREEDY, **named}
  if run_files.HELD_OUT_ACCURACY in shared:
    named["as trained"] = run_files.HELD_OUT_ACCURACY
  return {
    name: functools.partial(dynamics.final_value, key=key)
    for name, key in named.items()
  }


def _entropy_kept(run: runs.Run) -> float:
  return dynamics.final_entropy(run) / dynamics.first_entropy(run)


def _better(label: str, places: dict[str, tuple[float, ...]]) -> int:
  """Returns how many variants have more entropy and all accuracies higher."""
  own = places[label]
  return sum(
    all(a > b for a, b in zip(other, own, strict=True))
    for other in places.values()
  )
