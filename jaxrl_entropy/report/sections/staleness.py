"""Section: the number of updates made from each rollout."""

from collections.abc import Mapping

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, interventions, runs, stats, studies
from jaxrl_entropy.report import plots, style, wording
from jaxrl_entropy.report.measures import main_measures
from jaxrl_entropy.report.section import Absent, Members, Row, Section, Table

_TITLE = "How much is staleness? Updates per rollout"
_FIELD = "rollout.num_minibatches"
_Arms = Mapping[tuple[str, int], Members]


def build(study: studies.Study) -> Section | Absent:
  """Tabulates results by method and number of updates per rollout."""
  arms: dict[tuple[str, int], list] = {}
  for run in study.runs:
    key = (run.method, int(run.setting(_FIELD, 0)))
    arms.setdefault(key, []).append(run)
  if len({updates for _, updates in arms}) < 2:
    return Absent(_TITLE, "all runs make as many updates per rollout")
  measures = {"entropy": dynamics.final_entropy} | main_measures(study.runs)
  rows: list[Row] = [
    (
      method,
      updates,
      len(members),
      *(str(stats.over_seeds(members, end)) for end in measures.values()),
    )
    for (method, updates), members in sorted(arms.items())
  ]
  return Section(
    "staleness",
    _TITLE,
    _sentence(arms),
    _panel(arms),
    Table(("method", "updates per rollout", "runs", *measures), rows),
  )


def _sentence(arms: _Arms) -> str:
  texts = []
  for method in sorted({method for method, _ in arms}):
    counts = sorted(updates for name, updates in arms if name == method)
    if len(counts) > 1:
      few, many = (arms[method, count] for count in (counts[0], counts[-1]))
      ends = [stats.over_seeds(m, dynamics.final_entropy) for m in (few, many)]
      texts.append(
        f"{method} ends at {ends[0].mean:.3f} nats with "
        f"{wording.plural(counts[0], 'update')} per rollout and at "
        f"{ends[1].mean:.3f} with {counts[-1]}{_apart(many, few)}."
      )
  return " ".join(texts)


def _apart(many: Members, few: Members) -> str:
  """Describes the difference over seeds, if there are several."""
  difference = interventions.differences(many, few, dynamics.final_entropy)
  if difference.count < 2:
    return ""
  return (
    f": by seed, {difference} apart, where {difference.detectable:.3f} would "
    f"be found with a probability of {stats.POWER:.0%}"
  )


def _panel(arms: _Arms) -> dict[str, Figure]:
  """Draws entropy over the share of training, for each number of updates."""
  methods = [method for method, _ in arms]
  method = runs.BASELINE if runs.BASELINE in methods else methods[0]
  counts = sorted(updates for name, updates in arms if name == method)
  lines = [
    plots.Line(
      wording.plural(count, "update"),
      *_entropy(arms[method, count]),
      style.shade(style.ACCENT, index, len(counts)),
    )
    for index, count in enumerate(counts)
  ]
  title = f"Entropy of {method}, nats/token"
  return {"entropy": plots.lines(title, lines, x_label="share of training")}


def _entropy(members: Members) -> tuple[np.ndarray, np.ndarray]:
  """Returns 50 windows of a run, as shares of it, and their mean entropy."""
  edges = np.linspace(0, 1, 51)
  centers = (edges[1:] + edges[:-1]) / 2
  curves = []
  for run in members:
    series = run.series(run_files.ENTROPY)
    share = series.steps / series.steps[-1]
    curves.append(np.interp(centers, share, series.values))
  return centers, np.mean(curves, axis=0)
