"""Sections over several studies: what holds across tasks, sizes, settings."""

from collections.abc import Iterator, Sequence

import numpy as np

from jaxrl_entropy.analysis import (
  dynamics,
  interventions,
  law,
  law_sections,
  plots,
  runs,
  section,
  stats,
  style,
  training_sections,
)
from jaxrl_entropy.analysis.section import Section, Table
from jaxrl_entropy.analysis.studies import Study

_ESTIMATORS = {
  "probe": dynamics.PROBE_MINUS_COV,
  "all groups": "cov/mean",
  "informative groups": "cov/filtered_mean",
}


def sections(studies: Sequence[Study]) -> list[Section]:
  """What the studies have the data for."""
  built = (each(studies) for each in (laws, ends, positive))
  return [found for found in built if found is not None]


def laws(studies: Sequence[Study]) -> Section | None:
  """The law of plain GRPO in every study."""
  points = {
    study.name: pooled
    for study in studies
    if study.baseline
    and law.is_enough((pooled := law.pooled(study.baseline[1]))[0])
  }
  if not points:
    return None
  fits = {name: law.fit(*each) for name, each in points.items()}
  rows = [
    law_sections.law_row(name, each, law.bootstrap(*points[name]))
    for name, each in fits.items()
  ]
  shares = [each.r2 for each in fits.values()]
  ceilings = [each.ceiling for each in fits.values()]
  palette = dict(zip(points, _shades(len(points)), strict=True))
  x = np.linspace(0, max(entropy.max() for entropy, _ in points.values()), 100)
  panel = plots.scatter(
    f"Accuracy of {runs.BASELINE}",
    [plots.Cloud(name, *points[name], palette[name]) for name in points],
    [plots.Line("", x, each(x), palette[name]) for name, each in fits.items()],
    x_label="entropy (nats/token)",
  )
  return Section(
    "laws",
    "The law in every study",
    f"Over {len(fits)} studies, the law of plain {runs.BASELINE} has R² from "
    f"{min(shares):.3f} to {max(shares):.3f} and a ceiling from "
    f"{min(ceilings):.3f} to {max(ceilings):.3f}.",
    {"law": panel},
    Table(("study", *law_sections.LAW_COLUMNS), rows),
  )


def ends(studies: Sequence[Study]) -> Section | None:
  """Where a method ends above the baseline of its seeds, or below."""
  found = [each for study in studies for each in _ends(study)]
  if not found:
    return None
  signs: dict[int, list[str]] = {1: [], 0: [], -1: []}
  for study, label, measure, each in found:
    if each.count > 1:
      signs[each.sign].append(f"{label} of {study} in {measure}")
  above, below = section.listing(signs[1]), section.listing(signs[-1])
  sentence = (
    f"Over seeds, the interval without 0, above {runs.BASELINE} at the end: "
    f"{above or 'none'}. Below: {below or 'none'}. Not separable: "
    f"{len(signs[0])} comparisons; with one seed, and so without an interval: "
    f"{len(found) - sum(map(len, signs.values()))}."
  )
  rows = [
    (study, label, each.count, measure, str(each))
    for study, label, measure, each in found
  ]
  columns = ("study", "method", "runs", "measure", f"over {runs.BASELINE}'s")
  return Section(
    "ends",
    "Who ends higher, and where",
    sentence,
    {},
    Table(columns, rows),
  )


def _ends(study: Study) -> Iterator[tuple[str, str, str, stats.Estimate]]:
  """Study, method, measure, and the difference from the baseline."""
  if study.baseline is None:
    return
  name, baseline = study.baseline
  measures = training_sections.final_measures(study)
  # pass@k of the largest k only.
  chosen = [n for n in measures if n == "accuracy" or n.startswith("pass@")]
  for label, members in study.variants.items():
    for measure in dict.fromkeys((*chosen[:1], *chosen[-1:])):
      if label != name:
        yield (
          *(study.name, label, measure),
          interventions.differences(baseline, members, measures[measure]),
        )


def positive(studies: Sequence[Study]) -> Section | None:
  """The share of steps with a positive covariance, by estimator."""
  shares = {
    (study.name, label): [
      dynamics.positive_share(members, key) for key in _ESTIMATORS.values()
    ]
    for study in studies
    for label, members in study.variants.items()
  }
  parts = []
  for index, name in enumerate(_ESTIMATORS):
    known = {k: v[index] for k, v in shares.items() if np.isfinite(v[index])}
    if known:
      study_name, label = low = min(known, key=lambda k: known[k])
      parts.append(
        f"by {name} on at least {known[low]:.0%} of the steps ({label} of "
        f"{study_name})"
      )
  if not parts:
    return None
  return Section(
    "positive",
    "Is the covariance always positive?",
    f"It was positive {section.listing(parts)}.",
    {},
    Table(
      ("study", "method", *_ESTIMATORS),
      [(*key, *values) for key, values in shares.items()],
    ),
  )


def _shades(count: int) -> list[str]:
  return [style.shade(style.ACCENT, index, count) for index in range(count)]
