"""The dynamics of entropy: its collapse, and the covariance that drives it.

To first order, the entropy of a softmax policy falls by the covariance of
log-probability and logit change: Delta H = -Cov(log pi, Delta z). The probe of
a training run records both sides of this equation on fixed states; this module
compares them.

References:
  Lemma 1 of arXiv 2505.22617.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import runs

Array = np.ndarray

ESTIMATORS = {
  "the probe": run_files.PROBE_MINUS_COVARIANCE,
  "samples of all groups": run_files.COVARIANCE_MEAN,
  "samples of informative groups": run_files.FILTERED_COVARIANCE_MEAN,
}
WINDOW = 8  # steps
TAIL_PERCENTS = ("0.02", "0.2", "2", "20", "50")


@dataclasses.dataclass(frozen=True)
class Collapse:
  """Shares of entropy and accuracy change in the first part of training.

  Attributes:
    fraction: length of that part, as a share of training.
    entropy_share: share of the whole entropy drop that falls into it.
    gain_share: share of the whole accuracy gain that falls into it.
  """

  fraction: float
  entropy_share: float
  gain_share: float


@dataclasses.dataclass(frozen=True)
class Agreement:
  """Comparison of predicted and measured entropy changes over steps.

  Attributes:
    steps: number of steps (or windows) with both.
    correlation: Pearson's correlation coefficient.
    slope: of the least-squares line measured = slope * predicted + offset.
    same_sign: share of steps on which both have the same sign.
    positive: share of steps on which the covariance is positive, which predicts
      a fall of the entropy.
    realized: sum of the measured changes divided by that of the predicted ones;
      it differs from 1 by terms of second order in the step.
  """

  steps: int
  correlation: float
  slope: float
  same_sign: float
  positive: float
  realized: float


def first(series: runs.Series) -> float:
  """Returns the first value; NaN for an empty series."""
  return float(series.values[0]) if len(series) else float("nan")


def final(series: runs.Series, share: float = 0.05) -> float:
  """Returns the mean of the last `share` of the values, at least one.

  Args:
    series: a metric over training; the mean of an empty one is NaN.
    share: part of the recorded values to average, from 0 to 1.
  """
  if not len(series):
    return float("nan")
  return float(series.values[-max(1, round(share * len(series))) :].mean())


def final_value(run: runs.Run, key: str) -> float:
  """Returns a metric at the end of a run, as `final` does.

  Args:
    run: a run, as `runs.load` returns it.
    key: name of the metric in the run's records.
  """
  return final(run.series(key))


def first_entropy(run: runs.Run) -> float:
  """Returns the entropy at the start of a run, in nats per token."""
  return first(run.series(run_files.ENTROPY))


def final_entropy(run: runs.Run) -> float:
  """Returns the entropy at the end of a run, in nats per token."""
  return final(run.series(run_files.ENTROPY))


def final_score(run: runs.Run) -> float:
  """Returns the performance at the end of a run, by `run.score_key`."""
  return final(run.series(run.score_key))


def collapse(run: runs.Run, fraction: float = 1 / 12) -> Collapse | None:
  """Computes how much of entropy drop and accuracy gain comes early in a run.

  Both curves are interpolated linearly at the end of the first `fraction` of
  the run.

  Args:
    run: a run; its performance is read by `run.score_key`.
    fraction: length of the early part, as a share of the run's steps.

  Returns:
    Both shares; None if a curve has fewer than two points or the same value at
    both ends.
  """
  shares = []
  for key in (run_files.ENTROPY, run.score_key):
    series = run.series(key)
    whole = final(series) - first(series)
    if len(series) < 2 or whole == 0:
      return None
    span = series.steps[-1] - series.steps[0]
    moment = series.steps[0] + fraction * span
    early = np.interp(moment, series.steps, series.values) - first(series)
    shares.append(float(early / whole))
  return Collapse(fraction, *shares)


def agreement(predicted: Array, measured: Array) -> Agreement | None:
  """Compares -Cov with the measured entropy change.

  Args:
    predicted: float[n], minus the covariance at each step (or window), nats.
    measured: float[n], change of the entropy by the same steps, nats.

  Returns:
    Their comparison; None for fewer than three steps, or if either side is
    constant.
  """
  if len(predicted) < 3 or np.ptp(predicted) == 0 or np.ptp(measured) == 0:
    return None
  return Agreement(
    steps=len(predicted),
    correlation=float(np.corrcoef(predicted, measured)[0, 1]),
    slope=float(np.polyfit(predicted, measured, 1)[0]),
    same_sign=float((np.sign(predicted) == np.sign(measured)).mean()),
    positive=float((predicted < 0).mean()),
    realized=float(measured.sum() / predicted.sum()),
  )


def probe_points(members: Sequence[runs.Run]) -> tuple[Array, Array]:
  """Returns -Cov and the entropy change on all probed steps, float[n] each.

  Args:
    members: runs; steps without a record of the probe are left out.
  """
  tables = [
    run.table(run_files.PROBE_MINUS_COVARIANCE, run_files.PROBE_DELTA_ENTROPY)
    for run in members
  ]
  predicted, measured = np.concatenate(tables).T
  return predicted, measured


def probe(members: Sequence[runs.Run]) -> Agreement | None:
  """Compares exact covariance and entropy change on the probe's states."""
  return agreement(*probe_points(members)) if members else None


def group_wise(
  members: Sequence[runs.Run], key: str, window: int = WINDOW
) -> Agreement | None:
  """Compares a covariance of sampled tokens with the entropy change.

  Both are averaged over windows of consecutive steps, and the change is that to
  the next window: from one step to the next, the entropies of two rollouts
  differ more by their prompts than by the update between them.

  Args:
    members: runs, whose windows are pooled.
    key: metric of the covariance, over all or over informative groups.
    window: steps per window.
  """
  predicted, measured = [], []
  for run in members:
    table = run.table(key, run_files.ENTROPY)
    count = len(table) // window
    means = table[: count * window].reshape(count, window, 2).mean(axis=1)
    predicted.append(-means[:-1, 0])
    measured.append(np.diff(means[:, 1]))
  return agreement(np.concatenate(predicted), np.concatenate(measured))


def positive_share(members: Sequence[runs.Run], key: str) -> float:
  """Returns the share of steps on which a covariance is positive.

  The sign of `run_files.PROBE_MINUS_COVARIANCE` is reversed. The share is NaN
  if the metric was not recorded.

  Args:
    members: runs, whose steps are pooled.
    key: metric of the covariance, one of the values of `ESTIMATORS`.
  """
  values = np.concatenate([run.series(key).values for run in members])
  if key == run_files.PROBE_MINUS_COVARIANCE:
    values = -values
  return float((values > 0).mean()) if len(values) else float("nan")


def mean_over_steps(run: runs.Run, key: str) -> float:
  """Returns a metric's mean over steps; NaN if it was not recorded.

  Args:
    run: a run, as `runs.load` returns it.
    key: name of the metric in the run's records.
  """
  values = run.series(key).values
  return float(values.mean()) if len(values) else float("nan")
