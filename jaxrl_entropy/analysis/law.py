"""The entropy law of reinforcement learning: R = -a exp(H) + b.

Along a run, the performance R and the policy's entropy H (nats a token) trade
against each other; where the entropy is spent (H = 0), performance ends at the
ceiling b - a. Source: "The Entropy Mechanism of Reinforcement Learning for
Reasoning Language Models" (arXiv 2505.22617), section 2.4.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from jaxrl_entropy.analysis import runs

Array = np.ndarray
Interval = tuple[float, float]

MIN_POINTS = 4
_HUBER = 1.345  # 95 % efficiency under normal errors
_ITERATIONS = 50


@dataclasses.dataclass(frozen=True)
class Law:
  """A fitted law.

  Attributes:
    a: accuracy paid for a unit of exp(H).
    b: accuracy at exp(H) = 0.
    r2: share of the variance of R that the law explains.
    rmse: root mean squared residual, in units of R.
    points: number of points of the fit.
  """

  a: float
  b: float
  r2: float
  rmse: float
  points: int

  def __call__(self, entropy: Array | float) -> Array:
    """The accuracy at an entropy (nats a token)."""
    return self.b - self.a * np.exp(entropy)

  @property
  def ceiling(self) -> float:
    """The accuracy at entropy 0: b - a."""
    return self.b - self.a


@dataclasses.dataclass(frozen=True)
class Intervals:
  """Bootstrap intervals (low, high) of a law's parameters."""

  a: Interval
  b: Interval
  ceiling: Interval


@dataclasses.dataclass(frozen=True)
class Prediction:
  """A law fitted on the beginning of a run, held against the rest of it.

  Attributes:
    law: the law of the early points.
    points: number of early points.
    rmse: root mean squared error on the later points.
    final_error: predicted minus observed accuracy at the last point.
  """

  law: Law
  points: int
  rmse: float
  final_error: float


def points(run: runs.Run, window: int = 5) -> tuple[Array, Array]:
  """(H, R) along a run, each averaged over windows of steps.

  A window is centred on a step at which R was measured; R is held-out accuracy
  where the run has it (a rollout's own accuracy shares its noise with H).
  Windows do not overlap: they shrink, to three steps at least, for evaluations
  that are closer than `window`; of closer ones, some are skipped.

  Returns:
    float64[n] entropies in nats a token, and float64[n] accuracies.
  """
  entropy = run.series(runs.ENTROPY)
  score = run.series(run.accuracy_key)
  gap = int(np.diff(score.steps).min(initial=window))
  if gap >= 3:
    window = min(window, gap - 1 + gap % 2)
  pairs: list[tuple[float, float]] = []
  last = -np.inf
  for step in score.steps:
    near = np.abs(entropy.steps - step) <= window // 2
    if step - last < window or not near.any():
      continue
    last = step
    in_window = np.abs(score.steps - step) <= window // 2
    pairs.append((entropy.values[near].mean(), score.values[in_window].mean()))
  table = np.array(pairs).reshape(-1, 2)
  return table[:, 0], table[:, 1]


def pooled(members: Sequence[runs.Run]) -> tuple[Array, Array]:
  """The `points` of several runs, one run after the other."""
  each = [points(run) for run in members]
  entropy, score = (np.concatenate(parts) for parts in zip(*each, strict=True))
  return entropy, score


def is_enough(entropy: Array) -> bool:
  """Whether there are points enough, at different entropies, for a fit."""
  return len(entropy) >= MIN_POINTS and np.ptp(entropy) > 0


def fit(entropy: Array, score: Array) -> Law:
  """Fits the law by Huber's robust regression, which is linear in exp(H).

  Args:
    entropy: float[n], nats a token.
    score: float[n], accuracy at the same moments.

  Raises:
    ValueError: fewer than `MIN_POINTS` points, or one entropy only.
  """
  entropy, score = np.asarray(entropy, float), np.asarray(score, float)
  if not is_enough(entropy):
    raise ValueError(
      f"A law needs {MIN_POINTS} points at different entropies; got "
      f"{len(entropy)} points at {len(np.unique(entropy))} entropies."
    )
  a, b = (float(each) for each in _huber(-np.exp(entropy), score))
  residuals = score - (b - a * np.exp(entropy))
  spread = ((score - score.mean()) ** 2).sum()
  r2 = 1 - (residuals**2).sum() / spread if spread > 0 else 0.0
  rmse = np.sqrt((residuals**2).mean())
  return Law(a, b, float(r2), float(rmse), len(entropy))


