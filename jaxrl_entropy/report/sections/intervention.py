"""The section on methods that leave the baseline's law, or do not."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from jaxrl_entropy.analysis import interventions, runs, stats, studies
from jaxrl_entropy.report import plots, section, style
from jaxrl_entropy.report.section import Row, Section, Table


def intervention(study: studies.Study) -> Section | None:
  """Each method's points over the baseline's curve, and its ceiling."""
  if study.baseline is None:
    return None
  name, baseline = study.baseline
  found = {
    label: compared
    for label, members in study.variants.items()
    if members[0].method != runs.BASELINE
    and (compared := interventions.compare(baseline, members)).count
  }
  if not found:
    return None
  rows: list[Row] = [
    (
      label,
      each.count,
      str(each.residual),
      str(each.above_ceiling),
      str(each.above_baseline),
    )
    for label, each in found.items()
  ]
  columns = (
    "method",
    "runs",
    f"over {name}'s law at equal entropy",
    "final accuracy over its ceiling",
    f"final accuracy over {name}'s",
  )
  return Section(
    "intervention",
    "Does the law hold under intervention?",
    _verdicts(name, found),
    _residual_panels(study, name, [name, *found]),
    Table(columns, rows),
  )


def _verdicts(
  name: str, found: Mapping[str, interventions.Intervention]
) -> str:
  """Each variant's verdict; of many, how many there are of each."""
  several = [each for each in found.values() if each.count > 1]
  if len(found) > section.FEW:
    above = sum(each.residual.mean > 0 for each in found.values())
    past = sum(each.above_ceiling.mean > 0 for each in found.values())
    text = (
      f"Of {len(found)} variants, {above} lie above {name}'s law at equal "
      f"entropy on average and {past} end above its ceiling."
    )
  else:
    text = " ".join(_verdict(name, *each) for each in found.items())
  return text if several else f"{text} One seed gives no interval."


def _verdict(name: str, label: str, found: interventions.Intervention) -> str:
  residual, above_ceiling = found.residual, found.above_ceiling
  if found.count < 2:
    where = (
      f"lies {residual.mean:+.3f} from {name}'s law at equal entropy"
      if residual.count
      else f"has no entropy in common with {name}"
    )
    return (
      f"{label} {where} and ends {above_ceiling.mean:+.3f} from its ceiling."
    )
  return (
    f"At equal entropy {label} is {_side(residual)} {name}'s law "
    f"({residual}); it ends {_side(above_ceiling)} the predicted ceiling "
    f"({above_ceiling}) and {_side(found.above_baseline)} {name} itself "
    f"({found.above_baseline})."
  )


def _side(estimate: stats.Estimate) -> str:
  return {1: "above", 0: "not separable from", -1: "below"}[estimate.sign]


def _residual_panels(
  study: studies.Study, name: str, labels: Sequence[str]
) -> dict[str, Figure]:
  """What is left over the baseline's law."""
  palette = style.colors(list(study.variants))
  baseline = study.variants[name]
  clouds = {
    label: plots.Cloud(
      label,
      *interventions.all_residuals(baseline, study.variants[label]),
      palette[label],
    )
    for label in labels
  }
  return {
    f"residuals{group}": plots.scatter(
      f"Accuracy over {name}'s law",
      [clouds[label] for label in found],
      x_label="entropy (nats/token)",
      origin="x",
      beside=list(clouds.values()),
    )
    for group, found in section.groups(study, labels).items()
  }
