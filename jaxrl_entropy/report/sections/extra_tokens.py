"""Section: covariance of the tokens that clip-higher adds to the update."""

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report import panels
from jaxrl_entropy.report.measures import mean_over_steps
from jaxrl_entropy.report.section import (
  Absent,
  Section,
  Table,
  no_metric,
)

_TITLE = "Tokens that a higher clip adds"


def build(study: studies.Study) -> Section | Absent:
  """Compares the added tokens' covariance with that of all tokens."""
  key = run_files.EXTRA_COVARIANCE
  rows: list[tuple[str, float, float, float]] = []
  for label, members in study.variants.items():
    added = mean_over_steps(members, key)
    if np.isfinite(added):
      usual = mean_over_steps(members, run_files.FILTERED_COVARIANCE_MEAN)
      share = mean_over_steps(members, run_files.EXTRA_SHARE)
      rows.append((label, added, usual, share))
  if not rows:
    return Absent(_TITLE, no_metric(key))
  label, added, usual, share = rows[0]
  sentence = (
    f"The tokens that {label} updates and a symmetric clip would stop "
    f"({share:.2%} of all) have a mean covariance of {added:.3g} nats, "
    f"compared with {usual:.3g} over all tokens of the same groups."
  )
  columns = ("variant", "added tokens", "all tokens", "share")
  title = "Covariance of the added tokens (nats)"
  return Section(
    "let_through",
    _TITLE,
    sentence,
    panels.curves(study, key, "extra", title),
    Table(columns, rows),
  )
