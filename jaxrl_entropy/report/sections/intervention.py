"""Section: each method compared with the baseline's law and its ceiling."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from jaxrl_entropy.analysis import interventions, runs, stats, studies
from jaxrl_entropy.report import law_table, panels, plots
from jaxrl_entropy.report.section import (
  NO_BASELINE,
  Absent,
  Row,
  Section,
  Table,
)
from jaxrl_entropy.report.sections.law_fit import NO_LAW

_TITLE = "Does the law hold under intervention?"


def build(study: studies.Study) -> Section | Absent:
  """Compares methods with the baseline at equal entropy, and at the end."""
  if study.baseline is None:
    return Absent(_TITLE, NO_BASELINE)
  name, baseline = study.baseline
  compared = {
    label: comparison
    for label, members in study.variants.items()
    if members[0].method != runs.BASELINE
    and not study.confounders(label)
    and (comparison := interventions.compare(baseline, members)).count
  }
  if not compared:
    return Absent(
      _TITLE,
      f"no other method has a seed and all other settings in common with "
      f"{name}, or {NO_LAW}",
    )
  rows: list[Row] = [
    (
      label,
      effect.count,
      str(effect.residual),
      str(effect.above_ceiling),
      str(effect.above_baseline),
    )
    for label, effect in compared.items()
  ]
  columns = (
    "variant",
    "runs",
    f"minus {name}'s law at equal entropy",
    "final, minus the law's ceiling",
    f"final, minus {name}'s",
  )
  return Section(
    "intervention",
    _TITLE,
    _sentence(name, compared),
    _residual_panels(study, name, [name, *compared]),
    Table(columns, rows),
  )


def _sentence(
  name: str, compared: Mapping[str, interventions.Intervention]
) -> str:
  """Describes each variant, or counts them where they are many."""
  several = [effect for effect in compared.values() if effect.count > 1]
  if len(compared) > panels.MAX_PER_PANEL:
    above = sum(effect.residual.mean > 0 for effect in compared.values())
    past = sum(effect.above_ceiling.mean > 0 for effect in compared.values())
    text = (
      f"Of {len(compared)} variants, {above} lie above {name}'s law at equal "
      f"entropy on average, and {past} end above its ceiling."
    )
  else:
    text = " ".join(_verdict(name, *item) for item in compared.items())
  return text if several else f"{text} One seed gives no interval."


def _verdict(name: str, label: str, effect: interventions.Intervention) -> str:
  residual, above_ceiling = effect.residual, effect.above_ceiling
  if effect.count < 2:
    where = (
      f"differs by {residual.mean:+.3f} from {name}'s law at equal entropy"
      if residual.count
      else f"has no range of entropies in common with {name}"
    )
    return (
      f"{label} {where} and ends {above_ceiling.mean:+.3f} from its ceiling."
    )
  return (
    f"At equal entropy, {label} is {_side(residual)} {name}'s law "
    f"({residual}). It ends {_side(above_ceiling)} the ceiling of that law "
    f"({above_ceiling}) and {_side(effect.above_baseline)} {name} itself "
    f"({effect.above_baseline})."
  )


def _side(estimate: stats.Estimate) -> str:
  return {1: "above", 0: "not separable from", -1: "below"}[estimate.sign]


def _residual_panels(
  study: studies.Study, name: str, labels: Sequence[str]
) -> dict[str, Figure]:
  """Draws performance minus the baseline's law."""
  colors = panels.palette(study)
  baseline = study.variants[name]
  clouds = {
    label: plots.Cloud(
      label,
      *interventions.all_residuals(baseline, study.variants[label]),
      colors[label],
    )
    for label in labels
  }
  return {
    f"residuals{suffix}": plots.scatter(
      f"Performance minus {name}'s law",
      [clouds[label] for label in members],
      x_label=law_table.ENTROPY_AXIS,
      origin="x",
      beside=list(clouds.values()),
    )
    for suffix, members in panels.groups(study, labels).items()
  }
