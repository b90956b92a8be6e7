"""Statistics of many variants with few seeds each, which share one spread."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses

import numpy as np
import scipy.stats

from jaxrl_entropy.analysis import runs, stats
from jaxrl_entropy.analysis.stats import Estimate

Measure = Callable[[runs.Run], float]


@dataclasses.dataclass(frozen=True)
class Pooled:
  """Means of variants, and the spread over seeds that all of them have.

  Two values of a variant say next to nothing of its spread, and those of thirty
  variants together much, if they spread alike. A value is taken as the sum of
  its variant's part, its seed's part and chance, so that what a seed does to
  all variants is no part of the spread, and a variant without some of the seeds
  is compared as if it had them.

  Attributes:
    counts: runs of each variant, in order.
    means: of each variant over all seeds.
    inverse: covariance of the means for a spread of 1.
    spread: standard deviation of chance; NaN where nothing is left for it.
    freedom: degrees of freedom of the spread.
  """

  counts: Mapping[str, int]
  means: np.ndarray
  inverse: np.ndarray
  spread: float
  freedom: int

  def estimate(self, label: str) -> Estimate:
    """Returns the mean of a variant with its interval."""
    place = [*self.counts].index(label)
    chosen = np.eye(len(self.counts))[place]
    return self._combine(chosen, self.counts[label])

  def signs(self, baseline: str) -> dict[str, int]:
    """Returns whether a variant's mean is above the baseline's, or below.

    By Holm's procedure over all variants; 0 where neither is established.
    """
    labels = [*self.counts]
    unit = np.eye(len(labels))
    others = [label for label in labels if label != baseline]
    # The tests have the degrees of freedom of so many values.
    signs = stats.holm(
      [
        self._combine(
          unit[labels.index(label)] - unit[labels.index(baseline)],
          self.freedom + 1 if self.counts[label] else 0,
        )
        for label in others
      ]
    )
    return {baseline: 0, **dict(zip(others, signs, strict=True))}

  def _combine(self, weights: np.ndarray, count: int) -> Estimate:
    if not count:
      return Estimate(float("nan"), float("nan"), 0)
    error = self.spread * np.sqrt(weights @ self.inverse @ weights)
    half = float("nan")
    if self.freedom:
      level = (1 + stats.LEVEL) / 2
      half = float(scipy.stats.t.ppf(level, self.freedom) * error)
    return Estimate(float(weights @ self.means), half, count)


def pool(
  variants: Mapping[str, Sequence[runs.Run]], measure: Measure
) -> Pooled:
  """Measures the runs of all variants and pools their spread over seeds.

  Args:
    variants: runs of each variant, by its label.
    measure: a number of a run; runs where it is not finite are left out.
  """
  measured = [
    (place, run.seed, value)
    for place, members in enumerate(variants.values())
    for run in members
    if np.isfinite(value := measure(run))
  ]
  places = np.array([place for place, _, _ in measured], int)
  values = np.array([value for _, _, value in measured], float)
  seeds = sorted({str(seed) for _, seed, _ in measured})
  # A column for each variant, and for each seed less the mean of the seeds.
  of_variant = np.eye(len(variants))[places]
  of_seed = np.eye(len(seeds))[
    [seeds.index(str(seed)) for _, seed, _ in measured]
  ]
  centered = of_seed - 1 / max(len(seeds), 1)
  design = np.hstack([of_variant, centered])
  inverse = np.linalg.pinv(design.T @ design)
  effects = inverse @ design.T @ values
  rest = values - design @ effects
  freedom = len(values) - np.linalg.matrix_rank(design) if measured else 0
  spread = np.sqrt((rest**2).sum() / freedom) if freedom else float("nan")
  width = len(variants)
  counts = np.bincount(places, minlength=width).tolist()
  return Pooled(
    dict(zip(variants, counts, strict=True)),
    effects[:width],
    inverse[:width, :width],
    float(spread),
    int(freedom),
  )
