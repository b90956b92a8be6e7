"""Section: final results minus the baseline's, seed by seed."""

from collections.abc import Mapping, Sequence

from jaxrl_entropy.analysis import interventions, runs, studies
from jaxrl_entropy.report import wording
from jaxrl_entropy.report.measures import final_measures
from jaxrl_entropy.report.section import (
  NO_BASELINE,
  Absent,
  Row,
  Section,
  Table,
)

_TITLE = "Differences from the baseline, by seed"


def build(study: studies.Study) -> Section | Absent:
  """Compares every variant with the baseline of its seeds."""
  if study.baseline is None:
    return Absent(_TITLE, NO_BASELINE)
  name, baseline = study.baseline
  measures = final_measures(study)
  rows: list[Row] = []
  signs: dict[int, list[str]] = {1: [], -1: [], 0: []}
  for label, members in study.variants.items():
    if members[0].method == runs.BASELINE or study.confounders(label):
      continue
    differences = {
      measure: interventions.differences(baseline, members, end)
      for measure, end in measures.items()
    }
    rows.append((label, len(members), *map(str, differences.values())))
    for measure, each in differences.items():
      if each.count > 1:
        signs[each.sign].append(f"{label} in {measure} ({each})")
  if not rows:
    return Absent(
      _TITLE,
      f"no other method has all other settings in common with {runs.BASELINE}",
    )
  return Section(
    "differences",
    f"Final results minus {name}'s, by seed",
    _sentence(name, signs),
    {},
    Table(("variant", "runs", *measures), rows),
  )


def _sentence(name: str, signs: Mapping[int, Sequence[str]]) -> str:
  if not any(signs.values()):
    return "With one seed per variant, no difference has an interval."
  above, below = wording.listing(signs[1]), wording.listing(signs[-1])
  return (
    f"Above {name}, with an interval that excludes 0: {above or 'none'}. "
    f"Below: {below or 'none'}. Not separable: {len(signs[0])} of "
    f"{sum(map(len, signs.values()))} comparisons; about one in twenty would "
    "appear separable by chance."
  )
