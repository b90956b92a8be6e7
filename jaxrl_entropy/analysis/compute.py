"""Performance against compute: the rival of the law in entropy.

R(t) = R0 + (A - R0) / (1 + (m / t)^B) after t steps: from R0 before training
to the asymptote A, half of the way at the midpoint m. Unlike the law, it needs
no later entropies to predict later performance.

References:
  ScaleRL, arXiv 2510.13786.
"""

import dataclasses

import numpy as np
import scipy.optimize

from jaxrl_entropy.analysis import runs

Array = np.ndarray
MIN_POINTS = 5  # for three parameters, beside the start
_EXPONENTS = (0.3, 5.0)
_LATEST_MIDPOINT = 10.0  # in steps of the fitted part


@dataclasses.dataclass(frozen=True)
class Sigmoid:
  """A curve of performance over steps; see the module.

  Attributes:
    start: performance R0 before training.
    asymptote: performance A after endless training.
    midpoint: steps m after which half of the way from R0 to A is made.
    exponent: steepness B of the curve around its midpoint.
  """

  start: float
  asymptote: float
  midpoint: float
  exponent: float

  def __call__(self, steps: Array | float) -> Array:
    """Returns the performance after a number of steps, from 0 on."""
    past = np.asarray(steps) / self.midpoint
    gained = past**self.exponent / (1 + past**self.exponent)
    return self.start + (self.asymptote - self.start) * gained


def fit(steps: Array, score: Array) -> Sigmoid:
  """Fits by least squares; the asymptote is a share, from R0 up to 1.

  Args:
    steps: float[n], increasing, the first of them that of R0.
    score: float[n].

  Raises:
    ValueError: for fewer than `MIN_POINTS` points.
  """
  if len(steps) < MIN_POINTS:
    raise ValueError(
      f"{len(steps)} points: a sigmoid needs at least {MIN_POINTS}"
    )
  start, last = float(score[0]), float(steps[-1])

  def errors(parameters: Array) -> Array:
    return Sigmoid(start, *parameters)(steps) - score

  low = (start - 1e-6, last / 1e3, _EXPONENTS[0])
  high = (max(1.0, start) + 1e-6, _LATEST_MIDPOINT * last, _EXPONENTS[1])
  guess = ((start + 1) / 2, last / 2, 1.0)
  solution = scipy.optimize.least_squares(errors, guess, bounds=(low, high))
  return Sigmoid(start, *map(float, solution.x))


def final_error(run: runs.Run, fraction: float) -> float:
  """Returns predicted minus observed performance at the end of a run.

  Args:
    run: the run; NaN if it has too few evaluations.
    fraction: share of its evaluations to fit.
  """
  series = run.series(run.score_key)
  early = round(fraction * len(series))
  if not MIN_POINTS <= early < len(series):
    return float("nan")
  curve = fit(series.steps[:early], series.values[:early])
  return float(curve(series.steps[-1]) - series.values[-1])
