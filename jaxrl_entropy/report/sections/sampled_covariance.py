"""Section: covariance estimated from sampled tokens."""

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, studies
from jaxrl_entropy.report import panels, wording
from jaxrl_entropy.report.section import (
  Absent,
  Row,
  Section,
  Table,
  no_metric,
)
from jaxrl_entropy.report.sections.probe_covariance import (
  AGREEMENT_COLUMNS,
  agreement_row,
)

_TITLE = "Covariance estimated from samples"
_GROUPS = {
  "all": run_files.COVARIANCE_MEAN,
  "informative": run_files.FILTERED_COVARIANCE_MEAN,
}


def build(study: studies.Study) -> Section | Absent:
  """Compares covariances of sampled tokens with the entropy change."""
  rows: list[Row] = []
  texts = []
  for label, members in study.variants.items():
    for groups, key in _GROUPS.items():
      if agreement := dynamics.group_wise(members, key):
        rows.append((label, groups, *agreement_row(agreement)))
        texts.append(
          f"{agreement.correlation:.2f} over {groups} groups of {label} "
          f"({agreement.steps} windows)"
        )
  if not rows:
    return Absent(
      _TITLE,
      f"{no_metric(*_GROUPS.values())}, or there are fewer than four windows "
      f"of {dynamics.WINDOW} steps",
    )
  sentence = (
    f"Averaged over windows of {dynamics.WINDOW} steps, minus the covariance "
    "correlates with the change of entropy to the next window by "
    f"{wording.listing(texts[:2])}. Among all groups, one of equal rewards "
    "counts with covariance 0."
  )
  return Section(
    "group_wise",
    _TITLE,
    sentence,
    panels.curves(
      study,
      run_files.COVARIANCE_MEAN,
      "mean",
      "Mean covariance, all groups (nats)",
    ),
    Table(("variant", "groups", *AGREEMENT_COLUMNS), rows),
  )
