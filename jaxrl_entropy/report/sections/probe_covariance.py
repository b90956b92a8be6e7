"""Section: exact covariance on fixed states against the entropy change."""

from collections.abc import Sequence

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, studies
from jaxrl_entropy.report import panels, plots, style, wording
from jaxrl_entropy.report.section import (
  Absent,
  Members,
  Row,
  Section,
  Table,
  no_metric,
)

_TITLE = "Covariance against the fall of entropy"

AGREEMENT_COLUMNS = (
  *("points", "correlation", "slope", "same sign", "covariance > 0"),
)


def build(study: studies.Study) -> Section | Absent:
  """Compares the covariance on the probe's states with the entropy change."""
  agreements = {
    label: (members, agreement)
    for label, members in study.variants.items()
    if (agreement := dynamics.probe(members)) is not None
  }
  if not agreements:
    return Absent(_TITLE, no_metric(run_files.PROBE_MINUS_COVARIANCE))
  colors = panels.palette(study)
  figures = {
    f"probe_{index}": _panel(label, members, colors[label])
    for index, (label, (members, _)) in enumerate(
      panels.representatives(study, agreements).items()
    )
  }
  label, (_, first) = next(iter(agreements.items()))
  every = [agreement for _, agreement in agreements.values()]
  rows = [
    (k, *agreement_row(agreement), agreement.realized)
    for k, (_, agreement) in agreements.items()
  ]
  columns = ("variant", *AGREEMENT_COLUMNS, "measured / predicted")
  return Section(
    "covariance",
    _TITLE,
    _sentence(label, first, every),
    figures,
    Table(columns, rows),
  )


def agreement_row(agreement: dynamics.Agreement) -> Row:
  """Returns the `AGREEMENT_COLUMNS`."""
  return (
    agreement.steps,
    agreement.correlation,
    agreement.slope,
    agreement.same_sign,
    agreement.positive,
  )


def _sentence(
  label: str, first: dynamics.Agreement, every: Sequence[dynamics.Agreement]
) -> str:
  text = (
    f"On {label}'s fixed states, the covariance was positive on "
    f"{first.positive:.0%} of {first.steps} steps. Its sign agreed with the "
    f"measured change of entropy on {first.same_sign:.0%} of them (correlation "
    f"{first.correlation:.2f}, slope {first.slope:.2f}). Summed over all "
    f"steps, entropy changed by {first.realized:.0%} of the first-order "
    "prediction (dashed: 100%)."
  )
  if len(every) < 2:
    return text
  positive = wording.value_range(
    [agreement.positive for agreement in every], ".0%"
  )
  realized = wording.value_range(
    [agreement.realized for agreement in every], ".0%"
  )
  return (
    f"{text} Over all {len(every)} variants, the share of positive steps is "
    f"{positive}, and the measured change is {realized} of the prediction."
  )


def _panel(label: str, members: Members, color: str) -> Figure:
  predicted, measured = dynamics.probe_points(members)
  ends = np.array([predicted.min(), predicted.max()])
  return plots.scatter(
    f"{label}: measured change (nats)",
    [plots.Cloud("", predicted, measured, color)],
    [plots.Line("", ends, ends, style.MUTED, style="--")],
    x_label="minus covariance: predicted change of entropy (nats)",
    origin="xy",
  )
