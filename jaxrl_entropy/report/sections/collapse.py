"""Section: the share of entropy drop and accuracy gain early in training."""

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, studies
from jaxrl_entropy.report import panels, plots
from jaxrl_entropy.report.section import NO_BASELINE, Absent, Section, Table

_TITLE = "Entropy collapse"
_PAPER_ENTROPY_SHARE, _PAPER_GAIN_SHARE = 0.73, 0.76


def build(study: studies.Study) -> Section | Absent:
  """Compares the first twelfth of the baseline's training with the paper's."""
  if study.baseline is None:
    return Absent(_TITLE, NO_BASELINE)
  label, members = study.baseline
  collapses = [c for run in members if (c := dynamics.collapse(run))]
  if not collapses:
    return Absent(
      _TITLE,
      f"{label} is too short, or its entropy or {study.score_name} has the "
      "same value at both ends",
    )
  entropy = float(np.mean([c.entropy_share for c in collapses]))
  gain = float(np.mean([c.gain_share for c in collapses]))
  color = panels.palette(study)[label]
  figures = {}
  for name, title, key in (
    ("entropy", "Entropy (nats/token)", run_files.ENTROPY),
    ("accuracy", study.score_name.capitalize(), members[0].score_key),
  ):
    line = panels.curve("", members, key, color)
    if line is not None:
      until = line.x[0] + collapses[0].fraction * (line.x[-1] - line.x[0])
      figures[name] = plots.lines(title, [line], shaded=(line.x[0], until))
  sentence = (
    f"The first twelfth of {label}'s training (shaded) accounts for "
    f"{entropy:.0%} of its whole change of entropy and {gain:.0%} of its whole "
    f"change of {study.score_name} (the paper reports "
    f"{_PAPER_ENTROPY_SHARE:.0%} and {_PAPER_GAIN_SHARE:.0%})."
  )
  rows = [
    ("entropy drop", entropy, _PAPER_ENTROPY_SHARE),
    ("accuracy gain", gain, _PAPER_GAIN_SHARE),
  ]
  table = Table(("share in the first 1/12", "this study", "paper"), rows)
  return Section("collapse", _TITLE, sentence, figures, table)
