"""Sections on the covariance: against the entropy's fall, and its tail."""

import numpy as np

from jaxrl_entropy.analysis import dynamics, plots, runs, section
from jaxrl_entropy.analysis.section import Section, Table


def covariance(study: runs.Study) -> Section | None:
  """The probe's exact covariance against the entropy change it predicts."""
  found = {
    label: (members[0], agreement)
    for label, members in study.variants.items()
    if (agreement := dynamics.probe(members[0])) is not None
  }
  if not found:
    return None
  palette = plots.colors(list(study.variants))
  panels, rows = {}, []
  for index, (label, (run, agreement)) in enumerate(found.items()):
    panels[f"probe_{index}"] = _probe_panel(label, run, palette[label])
    rows.append(
      (
        label,
        agreement.steps,
        agreement.correlation,
        agreement.slope,
        agreement.same_sign,
        agreement.positive,
      )
    )
  label, (_, lead) = next(iter(found.items()))
  sentence = (
    f"On {label}'s fixed states the covariance was positive on "
    f"{lead.positive:.0%} of {lead.steps} steps and agreed with the measured "
    f"change of entropy in sign on {lead.same_sign:.0%} (correlation "
    f"{lead.correlation:.2f}, slope {lead.slope:.2f}; the first-order theory "
    "says 1)."
  )
  columns = (
    "method",
    "steps",
    "correlation",
    "slope",
    "same sign",
    "covariance > 0",
  )
  return Section(
    "covariance",
    "Covariance against the fall of entropy",
    sentence,
    panels,
    Table(columns, rows),
  )


def group_wise(study: runs.Study) -> Section | None:
  """Covariances estimated from sampled tokens, over all groups or filtered."""
  rows = []
  for label, members in study.variants.items():
    for key, groups in (
      ("cov/mean", "all"),
      ("cov/filtered_mean", "informative"),
    ):
      agreement = dynamics.group_wise(members[0], key)
      if agreement is not None:
        rows.append(
          (
            label,
            groups,
            agreement.correlation,
            agreement.same_sign,
            agreement.positive,
          )
        )
  lines = section.curves(study, "cov/mean")
  if not rows or not lines:
    return None
  label, _, correlation, _, positive = rows[0]
  sentence = (
    f"Over all sampled tokens of {label}, groups of equal rewards counted as "
    f"zero, the covariance was positive on {positive:.0%} of steps; its "
    "correlation with the next step's change of entropy was "
    f"{-correlation:.2f} (a fall follows a positive covariance where this is "
    "negative)."
  )
  columns = ("method", "groups", "correlation", "same sign", "covariance > 0")
  return Section(
    "group_wise",
    "Covariance estimated from samples",
    sentence,
    {"mean": plots.lines("Mean covariance", lines)},
    Table(columns, rows),
  )


def tail(study: runs.Study) -> Section | None:
  """Mean covariance of the tokens with the highest one."""
  variants = study.variants
  means = {
    label: found
    for label, members in variants.items()
    if len(found := dynamics.tail(members[0])) == len(dynamics.TAIL_PERCENTS)
  }
  if not means:
    return None
  names = [f"top {percent} %" for percent in dynamics.TAIL_PERCENTS]
  heights = {label: list(found.values()) for label, found in means.items()}
  label, lead = next(iter(means.items()))
  sentence = (
    f"The top 0.02 % of {label}'s tokens had a mean covariance of "
    f"{lead['0.02']:.2f}, the top half {lead['50']:.2f}: a few tokens carry "
    "much of it."
    if lead["0.02"] > 10 * lead["50"]
    else f"The top 0.02 % of {label}'s tokens had a mean covariance of "
    f"{lead['0.02']:.2f}, the top half {lead['50']:.2f}."
  )
  panel = plots.bars(
    "Mean covariance",
    [f"{percent} %" for percent in dynamics.TAIL_PERCENTS],
    heights,
    plots.colors(list(variants)),
    x_label="tokens of highest covariance",
    logarithmic=True,
  )
  rows = [(label, *found) for label, found in heights.items()]
  return Section(
    "tail",
    "The tail of the covariance",
    sentence,
    {"tail": panel},
    Table(("method", *names), rows),
  )


def _probe_panel(label: str, run: runs.Run, color: str):
  predicted, measured = run.table(
    dynamics.PROBE_MINUS_COV, dynamics.PROBE_DELTA
  ).T
  ends = np.array([predicted.min(), predicted.max()])
  return plots.scatter(
    label,
    [plots.Cloud("", predicted, measured, color)],
    [plots.Line("", ends, ends, plots.MUTED, style="--")],
    x_label="minus covariance: predicted change (nats)",
    zero_lines=True,
  )
