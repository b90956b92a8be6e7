"""Sections over several studies: what holds across tasks, sizes, settings."""

from collections.abc import Sequence

import numpy as np

from jaxrl_entropy.analysis import dynamics, law, runs, studies
from jaxrl_entropy.analysis.studies import Study
from jaxrl_entropy.report import answers, plots, section, style
from jaxrl_entropy.report.section import Row, Section, Table
from jaxrl_entropy.report.sections import law_fit


def sections(parts: Sequence[Study]) -> list[Section]:
  """What the studies have the data for."""
  built = (each(parts) for each in (laws, ends, positive))
  return [found for found in built if found is not None]


def laws(parts: Sequence[Study]) -> Section | None:
  """The law of plain GRPO, once for each set of runs."""
  points = {
    _setting(study, label): each
    for study, label, members in studies.distinct(parts)
    if members[0].method == runs.BASELINE and (each := law.of_runs(members))
  }
  if not points:
    return None
  fits = [law.fit_runs(each) for each in points.values()]
  rows = [law_fit.law_row(name, each) for name, each in points.items()]
  shares = [each.r2 for each in fits]
  ceilings = [each.ceiling for each in fits]
  palette = dict(zip(points, _shades(len(points)), strict=True))
  panel = plots.scatter(
    f"Accuracy of {runs.BASELINE}",
    [
      plots.Cloud(k, *law.pooled(each), palette[k])
      for k, each in points.items()
    ],
    [
      curve
      for name, each in points.items()
      for curve in law_fit.law_curves("", each, palette[name])
    ],
    x_label="entropy (nats/token)",
  )
  return Section(
    "laws",
    "The law in every study",
    f"Over {section.plural(len(fits), 'setting')}, the law of plain "
    f"{runs.BASELINE} has R² from {min(shares):.3f} to {max(shares):.3f} and a "
    f"ceiling from {min(ceilings):.3f} to {max(ceilings):.3f}.",
    {"law": panel},
    Table(("study", *law_fit.LAW_COLUMNS), rows),
  )


def ends(parts: Sequence[Study]) -> Section | None:
  """Where a method ends above the baseline of its seeds, or below."""
  found = [
    (each, name, each.over(measure))
    for each in answers.compared(parts)
    for name, measure in answers.ends(each).items()
  ]
  seeded = [row for row in found if row[2].count > 1]
  if not seeded:
    return None
  signs: dict[int, list[str]] = {1: [], 0: [], -1: []}
  for each, measure, over in seeded:
    signs[over.sign].append(f"{each.name} in {measure}")
  above, below = section.listing(signs[1]), section.listing(signs[-1])
  rows = [
    (each.study, each.label, over.count, measure, str(over))
    for each, measure, over in seeded
  ]
  columns = ("study", "method", "runs", "measure", f"over {runs.BASELINE}'s")
  return Section(
    "ends",
    "Who ends higher, and where",
    f"Over seeds, the interval without 0, above {runs.BASELINE} at the end: "
    f"{above or 'none'}. Below: {below or 'none'}. Not separable: "
    f"{len(signs[0])} of {len(seeded)} comparisons. "
    f"{len(found) - len(seeded)} more have one seed, and so no interval; they "
    "stand with their study.",
    {},
    Table(columns, rows),
  )


def positive(parts: Sequence[Study]) -> Section | None:
  """The share of steps with a positive covariance, by study and estimator."""
  rows: list[Row] = []
  for study in parts:
    shares = [
      [
        dynamics.positive_share(members, key)
        for key in dynamics.ESTIMATORS.values()
      ]
      for of, _, members in studies.distinct(parts)
      if of is study
    ]
    if shares:
      rows.append(
        (study.name, len(shares), *map(float, np.min(shares, axis=0)))
      )
  if not rows:
    return None
  return Section(
    "positive",
    "Is the covariance always positive?",
    answers.positive(parts),
    {},
    Table(
      (
        *("study", "variants of its own"),
        *(f"lowest share, {name}" for name in dynamics.ESTIMATORS),
      ),
      rows,
    ),
  )


def _setting(study: Study, label: str) -> str:
  """A study and what its baseline varies: `sizes pico`."""
  return f"{study.name}{label.removeprefix(runs.BASELINE)}"


def _shades(count: int) -> list[str]:
  return [style.shade(style.ACCENT, index, count) for index in range(count)]
