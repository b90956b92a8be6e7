"""Statistics over a few seeds."""

from collections.abc import Callable, Iterable, Sequence
import dataclasses

import numpy as np
import scipy.stats

from jaxrl_entropy.analysis import runs


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A mean over seeds with its confidence interval.

  Attributes:
    mean: the mean; NaN without values.
    half_width: half the width of the interval; NaN for fewer than two values.
    count: number of values.
  """

  mean: float
  half_width: float
  count: int

  def __str__(self) -> str:
    if not self.count:
      return "–"
    if self.count == 1:
      return f"{self.mean:.3f}"
    return f"{self.mean:.3f} ± {self.half_width:.3f}"

  @property
  def sign(self) -> int:
    """1 or -1 if the interval excludes 0, otherwise 0."""
    if not abs(self.mean) > self.half_width:
      return 0
    return 1 if self.mean > 0 else -1


def estimate(values: Sequence[float], level: float = 0.95) -> Estimate:
  """Returns the mean and the Student-t interval of the finite values."""
  finite = np.array(values, dtype=float)
  finite = finite[np.isfinite(finite)]
  count = len(finite)
  mean = float(finite.mean()) if count else float("nan")
  if count < 2:
    return Estimate(mean, float("nan"), count)
  quantile = scipy.stats.t.ppf((1 + level) / 2, count - 1)
  error = finite.std(ddof=1) / np.sqrt(count)
  return Estimate(mean, float(quantile * error), count)


def over_seeds(
  members: Iterable[runs.Run], measure: Callable[[runs.Run], float]
) -> Estimate:
  """Estimates the mean of a number over the runs that have it."""
  return estimate([measure(run) for run in members])
