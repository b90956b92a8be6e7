"""Sections over several studies: results across tasks, sizes and settings."""

from collections.abc import Sequence

import numpy as np

from jaxrl_entropy.analysis import dynamics, law, runs, studies
from jaxrl_entropy.analysis.studies import Study
from jaxrl_entropy.report import answers, law_table, plots, style, wording
from jaxrl_entropy.report.comparisons import comparisons
from jaxrl_entropy.report.measures import main_measures
from jaxrl_entropy.report.section import Row, Section, Table


def sections(all_studies: Sequence[Study]) -> list[Section]:
  """Builds the sections for which the studies have data."""
  built = (build(all_studies) for build in (laws, ends, positive))
  return [section for section in built if section is not None]


def laws(all_studies: Sequence[Study]) -> Section | None:
  """Fits the law of plain GRPO, once for each set of runs."""
  points = {
    _setting(study, label): by_run
    for study, label, members in studies.distinct(all_studies)
    if members[0].method == runs.BASELINE and (by_run := law.of_runs(members))
  }
  if not points:
    return None
  fits = [law.fit_runs(by_run) for by_run in points.values()]
  colors = {
    name: style.shade(style.ACCENT, index, len(points))
    for index, name in enumerate(points)
  }
  panel = plots.scatter(
    f"Performance of {runs.BASELINE}",
    [
      plots.Cloud(k, *law.pooled(by_run), colors[k])
      for k, by_run in points.items()
    ],
    [
      curve
      for name, by_run in points.items()
      for curve in law_table.curves("", by_run, colors[name])
    ],
    x_label=law_table.ENTROPY_AXIS,
  )
  return Section(
    "laws",
    "The law in every study",
    f"Over {wording.plural(len(fits), 'setting')}, the law of plain "
    f"{runs.BASELINE} has an R² of "
    f"{wording.value_range([fit.r2 for fit in fits])} and a ceiling of "
    f"{wording.value_range([fit.ceiling for fit in fits])}.",
    {"law": panel},
    Table(
      ("study", *law_table.COLUMNS),
      [law_table.row(name, by_run) for name, by_run in points.items()],
    ),
  )


def ends(all_studies: Sequence[Study]) -> Section | None:
  """Lists where a method ends above the baseline of its seeds, or below."""
  differences = [
    (comparison, name, comparison.difference(measure))
    for comparison in comparisons(all_studies)
    for name, measure in main_measures(comparison.members).items()
  ]
  seeded = [row for row in differences if row[2].count > 1]
  if not seeded:
    return None
  signs: dict[int, list[str]] = {1: [], 0: [], -1: []}
  for comparison, measure, difference in seeded:
    signs[difference.sign].append(f"{comparison.name} in {measure}")
  above, below = wording.listing(signs[1]), wording.listing(signs[-1])
  rows = [
    (
      comparison.study,
      comparison.label,
      difference.count,
      measure,
      str(difference),
    )
    for comparison, measure, difference in seeded
  ]
  columns = ("study", "variant", "runs", "measure", f"minus {runs.BASELINE}'s")
  return Section(
    "ends",
    "Which methods end higher, and where",
    f"Over seeds, above {runs.BASELINE} with an interval that excludes 0: "
    f"{above or 'none'}. Below: {below or 'none'}. Not separable: "
    f"{len(signs[0])} of {len(seeded)} comparisons. "
    f"{len(differences) - len(seeded)} more comparisons have one seed and "
    "therefore no interval; each study's own report has them.",
    {},
    Table(columns, rows),
  )


def positive(all_studies: Sequence[Study]) -> Section | None:
  """Shows the share of steps with a positive covariance, by study."""
  rows: list[Row] = []
  for study in all_studies:
    shares = [
      [
        dynamics.positive_share(members, key)
        for key in dynamics.ESTIMATORS.values()
      ]
      for of, _, members in studies.distinct(all_studies)
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
    answers.positive(all_studies),
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
  """Names a study and what its baseline varies: `sizes pico`."""
  return f"{study.name}{label.removeprefix(runs.BASELINE)}"
