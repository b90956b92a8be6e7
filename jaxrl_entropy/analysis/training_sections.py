"""Sections on what training did: curves by method, collapse, results."""

from collections.abc import Callable
import functools
import re

from jaxrl_entropy.analysis import (
  dynamics,
  plots,
  runs,
  section,
  studies,
  style,
)
from jaxrl_entropy.analysis.section import Members, Row, Section, Table

_PAPER_ENTROPY_SHARE, _PAPER_GAIN_SHARE = 0.73, 0.76
_CURVES = (
  (runs.ENTROPY, "entropy", "Entropy (nats/token)"),
  (runs.HELD_OUT, "held_out", "Held-out accuracy"),
  (runs.TRAIN_ACCURACY, "training", "Accuracy on training prompts"),
  ("response/length", "length", "Response length (tokens)"),
  ("select/share", "selected", "Selected tokens (share)"),
)
_MEASURE = re.compile(r"eval/held_out/(accuracy|greedy|pass@\d+)")


def methods(study: studies.Study) -> Section:
  """Entropy, accuracy, length and selected share of every variant."""
  panels = {
    name: plots.lines(title, lines)
    for key, name, title in _CURVES
    if (lines := section.curves(study, key))
  }
  rows: list[Row] = []
  parts = []
  for label, members in study.variants.items():
    entropy = _first_and_final(members, lambda run: runs.ENTROPY)
    accuracy = _first_and_final(members, lambda run: run.accuracy_key)
    length, selected = (
      _mean(members, functools.partial(_final, key=key))
      for key in ("response/length", "select/share")
    )
    rows.append((label, len(members), *entropy, *accuracy, length, selected))
    parts.append(f"{label} from {entropy[0]:.3f} to {entropy[1]:.3f}")
  columns = (
    "method",
    "runs",
    "entropy, first",
    "entropy, final",
    "accuracy, first",
    "accuracy, final",
    "length, final",
    "selected share, final",
  )
  sentence = f"Entropy went, in nats a token, for {section.listing(parts)}."
  return Section(
    "methods", "Training, by method", sentence, panels, Table(columns, rows)
  )


def collapse(study: studies.Study) -> Section | None:
  """The share of drop and gain that falls in the first twelfth of training."""
  if study.baseline is None:
    return None
  label, members = study.baseline
  found = [c for run in members if (c := dynamics.collapse(run)) is not None]
  if not found:
    return None
  entropy = sum(c.entropy_share for c in found) / len(found)
  gain = sum(c.gain_share for c in found) / len(found)
  color = style.colors([label])[label]
  panels = {}
  for name, title, key in (
    ("entropy", "Entropy (nats/token)", runs.ENTROPY),
    ("accuracy", "Accuracy", members[0].accuracy_key),
  ):
    line = section.curve("", members, key, color)
    if line is not None:
      until = line.x[0] + found[0].fraction * (line.x[-1] - line.x[0])
      panels[name] = plots.lines(title, [line], shaded=(line.x[0], until))
  sentence = (
    f"The first twelfth of {label}'s training (shaded) took {entropy:.0%} of "
    f"its whole change of entropy and {gain:.0%} of its whole gain of accuracy "
    f"(the paper reports {_PAPER_ENTROPY_SHARE:.0%} and "
    f"{_PAPER_GAIN_SHARE:.0%})."
  )
  rows = [
    ("entropy drop", entropy, _PAPER_ENTROPY_SHARE),
    ("accuracy gain", gain, _PAPER_GAIN_SHARE),
  ]
  table = Table(("share in the first 1/12", "this study", "paper"), rows)
  return Section("collapse", "Entropy collapse", sentence, panels, table)


def results(study: studies.Study) -> Section | None:
  """Every held-out measure at the end of training, over seeds."""
  measures = sorted(
    {
      key
      for run in study.runs
      for key in run.metrics
      if _MEASURE.fullmatch(key)
    }
  )
  if not measures:
    return None
  ends = [functools.partial(_final, key=key) for key in measures]
  rows: list[Row] = [
    (
      label,
      len(members),
      *(str(section.over_seeds(members, end)) for end in ends),
    )
    for label, members in study.variants.items()
  ]
  scores = {
    label: _mean(members, dynamics.final_score)
    for label, members in study.variants.items()
  }
  best = max(scores, key=lambda label: scores[label])
  sentence = f"{best} ended at an accuracy of {scores[best]:.3f}"
  if len(scores) > 1:
    sentence += (
      ", the highest seen; an order of methods whose intervals overlap is not "
      "established"
    )
  names = [key.rpartition("/")[2] for key in measures]
  table = Table(("method", "runs", *names), rows)
  return Section(
    "results", "Held-out results at the end", f"{sentence}.", {}, table
  )


def _final(run: runs.Run, key: str) -> float:
  return dynamics.final(run.series(key))


def _mean(members: Members, measure: Callable[[runs.Run], float]) -> float:
  return section.over_seeds(members, measure).mean


def _first_and_final(
  members: Members, key: Callable[[runs.Run], str]
) -> tuple[float, float]:
  return (
    _mean(members, lambda run: dynamics.first(run.series(key(run)))),
    _mean(members, lambda run: dynamics.final(run.series(key(run)))),
  )