def bootstrap(
  entropy: Array,
  score: Array,
  *,
  block: int | None = None,
  draws: int = 1000,
  level: float = 0.95,
  seed: int = 0,
) -> Intervals:
  """Percentile intervals of the law by a circular block bootstrap of residuals.

  Blocks of neighbouring residuals keep the correlation along the run; drawing
  residuals and not points keeps the few early points, which carry most of the
  range of H, in every draw.

  Args:
    entropy: float[n], along the run.
    score: float[n].
    block: points a block; n^(1/3), rounded up, by default.
    draws: number of resampled fits.
    level: coverage of the interval.
    seed: of the draws.
  """
  law = fit(entropy, score)
  n = law.points
  block = block or int(np.ceil(n ** (1 / 3)))
  residuals = (score - law(entropy)) * np.sqrt(n / (n - 2))
  residuals -= residuals.mean()
  rng = np.random.default_rng(seed)
  starts = rng.integers(n, size=(draws, -(-n // block)))
  index = (starts[:, :, None] + np.arange(block)).reshape(draws, -1)[:, :n] % n
  a, b = _huber(-np.exp(entropy), law(entropy) + residuals[index])
  return Intervals(
    a=_percentiles(a, level),
    b=_percentiles(b, level),
    ceiling=_percentiles(b - a, level),
  )


def predict(entropy: Array, score: Array, fraction: float) -> Prediction:
  """Fits the first `fraction` of a run's points and predicts the others.

  The prediction knows the later entropies, as in the paper: it says what
  accuracy an entropy will buy, not when it will be reached.

  Raises:
    ValueError: too few early points, or none left to predict.
  """
  early = max(MIN_POINTS, round(fraction * len(entropy)))
  if early >= len(entropy):
    raise ValueError(
      f"{fraction:.0%} of {len(entropy)} points leaves nothing to predict."
    )
  law = fit(entropy[:early], score[:early])
  errors = law(entropy[early:]) - score[early:]
  return Prediction(
    law, early, float(np.sqrt((errors**2).mean())), float(errors[-1])
  )


def _huber(x: Array, y: Array) -> tuple[Array, Array]:
  """Slope and offset of y on x, for every row of y: float[...] each.

  Iteratively re-weighted least squares; the scale is the residuals' MAD.

  Args:
    x: float[n].
    y: float[..., n].
  """
  weight = np.ones_like(y)
  for _ in range(_ITERATIONS):
    slope, offset = _line(x, y, weight)
    residuals = np.abs(y - slope[..., None] * x - offset[..., None])
    scale = np.median(residuals, axis=-1, keepdims=True) / 0.6745
    previous = weight
    weight = np.minimum(
      1.0, _HUBER * np.maximum(scale, 1e-12) / np.maximum(residuals, 1e-12)
    )
    if np.allclose(weight, previous, rtol=1e-9, atol=1e-12):
      break
  return slope, offset


def _line(x: Array, y: Array, weight: Array) -> tuple[Array, Array]:
  """Weighted least squares in one variable."""
  share = weight / weight.sum(axis=-1, keepdims=True)
  mean_x, mean_y = (share * x).sum(axis=-1), (share * y).sum(axis=-1)
  away = x - mean_x[..., None]
  slope = (share * away * y).sum(axis=-1) / (share * away**2).sum(axis=-1)
  return slope, mean_y - slope * mean_x


def _percentiles(values: Array, level: float) -> Interval:
  tail = 100 * (1 - level) / 2
  low, high = np.percentile(values, [tail, 100 - tail])
  return float(low), float(high)
