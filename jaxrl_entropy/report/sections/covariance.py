"""Sections on the covariance: against the entropy's fall, and where it sits."""

from collections.abc import Sequence

from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, studies
from jaxrl_entropy.report import plots, section, style
from jaxrl_entropy.report.section import Members, Row, Section, Table

# Metrics of the mean covariance over a part of the tokens, and their names.
_SPLITS = (
  (
    "difficulty",
    "Covariance (nats) by difficulty",
    "share of right answers in the group",
    (("low", "below 1/3"), ("middle", "1/3 to 2/3"), ("high", "above 2/3")),
  ),
  (
    "outcome",
    "Covariance (nats) by outcome",
    "response",
    (("correct", "right"), ("incorrect", "wrong")),
  ),
  (
    "position",
    "Covariance (nats) by position",
    "quarter of the response",
    (("q1", "first"), ("q2", "second"), ("q3", "third"), ("q4", "last")),
  ),
)


def covariance(study: studies.Study) -> Section | None:
  """The probe's exact covariance against the entropy change it predicts."""
  found = {
    label: (members, agreement)
    for label, members in study.variants.items()
    if (agreement := dynamics.probe(members)) is not None
  }
  if not found:
    return None
  palette = style.colors(list(study.variants))
  panels = {
    f"probe_{index}": _probe_panel(label, members, palette[label])
    for index, (label, (members, _)) in enumerate(
      section.few(study, found).items()
    )
  }
  label, (_, lead) = next(iter(found.items()))
  sentence = (
    f"On {label}'s fixed states the covariance was positive on "
    f"{lead.positive:.0%} of {lead.steps} steps and agreed with the measured "
    f"change of entropy in sign on {lead.same_sign:.0%} (correlation "
    f"{lead.correlation:.2f}, slope {lead.slope:.2f}). Over all steps entropy "
    f"changed by {lead.realised:.0%} of what the covariance predicts; "
    "first-order theory, the dashed line, says 100%."
    f"{_spread([each for _, each in found.values()])}"
  )
  rows = [(k, *_row(each), each.realised) for k, (_, each) in found.items()]
  return Section(
    "covariance",
    "Covariance against the fall of entropy",
    sentence,
    panels,
    Table(("method", *_COLUMNS, _REALISED), rows),
  )


def group_wise(study: studies.Study) -> Section | None:
  """Covariances estimated from sampled tokens, over all groups or filtered."""
  rows: list[Row] = []
  parts = []
  for label, members in study.variants.items():
    for key, groups in (
      (run_files.COVARIANCE_MEAN, "all"),
      (run_files.FILTERED_COVARIANCE_MEAN, "informative"),
    ):
      if found := dynamics.group_wise(members, key):
        rows.append((label, groups, *_row(found)))
        parts.append(
          f"{found.correlation:.2f} over {groups} groups of {label} "
          f"({found.steps} windows)"
        )
  if not rows:
    return None
  sentence = (
    f"Estimated from sampled tokens, over windows of {dynamics.WINDOW} steps, "
    "minus the covariance and the change of entropy to the next window "
    f"correlate by {section.listing(parts[:2])}; a group of equal rewards "
    "counts as zero among all groups."
  )
  return Section(
    "group_wise",
    "Covariance estimated from samples",
    sentence,
    section.panels(
      study,
      run_files.COVARIANCE_MEAN,
      "mean",
      "Mean covariance, all groups (nats)",
    ),
    Table(("method", "groups", *_COLUMNS), rows),
  )


def tail(study: studies.Study) -> Section | None:
  """Mean covariance of the tokens with the highest one."""
  keys = {f"top_{p}pct_mean": f"{p}%" for p in dynamics.TAIL_PERCENTS}
  # A policy without a reward has no covariance, and no place on the axis.
  means = {
    k: values for k, values in _means(study, keys).items() if all(values)
  }
  if not means:
    return None
  label, lead = next(iter(means.items()))
  top, half = lead[0], lead[-1]
  sentence = (
    f"The top 0.02% of {label}'s tokens had a mean covariance of {top:.3g}, "
    f"{top / half:.0f} times that of the top half ({half:.3g})."
  )
  panel = plots.bars(
    "Mean covariance (nats)",
    list(keys.values()),
    section.few(study, means),
    style.colors(list(study.variants)),
    x_label="tokens of highest covariance",
    logarithmic=True,
  )
  return Section(
    "tail",
    "The tail of the covariance",
    sentence,
    {"tail": panel},
    Table(
      ("method", *(f"top {name}" for name in keys.values())),
      [(k, *values) for k, values in means.items()],
    ),
  )


