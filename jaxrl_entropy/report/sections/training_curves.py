"""Section: metrics over training, by variant."""

from collections.abc import Mapping
import functools

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, stats, studies
from jaxrl_entropy.report import panels, wording
from jaxrl_entropy.report.section import Members, Row, Section, without_empty

_CURVES = (
  (run_files.ENTROPY, "entropy", "Entropy (nats/token)"),
  (run_files.HELD_OUT_ACCURACY, "held_out", "Held-out accuracy"),
  (run_files.TRAIN_ACCURACY, "training", "Accuracy on training prompts"),
  (run_files.REWARD_MEAN, "reward", "Mean reward"),
  (run_files.RESPONSE_LENGTH, "length", "Response length (tokens)"),
  (run_files.KL_OLD, "kl", "KL to the sampling policy (nats)"),
  (run_files.CLIP_SHARE, "clipped", "Clipped tokens (share)"),
  (run_files.GRADIENT_NORM, "gradient", "Gradient norm"),
  (run_files.SELECTED_SHARE, "selected", "Selected tokens (share)"),
  (run_files.COEFFICIENT, "coefficient", "Controlled coefficient"),
)
_FINAL = {
  "mean reward, final": run_files.REWARD_MEAN,
  "length, final": run_files.RESPONSE_LENGTH,
  "KL, final": run_files.KL_OLD,
  "clipped share, final": run_files.CLIP_SHARE,
  "gradient norm, final": run_files.GRADIENT_NORM,
  "selected share, final": run_files.SELECTED_SHARE,
}


def build(study: studies.Study) -> Section:
  """Shows entropy, performance and update statistics of every variant."""
  hidden = set() if _rewards_differ(study) else {run_files.REWARD_MEAN}
  figures = {
    panel: figure
    for key, name, title in _CURVES
    if key not in hidden
    for panel, figure in panels.curves(study, key, name, title).items()
  }
  # The mean reward is the score of graded rewards, whose columns come first.
  shown = hidden | {run.score_key for run in study.runs}
  final = {name: key for name, key in _FINAL.items() if key not in shown}
  rows: list[Row] = []
  entropies = {}
  for label, members in study.variants.items():
    entropies[label] = _first_and_final(members, run_files.ENTROPY)
    score = _first_and_final(members, members[0].score_key)
    ends = (_final(members, key) for key in final.values())
    rows.append((label, len(members), *entropies[label], *score, *ends))
  columns = (
    "variant",
    "runs",
    "entropy, first",
    "entropy, final",
    f"{study.score_name}, first",
    f"{study.score_name}, final",
    *final,
  )
  return Section(
    "methods",
    "Training curves",
    _sentence(study, entropies),
    figures,
    without_empty(columns, rows),
  )


def _rewards_differ(study: studies.Study) -> bool:
  """Tells whether mean reward is not just accuracy: graded, or shaped."""
  tables = [
    run.table(run_files.REWARD_MEAN, run_files.TRAIN_ACCURACY)
    for run in study.runs
  ]
  return any(
    not np.allclose(table[:, 0], table[:, 1], atol=1e-3) for table in tables
  )


def _sentence(
  study: studies.Study, entropies: Mapping[str, tuple[float, float]]
) -> str:
  text = _entropy_sentence(entropies)
  if study.runs[0].score_key != run_files.REWARD_MEAN:
    return text
  return (
    f"{text} No response was ever fully correct and rewards vary, so they are "
    "graded: performance is the mean reward."
  )


def _entropy_sentence(ends: Mapping[str, tuple[float, float]]) -> str:
  if len(ends) <= panels.MAX_PER_PANEL:
    texts = [f"from {a:.3f} to {b:.3f} for {k}" for k, (a, b) in ends.items()]
    return f"Entropy went, in nats per token, {wording.listing(texts)}."
  low = min(ends, key=lambda label: ends[label][1])
  high = max(ends, key=lambda label: ends[label][1])
  return (
    f"Of {len(ends)} variants, entropy ended lowest for {low}, at "
    f"{ends[low][1]:.3f} nats per token, and highest for {high}, at "
    f"{ends[high][1]:.3f}."
  )


def _first_and_final(members: Members, key: str) -> tuple[float, float]:
  return (
    stats.over_seeds(members, lambda run: dynamics.first(run.series(key))).mean,
    _final(members, key),
  )


def _final(members: Members, key: str) -> float:
  return stats.over_seeds(
    members, functools.partial(dynamics.final_value, key=key)
  ).mean
