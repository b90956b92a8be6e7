"""Statistics over a few seeds, and over many comparisons."""

from collections.abc import Callable, Iterable, Sequence
import dataclasses
import functools

import numpy as np
import scipy.optimize
import scipy.stats

from jaxrl_entropy.analysis import runs

LEVEL = 0.95
"""Probability that an interval contains the mean."""
POWER = 0.8
"""Probability of finding a mean of the size `Estimate.detectable`."""


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

  @property
  def p_value(self) -> float:
    """Two-sided p-value of Student's test that the mean is 0."""
    if self.half_width == 0:
      return float(self.mean == 0)
    ratio = abs(self.mean) * _quantile(LEVEL, self.count) / self.half_width
    return float(2 * scipy.stats.t.sf(ratio, self.count - 1))

  @property
  def detectable(self) -> float:
    """The smallest mean that so many such values find, by `LEVEL` and `POWER`.

    The spread is that of the values.
    """
    quantile = _quantile(LEVEL, self.count)
    return self.half_width / quantile * _found(quantile, self.count - 1)


def holm(estimates: Sequence[Estimate]) -> list[int]:
  """Returns the signs of the means that many comparisons establish.

  Holm's procedure keeps the probability that any sign is wrong below
  1 - `LEVEL`. The others are 0.

  Args:
    estimates: differences of one family, in any order; those of fewer than two
      values take no part.

  Returns:
    1, -1 or 0 for each of them, in their order.

  References:
    Holm 1979, Scandinavian Journal of Statistics 6.
  """
  tested = [
    index for index, comparison in enumerate(estimates) if comparison.count > 1
  ]
  tested.sort(key=lambda index: estimates[index].p_value)
  signs = [0] * len(estimates)
  for place, index in enumerate(tested):
    comparison = estimates[index]
    if not comparison.p_value * (len(tested) - place) < 1 - LEVEL:
      break
    signs[index] = 1 if comparison.mean > 0 else -1
  return signs


@functools.cache
def _found(quantile: float, freedom: int) -> float:
  """Returns the mean, in standard errors, whose test has a power of `POWER`."""

  def missed(mean: float) -> float:
    return float(scipy.stats.nct.cdf(quantile, freedom, mean)) - (1 - POWER)

  return float(scipy.optimize.brentq(missed, 0, 5 * quantile))


def _quantile(level: float, count: int) -> float:
  return float(scipy.stats.t.ppf((1 + level) / 2, count - 1))


def estimate(values: Sequence[float]) -> Estimate:
  """Returns the mean and the Student-t interval of the finite values.

  Args:
    values: one for each seed; NaN for one that has none.
  """
  finite = np.array(values, dtype=float)
  finite = finite[np.isfinite(finite)]
  count = len(finite)
  mean = float(finite.mean()) if count else float("nan")
  if count < 2:
    return Estimate(mean, float("nan"), count)
  error = finite.std(ddof=1) / np.sqrt(count)
  return Estimate(mean, float(_quantile(LEVEL, count) * error), count)


def over_seeds(
  members: Iterable[runs.Run], measure: Callable[[runs.Run], float]
) -> Estimate:
  """Estimates the mean of a number over the runs that have it.

  Args:
    members: runs of one variant, a seed each.
    measure: the number of a run; NaN where the run does not have it.
  """
  return estimate([measure(run) for run in members])
