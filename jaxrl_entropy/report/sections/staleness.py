"""Section: updates made from each rollout, or rollouts sampled ahead."""

from collections.abc import Mapping

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, interventions, runs, stats, studies
from jaxrl_entropy.report import plots, style, wording
from jaxrl_entropy.report.measures import main_measures
from jaxrl_entropy.report.section import Absent, Members, Row, Section, Table

_TITLE = "How much is staleness?"
# Fields of the config, and the words around their values in a sentence.
_FIELDS = (
  ("rollout.num_minibatches", "update", "per rollout"),
  ("rollout.max_staleness", "step", "ahead"),
)
_Arms = Mapping[tuple[str, int], Members]


def build(study: studies.Study) -> Section | Absent:
  """Tabulates results by method and what makes tokens stale."""
  for field, *words in _FIELDS:
    arms: dict[tuple[str, int], list] = {}
    for run in study.runs:
      key = (run.method, int(run.setting(field, 0)))
      arms.setdefault(key, []).append(run)
    if len({count for _, count in arms}) > 1:
      return _section(study, arms, *words)
  return Absent(
    _TITLE, "all runs make as many updates per rollout, and sample as far ahead"
  )


def _section(
  study: studies.Study, arms: _Arms, noun: str, after: str
) -> Section:
  title = f"{noun}s {after}"
  measures = {"entropy": dynamics.final_entropy} | main_measures(study.runs)
  rows: list[Row] = [
    (
      method,
      count,
      len(members),
      *(str(stats.over_seeds(members, end)) for end in measures.values()),
    )
    for (method, count), members in sorted(arms.items())
  ]
  return Section(
    "staleness",
    f"{_TITLE} {title.capitalize()}",
    _sentence(arms, noun, after),
    _over_training(arms, noun) | _at_the_end(arms, title),
    Table(("method", title, "runs", *measures), rows),
  )


def _sentence(arms: _Arms, noun: str, after: str) -> str:
  texts = []
  for method in sorted({method for method, _ in arms}):
    counts = sorted(count for name, count in arms if name == method)
    if len(counts) > 1:
      few, many = (arms[method, count] for count in (counts[0], counts[-1]))
      ends = [stats.over_seeds(m, dynamics.final_entropy) for m in (few, many)]
      texts.append(
        f"{method} ends at {ends[0].mean:.3f} nats with "
        f"{wording.plural(counts[0], noun)} {after} and at "
        f"{ends[1].mean:.3f} with {counts[-1]}{_apart(few, many)}."
      )
  return " ".join(texts)


def _apart(few: Members, many: Members) -> str:
  """Describes the differences over seeds, if there are several."""
  entropy, accuracy = (
    interventions.differences(few, many, end)
    for end in (dynamics.final_entropy, dynamics.final_score)
  )
  if entropy.count < 2:
    return ""
  return (
    f": by seed, {entropy} apart, where {entropy.detectable:.3f} would be "
    f"found with a probability of {stats.POWER:.0%}; in accuracy {accuracy} "
    f"apart, where {accuracy.detectable:.3f} would be"
  )


def _at_the_end(arms: _Arms, title: str) -> dict[str, Figure]:
  """Draws the final entropy of each method against the count."""
  methods = sorted({method for method, _ in arms})
  colors = style.colors({method: method for method in methods})
  lines = []
  for method in methods:
    counts = sorted(count for name, count in arms if name == method)
    ends = [
      stats.over_seeds(arms[method, count], dynamics.final_entropy).mean
      for count in counts
    ]
    lines.append(
      plots.Line(method, np.array(counts), np.array(ends), colors[method])
    )
  return {
    "end": plots.lines(
      "Entropy at the end, nats/token",
      lines,
      x_label=title,
      logarithmic=min(count for _, count in arms) > 0,
    )
  }


def _over_training(arms: _Arms, noun: str) -> dict[str, Figure]:
  """Draws the baseline's entropy over the share of training, by count."""
  methods = [method for method, _ in arms]
  method = runs.BASELINE if runs.BASELINE in methods else methods[0]
  counts = sorted(count for name, count in arms if name == method)
  lines = [
    plots.Line(
      wording.plural(count, noun),
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