def splits(study: studies.Study) -> Section | None:
  """Mean covariance by difficulty, outcome and position."""
  palette = style.colors(list(study.variants))
  panels: dict[str, Figure] = {}
  columns: dict[str, dict[str, float]] = {}
  parts = []
  for split, title, x_label, names in _SPLITS:
    keys = {f"{split}_{key}": name for key, name in names}
    means = _means(study, keys)
    if not means:
      continue
    panels[split] = plots.bars(
      title,
      list(keys.values()),
      section.few(study, means),
      palette,
      x_label=x_label,
    )
    for index, name in enumerate(keys.values()):
      columns[f"{split}: {name}"] = {k: v[index] for k, v in means.items()}
    lead, values = next(iter(means.items()))
    highest = list(keys.values())[int(np.argmax(values))]
    parts.append(f"by {split} for {highest} ({max(values):.3g} in {lead})")
  if not panels:
    return None
  labels = dict.fromkeys(k for means in columns.values() for k in means)
  rows = [(k, *(means.get(k) for means in columns.values())) for k in labels]
  return Section(
    "splits",
    "Where the covariance sits",
    f"The mean covariance is highest {section.listing(parts)}.",
    panels,
    Table(("method", *columns), rows),
  )


def let_through(study: studies.Study) -> Section | None:
  """The covariance of the tokens that a higher clip lets through."""
  key, name = (
    run_files.EXTRA_COVARIANCE,
    "Covariance of the extra tokens (nats)",
  )
  rows: list[Row] = []
  for label, members in study.variants.items():
    found = _mean(members, key)
    if np.isfinite(found):
      usual = _mean(members, run_files.FILTERED_COVARIANCE_MEAN)
      rows.append((label, found, usual, _mean(members, run_files.EXTRA_SHARE)))
  if not rows:
    return None
  first, extra, everywhere, share = rows[0]
  sentence = (
    f"The tokens that {first} lets through and a symmetric clip stops "
    f"({share:.2%} of all) had a mean covariance of {extra:.3g}, against "
    f"{everywhere:.3g} over all tokens of the same groups."
  )
  columns = ("method", "extra tokens", "all tokens", "share")
  return Section(
    "let_through",
    "What a higher clip lets through",
    sentence,
    section.panels(study, key, "extra", name),
    Table(columns, rows),
  )


_COLUMNS = ("points", "correlation", "slope", "same sign", "covariance > 0")
_REALISED = "measured over predicted"


def _row(found: dynamics.Agreement) -> Row:
  return (
    found.steps,
    found.correlation,
    found.slope,
    found.same_sign,
    found.positive,
  )


def _spread(found: Sequence[dynamics.Agreement]) -> str:
  """The range over all variants, in words; empty for one."""
  if len(found) < 2:
    return ""
  positive = [each.positive for each in found]
  realised = [each.realised for each in found]
  return (
    f" Over all {len(found)} variants the positive share goes from "
    f"{min(positive):.0%} to {max(positive):.0%} and the measured share of the "
    f"prediction from {min(realised):.0%} to {max(realised):.0%}."
  )


def _means(
  study: studies.Study, keys: dict[str, str]
) -> dict[str, list[float]]:
  """Means over steps and seeds of `cov/<key>`, for variants that have all."""
  means = {}
  for label, members in study.variants.items():
    values = [_mean(members, f"cov/{key}") for key in keys]
    if np.isfinite(values).all():
      means[label] = values
  return means


def _mean(members: Members, key: str) -> float:
  return section.over_seeds(
    members, lambda run: dynamics.mean_covariance(run, key)
  ).mean


def _probe_panel(label: str, members: Members, color: str) -> Figure:
  predicted, measured = dynamics.probe_points(members)
  ends = np.array([predicted.min(), predicted.max()])
  return plots.scatter(
    f"{label}: measured change (nats)",
    [plots.Cloud("", predicted, measured, color)],
    [plots.Line("", ends, ends, style.MUTED, style="--")],
    x_label="minus covariance: predicted change of entropy (nats)",
    origin="xy",
  )
