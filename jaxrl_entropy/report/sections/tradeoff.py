"""Section: entropy that is kept against accuracy, by temperature."""

from collections.abc import Mapping, Sequence
import functools

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, pooled, runs, studies
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
_MAX_NAMED = 7
_MARKS = {1: " ↑", 0: "", -1: " ↓"}


def build(study: studies.Study) -> Section | Absent:
  """Ranks variants by how many others are better in both.

  Entropy kept is that of the end over that of the start. Accuracies are greedy
  (temperature 0), at the further temperatures that were measured, and at that
  of the evaluation. Intervals are of the spread over seeds that all variants
  share.
  """
  accuracies = _accuracies(study)
  if not any(name.startswith("T = ") for name in accuracies):
    return Absent(
      _TITLE, no_metric(run_files.HELD_OUT + "at_{temperature}/accuracy")
    )
  pools = {
    name: pooled.pool(study.variants, measure)
    for name, measure in {"entropy kept": _entropy_kept, **accuracies}.items()
  }
  places = {
    label: tuple(pool.estimate(label).mean for pool in pools.values())
    for label in study.variants
  }
  better = {label: _better(label, places) for label in places}
  ranked = sorted(places, key=lambda label: (better[label], -places[label][0]))
  baseline = study.baseline[0] if study.baseline else ranked[0]
  signs = {name: pool.signs(baseline) for name, pool in pools.items()}
  rows: list[Row] = [
    (
      label,
      len(study.variants[label]),
      *(
        f"{pool.estimate(label)}{_MARKS[signs[name][label]]}"
        for name, pool in pools.items()
      ),
      better[label],
    )
    for label in ranked
  ]
  front = [label for label in ranked if not better[label]]
  return Section(
    "tradeoff",
    _TITLE,
    f"{_undominated(front, len(ranked))} "
    f"{_against(baseline, signs['entropy kept'])}",
    _panels(list(accuracies), places, _colors(study, [baseline, *front])),
    Table(("variant", "runs", *pools, "better in all"), rows),
  )


def _undominated(front: Sequence[str], count: int) -> str:
  """Names the variants that no other is above in all; counts many."""
  better = "kept more entropy and was more accurate at every temperature"
  if len(front) < _MAX_NAMED:
    return (
      f"Of {wording.plural(count, 'variant')}, no other {better} than "
      f"{wording.listing(front)}."
    )
  return f"{len(front)} of {count} variants have no other that {better}."


def _against(baseline: str, signs: Mapping[str, int]) -> str:
  """Says how many variants keep more entropy than the baseline, and less."""
  counts = [
    sum(sign == wanted for sign in signs.values()) for wanted in (1, -1)
  ]
  return (
    f"With the spread over seeds pooled, {counts[0]} kept more entropy than "
    f"{baseline} and {counts[1]} less; {_MARKS[1].strip()} and "
    f"{_MARKS[-1].strip()} mark what differs from it."
  )


def _colors(study: studies.Study, labels: Sequence[str]) -> dict[str, str]:
  """Returns the colors of the variants that are named in panels."""
  chosen = list(dict.fromkeys(labels))[:_MAX_NAMED]
  return style.colors({x: study.variants[x][0].method for x in chosen})


def _panels(
  names: Sequence[str],
  places: Mapping[str, tuple[float, ...]],
  colors: Mapping[str, str],
) -> dict[str, Figure]:
  """Draws each accuracy against the entropy kept, some variants by name."""
  others = np.array([xy for label, xy in places.items() if label not in colors])
  others = others.reshape(-1, 1 + len(names))

  def figure(name: str, column: int) -> Figure:
    clouds = [plots.Cloud("", others[:, 0], others[:, column], style.MUTED)]
    for label, color in colors.items():
      x, y = np.array([places[label][0]]), np.array([places[label][column]])
      clouds.append(plots.Cloud(label, x, y, color))
    return plots.scatter(
      f"accuracy, {name}",
      clouds,
      x_label="entropy at the end over that at the start",
    )

  return {
    f"kept_{index}": figure(name, 1 + index) for index, name in enumerate(names)
  }


def _accuracies(study: studies.Study) -> dict[str, Measure]:
  """Returns the accuracy at the end by temperature, the coldest first."""
  shared = set.intersection(*(run.metrics for run in study.runs))
  at_temperature = {
    match[1]: key for key in shared if (match := AT_TEMPERATURE.fullmatch(key))
  }
  named = {
    f"T = {at}": at_temperature[at] for at in sorted(at_temperature, key=float)
  }
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


def _better(label: str, places: Mapping[str, tuple[float, ...]]) -> int:
  """Returns how many variants have more entropy and all accuracies higher."""
  own = places[label]
  return sum(
    all(a > b for a, b in zip(other, own, strict=True))
    for other in places.values()
  )
