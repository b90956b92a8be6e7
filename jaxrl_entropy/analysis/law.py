"""The entropy law of reinforcement learning: R = -a exp(H) + b.

Along a run, the policy's entropy H (nats per token) falls while its performance
R rises. The law predicts that performance ends at the ceiling b - a when no
entropy is left (H = 0).

References:
  "The Entropy Mechanism of Reinforcement Learning for Reasoning Language
  Models" (arXiv 2505.22617), section 2.4.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np
import scipy.stats

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import runs

Array = np.ndarray
Interval = tuple[float, float]
Points = tuple[Array, Array]
"""(H, R) along a run: float[n] nats per token, float[n] accuracy."""

MIN_POINTS = 4  # for a fit
MIN_POINTS_TO_REPORT = 8
# The paper predicts a run of 236 steps from its first 36. With an evaluation
# every few steps that leaves too few points, so a larger part is used as well.
PAPER_EARLY_FRACTION = 36 / 236
EARLY_FRACTION = 0.36
_HUBER_THRESHOLD = 1.345  # 95% efficiency under normal errors
_MAX_ITERATIONS = 50


@dataclasses.dataclass(frozen=True)
class Law:
  """A fitted law.

  Attributes:
    a: accuracy lost per unit of exp(H).
    b: accuracy at exp(H) = 0.
    r2: coefficient of determination.
    rmse: root mean squared residual, in units of R.
    points: number of fitted points.
  """

  a: float
  b: float
  r2: float
  rmse: float
  points: int

  def __call__(self, entropy: Array | float) -> Array:
    """Returns the accuracy at an entropy (nats per token)."""
    return self.b - self.a * np.exp(entropy)

  @property
  def ceiling(self) -> float:
    """The accuracy at entropy 0: b - a."""
    return self.b - self.a


@dataclasses.dataclass(frozen=True)
class Intervals:
  """Confidence intervals (low, high) of a law's parameters.

  Attributes:
    a: of the accuracy lost per unit of exp(H).
    b: of the accuracy at exp(H) = 0.
    ceiling: of the accuracy at entropy 0, b - a.
  """

  a: Interval
  b: Interval
  ceiling: Interval


@dataclasses.dataclass(frozen=True)
class Prediction:
  """A law fitted to the beginning of a run, tested on the rest.

  Attributes:
    law: fitted to the early points.
    points: number of early points.
    rmse: root mean squared error on the later points.
    final_error: predicted minus observed accuracy at the last point.
  """

  law: Law
  points: int
  rmse: float
  final_error: float


def points(run: runs.Run, window: int = 5) -> Points:
  """Returns (H, R) along a run, each averaged over windows of steps.

  Windows are centered on the steps at which R (`run.score_key`) was measured.
  R is held-out accuracy where the run has it: the accuracy of a rollout shares
  its noise with H. Windows do not overlap. They shrink to as few as three steps
  for evaluations that are closer than `window`; evaluations that are closer
  still are partly skipped. Windows also shrink at both ends of a run, where a
  one-sided window would pair R with a later H.

  Args:
    run: the run.
    window: steps per window.

  Returns:
    float64[n] entropies in nats per token, and float64[n] values of R.
  """
  entropy = run.series(run_files.ENTROPY)
  score = run.series(run.score_key)
  if not len(entropy):
    return np.empty(0), np.empty(0)
  gap = int(np.diff(score.steps).min(initial=window))
  if gap >= 3:
    window = min(window, gap - 1 + gap % 2)
  pairs: list[tuple[float, float]] = []
  last = -np.inf
  for step in score.steps:
    half = min(window // 2, step - entropy.steps[0], entropy.steps[-1] - step)
    near = np.abs(entropy.steps - step) <= half
    if step - last < window or not near.any():
      continue
    last = step
    in_window = np.abs(score.steps - step) <= half
    pairs.append((entropy.values[near].mean(), score.values[in_window].mean()))
  table = np.array(pairs).reshape(-1, 2)
  return table[:, 0], table[:, 1]


def of_runs(members: Sequence[runs.Run]) -> list[Points]:
  """Returns the `points` of each run that has enough of them to report."""
  points_by_run = (points(run) for run in members)
  return [
    p
    for p in points_by_run
    if len(p[0]) >= MIN_POINTS_TO_REPORT and is_enough(p[0])
  ]


def pooled(points_by_run: Sequence[Points]) -> Points:
  """Concatenates the points of several runs.

  Args:
    points_by_run: (H, R) of each run, as `points` returns them; one at least.
  """
  entropy, score = (
    np.concatenate(arrays) for arrays in zip(*points_by_run, strict=True)
  )
  return entropy, score


def is_enough(entropy: Array) -> bool:
  """Tells whether there are enough points, at different entropies, to fit.

  Args:
    entropy: float[n], nats per token.
  """
  return len(entropy) >= MIN_POINTS and np.ptp(entropy) > 0


def fit(entropy: Array, score: Array) -> Law:
  """Fits the law by Huber's robust regression, linear in exp(H).

  Args:
    entropy: float[n], nats per token.
    score: float[n], performance at the same steps.

  Raises:
    ValueError: if there are fewer than `MIN_POINTS` points, or one entropy.
  """
  entropy, score = np.asarray(entropy, float), np.asarray(score, float)
  if not is_enough(entropy):
    raise ValueError(
      f"a law needs {MIN_POINTS} points at different entropies; got "
      f"{len(entropy)} points at {len(np.unique(entropy))} entropies"
    )
  a, b = (float(coefficient) for coefficient in _huber(-np.exp(entropy), score))
  residuals = score - (b - a * np.exp(entropy))
  spread = ((score - score.mean()) ** 2).sum()
  r2 = 1 - (residuals**2).sum() / spread if spread > 0 else 0.0
  rmse = np.sqrt((residuals**2).mean())
  return Law(a, b, float(r2), float(rmse), len(entropy))


def fit_runs(points_by_run: Sequence[Points]) -> Law:
  """Fits a law to each run and averages their parameters.

  Pooling the points instead would bias the slope: seeds have offsets in R, and
  where they also cover different entropies, one line through all points has a
  slope that no single run has.

  Args:
    points_by_run: (H, R) of each run, as `points` returns them.

  Returns:
    The mean law, with the mean R² of the runs and the RMSE over all points.
  """
  laws = [fit(*run) for run in points_by_run]
  points = np.array([law.points for law in laws])
  squares = np.array([law.rmse for law in laws]) ** 2
  return Law(
    a=float(np.mean([law.a for law in laws])),
    b=float(np.mean([law.b for law in laws])),
    r2=float(np.mean([law.r2 for law in laws])),
    rmse=float(np.sqrt((points * squares).sum() / points.sum())),
    points=int(points.sum()),
  )


def bootstrap(
  points_by_run: Sequence[Points],
  *,
  block: int | None = None,
  draws: int = 1000,
  level: float = 0.95,
  seed: int = 0,
) -> Intervals:
  """Computes intervals of `fit_runs` by a block bootstrap of the residuals.

  Circular blocks of neighboring residuals preserve the correlation along a
  run. Residuals are drawn rather than points, because the few early points
  carry most of the range of H and every draw needs them. A draw is a mean of
  few blocks, so its standard deviation is widened by Student's quantile for the
  number of blocks: plain percentiles would cover the true value in only 73 to
  88 of 100 runs of 17 points.

  The intervals describe how well the points of these runs determine their law,
  not how other seeds would differ.

  Args:
    points_by_run: the points of each run.
    block: points per block; by default the square root of their number.
    draws: number of resampled fits.
    level: coverage of the intervals.
    seed: seed of the draws.
  """
  rng = np.random.default_rng(seed)
  drawn, freedom = [], 0.0
  for entropy, score in points_by_run:
    size = block or int(np.ceil(len(entropy) ** 0.5))
    drawn.append(_resampled(entropy, score, size, draws, rng))
    freedom += len(entropy) / size - 1
  a, b = np.mean(drawn, axis=0)
  law = fit_runs(points_by_run)
  reach = float(scipy.stats.t.ppf((1 + level) / 2, max(freedom, 1.0)))

  def around(value: float, values: Array) -> Interval:
    half = reach * float(values.std(ddof=1))
    return value - half, value + half

  return Intervals(
    a=around(law.a, a), b=around(law.b, b), ceiling=around(law.ceiling, b - a)
  )


def _resampled(
  entropy: Array, score: Array, block: int, draws: int, rng: np.random.Generator
) -> tuple[Array, Array]:
  """Fits the law to resampled residuals: a and b, float[draws] each."""
  law, n = fit(entropy, score), len(entropy)
  residuals = (score - law(entropy)) * np.sqrt(n / (n - 2))
  residuals -= residuals.mean()
  starts = rng.integers(n, size=(draws, -(-n // block)))
  index = (starts[:, :, None] + np.arange(block)).reshape(draws, -1)[:, :n] % n
  return _huber(-np.exp(entropy), law(entropy) + residuals[index])


def can_predict(points: Points, fraction: float) -> bool:
  """Tells whether the first `fraction` of a run's points suffices to fit.

  Args:
    points: (H, R) of the run, as `points` returns them.
    fraction: share of the points to fit; at least one must remain.
  """
  early = round(fraction * len(points[0]))
  return early < len(points[0]) and is_enough(points[0][:early])


def predict(entropy: Array, score: Array, fraction: float) -> Prediction:
  """Fits the first `fraction` of a run's points and predicts the others.

  As in the paper, the prediction is given the later entropies: it tells which
  accuracy goes with an entropy, not when that entropy will be reached.

  Args:
    entropy: float[n], nats per token.
    score: float[n], performance at the same steps.
    fraction: share of the points to fit.

  Raises:
    ValueError: if there are too few early points, or none left to predict.
  """
  early = round(fraction * len(entropy))
  if not MIN_POINTS <= early < len(entropy):
    raise ValueError(
      f"{fraction:.0%} of {len(entropy)} points: a fit needs {MIN_POINTS} "
      "points, and at least one must remain to predict"
    )
  law = fit(entropy[:early], score[:early])
  errors = law(entropy[early:]) - score[early:]
  return Prediction(
    law, early, float(np.sqrt((errors**2).mean())), float(errors[-1])
  )


def _huber(x: Array, y: Array) -> tuple[Array, Array]:
  """Regresses every row of y on x: slopes and offsets, float[...] each.

  Uses iteratively re-weighted least squares; the scale is estimated by the
  median absolute residual.

  Args:
    x: float[n].
    y: float[..., n].
  """
  weight = np.ones_like(y)
  for _ in range(_MAX_ITERATIONS):
    slope, offset = _line(x, y, weight)
    residuals = np.abs(y - slope[..., None] * x - offset[..., None])
    scale = np.median(residuals, axis=-1, keepdims=True) / 0.6745
    previous = weight
    weight = np.minimum(
      1.0,
      _HUBER_THRESHOLD
      * np.maximum(scale, 1e-12)
      / np.maximum(residuals, 1e-12),
    )
    if np.allclose(weight, previous, rtol=1e-9, atol=1e-12):
      break
  return slope, offset


def _line(x: Array, y: Array, weight: Array) -> tuple[Array, Array]:
  """Fits a line by weighted least squares: slope and offset."""
  share = weight / weight.sum(axis=-1, keepdims=True)
  mean_x, mean_y = (share * x).sum(axis=-1), (share * y).sum(axis=-1)
  away = x - mean_x[..., None]
  slope = (share * away * y).sum(axis=-1) / (share * away**2).sum(axis=-1)
  return slope, mean_y - slope * mean_x
