"""Sections on what training did: curves by method, collapse, results."""

from collections.abc import Callable, Mapping, Sequence
import functools
import re

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, interventions, runs, studies
from jaxrl_entropy.report import plots, section, style
from jaxrl_entropy.report.section import Members, Row, Section, Table

_PAPER_ENTROPY_SHARE, _PAPER_GAIN_SHARE = 0.73, 0.76
_CURVES = (
  (run_files.ENTROPY, "entropy", "Entropy (nats/token)"),
  (run_files.HELD_OUT_ACCURACY, "held_out", "Held-out accuracy"),
  (run_files.TRAIN_ACCURACY, "training", "Accuracy on training prompts"),
  (run_files.RESPONSE_LENGTH, "length", "Response length (tokens)"),
  (run_files.SELECTED_SHARE, "selected", "Selected tokens (share)"),
  (run_files.CONTROL + "coefficient", "coefficient", "Controlled coefficient"),
)
# pass@1 is the accuracy.
_MEASURE = re.compile(r"eval/held_out/(accuracy|greedy|pass@(?!1$)\d+)")


def methods(study: studies.Study) -> Section:
  """Entropy, accuracy, length and selected share of every variant."""
  panels = {
    panel: figure
    for key, name, title in _CURVES
    for panel, figure in section.panels(study, key, name, title).items()
  }
  rows: list[Row] = []
  ends = {}
  for label, members in study.variants.items():
    entropy = _first_and_final(members, lambda run: run_files.ENTROPY)
    accuracy = _first_and_final(members, lambda run: run.accuracy_key)
    length, selected = (
      _mean(members, functools.partial(dynamics.final_value, key=key))
      for key in (run_files.RESPONSE_LENGTH, run_files.SELECTED_SHARE)
    )
    rows.append((label, len(members), *entropy, *accuracy, length, selected))
    ends[label] = entropy
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
  table = section.without_empty(columns, rows)
  return Section(
    "methods", "Training, by method", _entropy_sentence(ends), panels, table
  )


def _entropy_sentence(ends: Mapping[str, tuple[float, float]]) -> str:
  """Where entropy began and ended, by variant."""
  if len(ends) <= section.FEW:
    parts = [f"{k} from {a:.3f} to {b:.3f}" for k, (a, b) in ends.items()]
    return f"Entropy went, in nats a token, for {section.listing(parts)}."
  low = min(ends, key=lambda label: ends[label][1])
  high = max(ends, key=lambda label: ends[label][1])
  return (
    f"Of {len(ends)} variants, entropy ended lowest for {low}, at "
    f"{ends[low][1]:.3f} nats a token, and highest for {high}, at "
    f"{ends[high][1]:.3f}."
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
    ("entropy", "Entropy (nats/token)", run_files.ENTROPY),
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
  measures = final_measures(study)
  if not measures:
    return None
  rows: list[Row] = [
    (
      label,
      len(members),
      *(str(section.over_seeds(members, end)) for end in measures.values()),
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
  return Section(
    "results",
    "Held-out results at the end",
    f"{sentence}.",
    _passes_panel(study, measures),
    Table(("method", "runs", *measures), rows),
  )


def differences(study: studies.Study) -> Section | None:
  """The same over the baseline's, seed by seed."""
  measures = final_measures(study)
  if study.baseline is None or not measures:
    return None
  name, baseline = study.baseline
  rows: list[Row] = []
  signs: dict[int, list[str]] = {1: [], -1: [], 0: []}
  for label, members in study.variants.items():
    if members[0].method == runs.BASELINE:
      continue
    found = {
      measure: interventions.differences(baseline, members, end)
      for measure, end in measures.items()
    }
    rows.append((label, len(members), *map(str, found.values())))
    for measure, each in found.items():
      if each.count > 1:
        signs[each.sign].append(f"{label} in {measure} ({each})")
  if not rows:
    return None
  return Section(
    "differences",
    f"Final results over {name}'s, by seed",
    _separable(name, signs),
    {},
    Table(("method", "runs", *measures), rows),
  )


def _separable(name: str, signs: Mapping[int, Sequence[str]]) -> str:
  if not any(signs.values()):
    return "With one seed a method, no difference has an interval."
  above, below = section.listing(signs[1]), section.listing(signs[-1])
  return (
    f"Ended above {name}, the interval without 0: {above or 'none'}. Below: "
    f"{below or 'none'}. Not separable: {len(signs[0])} of "
    f"{sum(map(len, signs.values()))} comparisons; one in twenty would seem "
    "separable by chance."
  )


def final_measures(
  study: studies.Study,
) -> dict[str, Callable[[runs.Run], float]]:
  """What is known of the end of held-out evaluation, by the measure's name."""
  keys = {
    key for run in study.runs for key in run.metrics if _MEASURE.fullmatch(key)
  }
  return {
    key.rpartition("/")[2]: functools.partial(dynamics.final_value, key=key)
    for key in sorted(keys, key=_order)
  }


def _order(key: str) -> tuple[str, int]:
  """Accuracy, greedy, then pass@k by k."""
  name, _, tries = key.partition("@")
  return name, int(tries or 0)


def _passes_panel(
  study: studies.Study, measures: Mapping[str, Callable[[runs.Run], float]]
) -> Mapping[str, Figure]:
  """pass@k against k, if any k is above 1."""
  passes = {
    int(name.removeprefix("pass@")): end
    for name, end in measures.items()
    if name.startswith("pass@")
  }
  if not passes or "accuracy" not in measures:
    return {}
  passes = {1: measures["accuracy"], **passes}
  palette = style.colors(list(study.variants))
  lines = {
    label: plots.Line(
      label,
      np.array(list(passes)),
      np.array([_mean(members, end) for end in passes.values()]),
      palette[label],
    )
    for label, members in study.variants.items()
  }
  return {
    f"passes{group}": plots.lines(
      "One of k samples is right",
      [lines[label] for label in labels],
      x_label="k",
      beside=list(lines.values()),
    )
    for group, labels in section.groups(study, lines).items()
  }


def _mean(members: Members, measure: Callable[[runs.Run], float]) -> float:
  return section.over_seeds(members, measure).mean


def _first_and_final(
  members: Members, key: Callable[[runs.Run], str]
) -> tuple[float, float]:
  return (
    _mean(members, lambda run: dynamics.first(run.series(key(run)))),
    _mean(members, lambda run: dynamics.final(run.series(key(run)))),
  )
