"""How the entropy moves: its collapse, and the covariance that drives it.

To first order, the entropy of a softmax policy falls by the covariance of
log-probability and logit change, Delta H = -Cov(log pi, Delta z) (Lemma 1 of
arXiv 2505.22617). Training's probe records both sides on fixed states; here
they are held against each other.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import runs

Array = np.ndarray

ESTIMATORS = {
  "probe": run_files.PROBE_MINUS_COVARIANCE,
  "all groups": run_files.COVARIANCE_MEAN,
  "informative groups": run_files.FILTERED_COVARIANCE_MEAN,
}
WINDOW = 8  # steps
TAIL_PERCENTS = ("0.02", "0.2", "2", "20", "50")


@dataclasses.dataclass(frozen=True)
class Collapse:
  """What the first part of training spends and gains.

  Attributes:
    fraction: the part of training that is looked at.
    entropy_share: share of the whole entropy drop that falls in it.
    gain_share: share of the whole accuracy gain that falls in it.
  """

  fraction: float
  entropy_share: float
  gain_share: float


@dataclasses.dataclass(frozen=True)
class Agreement:
  """A predicted entropy change against the measured one, over steps.

  Attributes:
    steps: number of steps with both.
    correlation: Pearson's.
    slope: of the least-squares line measured = slope * predicted + offset.
    same_sign: share of steps on which both have the same sign.
    positive: share of steps on which the covariance is positive (it predicts a
      fall of the entropy).
    realised: the sum of the measured changes over that of the predicted ones:
      what terms of second order leave of the prediction.
  """

  steps: int
  correlation: float
  slope: float
  same_sign: float
  positive: float
  realised: float


def first(series: runs.Series) -> float:
  """The first value; NaN where there is none."""
  return float(series.values[0]) if len(series) else float("nan")


def final(series: runs.Series, share: float = 0.05) -> float:
  """Mean over the last `share` of the values, at least one of them."""
  if not len(series):
    return float("nan")
  return float(series.values[-max(1, round(share * len(series))) :].mean())


def final_value(run: runs.Run, key: str) -> float:
  """A metric at the end of a run."""
  return final(run.series(key))


def first_entropy(run: runs.Run) -> float:
  """Entropy at the start of a run, nats a token."""
  return first(run.series(run_files.ENTROPY))


def final_entropy(run: runs.Run) -> float:
  """Entropy at the end of a run, nats a token."""
  return final(run.series(run_files.ENTROPY))


def final_score(run: runs.Run) -> float:
  """Accuracy at the end of a run, held out where it is measured."""
  return final(run.series(run.accuracy_key))


def collapse(run: runs.Run, fraction: float = 1 / 12) -> Collapse | None:
  """The share of entropy drop and accuracy gain in the first part of a run.

  Both curves are read at the end of that part by linear interpolation. None
  where a curve has fewer than two points or does not move.
  """
  shares = []
  for key in (run_files.ENTROPY, run.accuracy_key):
    series = run.series(key)
    whole = final(series) - first(series)
    if len(series) < 2 or whole == 0:
      return None
    span = series.steps[-1] - series.steps[0]
    moment = series.steps[0] + fraction * span
    part = np.interp(moment, series.steps, series.values) - first(series)
    shares.append(float(part / whole))
  return Collapse(fraction, *shares)


def agreement(predicted: Array, measured: Array) -> Agreement | None:
  """Compares -Cov with the entropy change; None with fewer than 3 steps."""
  if len(predicted) < 3 or np.ptp(predicted) == 0 or np.ptp(measured) == 0:
    return None
  return Agreement(
    steps=len(predicted),
    correlation=float(np.corrcoef(predicted, measured)[0, 1]),
    slope=float(np.polyfit(predicted, measured, 1)[0]),
    same_sign=float((np.sign(predicted) == np.sign(measured)).mean()),
    positive=float((predicted < 0).mean()),
    realised=float(measured.sum() / predicted.sum()),
  )


def probe_points(members: Sequence[runs.Run]) -> tuple[Array, Array]:
  """Minus the exact covariance, and the entropy change, of all probed steps."""
  tables = [
    run.table(run_files.PROBE_MINUS_COVARIANCE, run_files.PROBE_DELTA_ENTROPY)
    for run in members
  ]
  predicted, measured = np.concatenate(tables).T
  return predicted, measured


def probe(members: Sequence[runs.Run]) -> Agreement | None:
  """The exact covariance on the probe's fixed states against its entropy."""
  return agreement(*probe_points(members)) if members else None


def group_wise(
  members: Sequence[runs.Run], key: str, window: int = WINDOW
) -> Agreement | None:
  """Minus a covariance of sampled tokens against the change of entropy.

  Both are means over windows of consecutive steps, and the change is the one to
  the next window: from one step to the next, the entropies of two rollouts
  differ more by their prompts than by the updates between them.

  Args:
    members: runs, whose windows are taken together.
    key: `cov/mean` (all groups) or `cov/filtered_mean` (informative ones).
    window: steps.
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
  """Share of all steps on which a covariance is positive; NaN without any.

  `run_files.PROBE_MINUS_COVARIANCE` counts with its sign turned.
  """
  values = np.concatenate([run.series(key).values for run in members])
  if key == run_files.PROBE_MINUS_COVARIANCE:
    values = -values
  return float((values > 0).mean()) if len(values) else float("nan")


def mean_covariance(run: runs.Run, key: str) -> float:
  """A covariance metric, averaged over steps; NaN where it is missing."""
  values = run.series(key).values
  return float(values.mean()) if len(values) else float("nan")
