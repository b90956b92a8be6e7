"""Small-sample statistics over seeds."""

from collections.abc import Sequence
import dataclasses

import numpy as np
import scipy.stats


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A mean over seeds with its interval.

  Attributes:
    mean: NaN without values.
    half_width: of the interval; NaN with fewer than two values.
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
    """1 or -1 where the interval excludes 0; 0 otherwise."""
    if not abs(self.mean) > self.half_width:
      return 0
    return 1 if self.mean > 0 else -1


def estimate(values: Sequence[float], level: float = 0.95) -> Estimate:
  """Mean and Student-t interval of the finite values."""
  finite = np.array(values, dtype=float)
  finite = finite[np.isfinite(finite)]
  count = len(finite)
  mean = float(finite.mean()) if count else float("nan")
  if count < 2:
    return Estimate(mean, float("nan"), count)
  quantile = scipy.stats.t.ppf((1 + level) / 2, count - 1)
  spread = finite.std(ddof=1) / np.sqrt(count)
  return Estimate(mean, float(quantile * spread), count)
