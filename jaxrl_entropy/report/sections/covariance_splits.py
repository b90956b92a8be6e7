"""Section: mean covariance by difficulty, outcome and position."""

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report import panels, plots, wording
from jaxrl_entropy.report.measures import covariance_means
from jaxrl_entropy.report.section import Absent, Section, Table

_TITLE = "Covariance by kind of token"
# Splits of the tokens: name, title, axis, and by metric a bar and its tokens.
_SPLITS = (
  (
    "difficulty",
    "Covariance (nats) by difficulty",
    "share of correct responses in the group",
    {
      "low": ("below 1/3", "of rarely solved problems"),
      "middle": ("1/3 to 2/3", "of problems solved about half of the time"),
      "high": ("above 2/3", "of often solved problems"),
    },
  ),
  (
    "outcome",
    "Covariance (nats) by outcome",
    "response",
    {
      "correct": ("correct", "of correct responses"),
      "incorrect": ("incorrect", "of incorrect responses"),
    },
  ),
  (
    "position",
    "Covariance (nats) by position",
    "quarter of the response",
    {
      "q1": ("first", "in the first quarter"),
      "q2": ("second", "in the second quarter"),
      "q3": ("third", "in the third quarter"),
      "q4": ("last", "in the last quarter"),
    },
  ),
)


def build(study: studies.Study) -> Section | Absent:
  """Shows which tokens have a high covariance."""
  colors = panels.palette(study)
  figures: dict[str, Figure] = {}
  columns: dict[str, dict[str, float]] = {}
  highest = []
  for split, title, x_label, groups in _SPLITS:
    bars = [name for name, _ in groups.values()]
    means = covariance_means(study, [f"{split}_{key}" for key in groups])
    if not means:
      continue
    figures[split] = plots.bars(
      title,
      bars,
      panels.representatives(study, means),
      colors,
      x_label=x_label,
    )
    for index, name in enumerate(bars):
      columns[f"{split}: {name}"] = {k: v[index] for k, v in means.items()}
    first, values = next(iter(means.items()))
    tokens = list(groups.values())[int(np.argmax(values))][1]
    highest.append(f"{tokens} ({max(values):.3g} nats for {first})")
  if not figures:
    return Absent(_TITLE, "no run records covariance by difficulty or outcome")
  labels = dict.fromkeys(k for means in columns.values() for k in means)
  rows = [(k, *(means.get(k) for means in columns.values())) for k in labels]
  return Section(
    "splits",
    _TITLE,
    "Of each split, mean covariance is highest for tokens "
    f"{wording.listing(highest)}.",
    figures,
    Table(("variant", *columns), rows),
  )
