"""Section: Clip-Cov beside as many tokens that were drawn at random."""

from collections.abc import Mapping, Sequence

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, interventions, stats, studies
from jaxrl_entropy.report import panels, wording
from jaxrl_entropy.report.measures import Measure, main_measures
from jaxrl_entropy.report.section import Absent, Members, Row, Section, Table
from jaxrl_entropy.report.sections.differences import power

_TITLE = "Is it covariance? Random tokens in Clip-Cov's place"
_RULE, _CONTROL = "Clip-Cov", "Random tokens"


def build(study: studies.Study) -> Section | Absent:
  """Compares controls with the rule that they replace, seed by seed."""
  rules, controls = _variants(study, _RULE), _variants(study, _CONTROL)
  if len(rules) != 1 or not controls:
    return Absent(_TITLE, f"it takes one {_RULE} and its random controls")
  ((name, rule),) = rules.items()
  measures = {"entropy": dynamics.final_entropy} | main_measures(rule)
  rows: list[Row] = []
  compared: dict[str, stats.Estimate] = {}
  for label, members in controls.items():
    differences = _differences(rule, members, measures)
    rows.append((label, len(members), _share(members), *map(str, differences)))
    compared |= {
      f"{label} in {measure}": difference
      for measure, difference in zip(measures, differences, strict=True)
    }
  rows.insert(0, (name, len(rule), _share(rule), *(None for _ in measures)))
  columns = ("variant", "runs", "share of tokens")
  return Section(
    "controls",
    _TITLE,
    _sentence(name, compared),
    panels.curves(study, run_files.ENTROPY, "entropy", "Entropy, nats/token"),
    Table((*columns, *(f"{m}, minus {name}'s" for m in measures)), rows),
  )


def _variants(study: studies.Study, method: str) -> dict[str, Members]:
  return {
    label: members
    for label, members in study.variants.items()
    if members[0].method == method
  }


def _differences(
  rule: Members, members: Members, measures: Mapping[str, Measure]
) -> Sequence[stats.Estimate]:
  return [
    interventions.differences(rule, members, measure)
    for measure in measures.values()
  ]


def _share(members: Members) -> float:
  """Returns the mean share of tokens that lost their gradient."""
  return stats.over_seeds(
    members, lambda run: dynamics.mean_over_steps(run, run_files.SELECTED_SHARE)
  ).mean


def _sentence(name: str, compared: Mapping[str, stats.Estimate]) -> str:
  seeded = {
    what: difference
    for what, difference in compared.items()
    if difference.count > 1
  }
  if not seeded:
    return f"With one seed, no difference from {name} has an interval."
  signs = stats.holm(list(seeded.values()))
  apart = [
    f"{what} ({difference})"
    for (what, difference), sign in zip(seeded.items(), signs, strict=True)
    if sign
  ]
  return (
    f"Each mini-batch loses as many tokens as {name} would take. Of "
    f"{wording.plural(len(seeded), 'comparison')} with {name}, after Holm's "
    f"correction, these differ: {wording.listing(apart) or 'none'}. "
    f"{power(list(seeded.values()), signs)}"
  ).strip()
