"""Sections on what training did: curves by method, collapse, results."""

import math

from jaxrl_entropy.analysis import dynamics, plots, runs, section
from jaxrl_entropy.analysis.section import Section, Table

_CURVES = (
  (runs.ENTROPY, "entropy", "Entropy (nats/token)", 0.0),
  (runs.HELD_OUT, "held_out", "Held-out accuracy", None),
  ("response/length", "length", "Response length (tokens)", None),
  ("select/share", "selected", "Selected tokens (share)", 0.0),
  (runs.TRAIN_ACCURACY, "training", "Accuracy on training prompts", None),
)
_EVAL = "eval/held_out/"


def methods(study: runs.Study) -> Section:
  """Entropy, accuracy, length and selected share of every variant."""
  panels = {}
  for key, name, title, floor in _CURVES:
    if lines := section.curves(study, key):
      panels[name] = plots.lines(title, lines, floor=floor)
  rows, parts = [], []
  for label, members in study.variants.items():
    start, end = (_mean(members, runs.ENTROPY, f) for f in _ENDS)
    before, after = (_mean_accuracy(members, f) for f in _ENDS)
    length = _mean(members, "response/length", dynamics.final)
    selected = _mean(members, "select/share", dynamics.final)
    rows.append(
      (label, len(members), start, end, before, after, length, selected)
    )
    parts.append(f"{label} from {start:.3f} to {end:.3f}")
  columns = (
    "method",
    "runs",
    "entropy, start",
    "entropy, end",
    "accuracy, start",
    "accuracy, end",
    "length, end",
    "selected share, end",
  )
  sentence = f"Entropy went, in nats a token, for {section.listing(parts)}."
  return Section(
    "methods", "Training, by method", sentence, panels, Table(columns, rows)
  )


def collapse(study: runs.Study) -> Section | None:
  """The share of drop and gain that falls in the first twelfth of training."""
  if study.baseline is None:
    return None
  label, members = study.baseline
  found = [c for run in members if (c := dynamics.collapse(run)) is not None]
  if not found:
    return None
  entropy = section.mean_over(members, lambda run: _share(run, "entropy_share"))
  gain = section.mean_over(members, lambda run: _share(run, "gain_share"))
  color = plots.colors([label])[label]
  key = members[0].accuracy_key
  panels = {
    name: plots.lines(title, [line])
    for name, title, line in (
      (
        "entropy",
        "Entropy (nats/token)",
        section.curve("", members, runs.ENTROPY, color),
      ),
      ("accuracy", "Accuracy", section.curve("", members, key, color)),
    )
    if line is not None
  }
  sentence = (
    f"The first twelfth of {label}'s training took {entropy:.0%} of its whole "
    f"change of entropy and {gain:.0%} of its whole gain of accuracy "
    "(the paper reports 73 % and 76 %)."
  )
  rows = [("entropy drop", entropy, 0.73), ("accuracy gain", gain, 0.76)]
  table = Table(("share in the first 1/12", "this study", "paper"), rows)
  return Section("collapse", "Entropy collapse", sentence, panels, table)


def final_table(study: runs.Study) -> Section | None:
  """Every held-out measure at the end of training."""
  measures = sorted(
    {
      key
      for run in study.runs
      for key in run.metrics
      if key.startswith(_EVAL) and len(run.series(key))
    }
  )
  if not measures:
    return None
  rows = []
  for label, members in study.variants.items():
    values = [_mean(members, key, _last) for key in measures]
    rows.append((label, len(members), *values))
  best = max(
    (row for row in rows if not math.isnan(row[2])), key=lambda row: row[2]
  )
  names = [key.removeprefix(_EVAL) for key in measures]
  sentence = (
    f"At the last evaluation {best[0]} had the highest {names[0]} "
    f"({best[2]:.3f}); the order of methods is as sure as their seeds are many."
  )
  table = Table(("method", "runs", *names), rows)
  return Section("final", "Held-out results at the end", sentence, {}, table)


_ENDS = (dynamics.first, dynamics.final)


def _last(series: runs.Series) -> float:
  return float(series.values[-1]) if len(series) else math.nan


def _mean(members, key, measure) -> float:
  return section.mean_over(members, lambda run: measure(run.series(key)))


def _mean_accuracy(members, measure) -> float:
  return section.mean_over(
    members, lambda run: measure(run.series(run.accuracy_key))
  )


def _share(run: runs.Run, name: str) -> float:
  found = dynamics.collapse(run)
  return math.nan if found is None else getattr(found, name)
