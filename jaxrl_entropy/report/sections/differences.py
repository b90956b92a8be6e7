"""Section: final results minus the baseline's, seed by seed."""

from collections.abc import Mapping, Sequence

from jaxrl_entropy.analysis import interventions, runs, stats, studies
from jaxrl_entropy.report import wording
from jaxrl_entropy.report.measures import final_measures, main_measures
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
  compared: dict[str, stats.Estimate] = {}
  for label, members in study.variants.items():
    if members[0].method == runs.BASELINE or study.confounders(label):
      continue
    differences = {
      measure: interventions.differences(baseline, members, end)
      for measure, end in measures.items()
    }
    rows.append((label, len(members), *map(str, differences.values())))
    for measure in main_measures(members):
      if differences[measure].count > 1:
        compared[f"{label} in {measure}"] = differences[measure]
  if not rows:
    return Absent(
      _TITLE,
      f"no other method has all other settings in common with {runs.BASELINE}",
    )
  return Section(
    "differences",
    f"Final results minus {name}'s, by seed",
    _sentence(name, compared),
    {},
    Table(("variant", "runs", *measures), rows),
  )


def _sentence(name: str, compared: Mapping[str, stats.Estimate]) -> str:
  if not compared:
    return "With one seed per variant, no difference has an interval."
  signs = stats.holm(list(compared.values()))
  by_sign: dict[int, list[str]] = {1: [], -1: [], 0: []}
  for (what, difference), sign in zip(compared.items(), signs, strict=True):
    by_sign[sign].append(f"{what} ({difference})")
  above, below = wording.listing(by_sign[1]), wording.listing(by_sign[-1])
  text = (
    f"Of {wording.plural(len(compared), 'comparison')} in accuracy, greedy "
    f"accuracy and the largest pass@k, after Holm's correction, above {name}: "
    f"{above or 'none'}. Below: {below or 'none'}."
  )
  return f"{text} {power(list(compared.values()), signs)}".strip()


def power(compared: Sequence[stats.Estimate], signs: Sequence[int]) -> str:
  """Returns what could have been found in the comparisons without a sign.

  Args:
    compared: differences from the baseline over seeds.
    signs: of each of them, by `stats.holm`; 0 where none is established.

  Returns:
    A sentence with the differences that single comparisons would find; "" if
    all have a sign.
  """
  sizes = [
    estimate.detectable
    for estimate, sign in zip(compared, signs, strict=True)
    if not sign
  ]
  if not sizes:
    return ""
  return (
    f"Not separable: {len(sizes)}; a single one of them would find, with a "
    f"probability of {stats.POWER:.0%}, a difference of "
    f"{wording.value_range(sizes)}."
  )
