"""Coverage at equal accuracy: a method against the baseline stopped early.

Along a run pass@1 rises and pass@k of large k, the share of problems that some
sample solves, falls. A method that only slows this down is on the baseline's
curve; one that is worth its trouble has more coverage than the baseline had at
the same pass@1.
"""

from collections.abc import Sequence

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import runs, stats

Array = np.ndarray
_HALF_WINDOW = 2  # steps over which the entropy of an evaluation is averaged

_MIN_POINTS = 5  # for a parabola


def curve(run: runs.Run, x: str, y: str) -> Array:
  """Returns two metrics at the steps of a run's evaluations.

  Args:
    run: the run.
    x: a metric of evaluations, or `run_files.ENTROPY`, which is averaged over
      the steps nearby.
    y: likewise.

  Returns:
    float64[2, n].
  """
  steps = run.series(run_files.HELD_OUT_ACCURACY).steps
  return np.array([_at(run, key, steps) for key in (x, y)])


def gap(plain: runs.Run, run: runs.Run, x: str, y: str) -> float:
  """Returns the final y of a run minus the plain run's y at the same x.

  The plain run's y is that of a parabola in x, fitted to its evaluations: a
  single one is noisy, and x need not grow from each to the next. NaN where the
  plain run never had such an x, or has too few evaluations for a fit.

  Args:
    plain: a run of the baseline.
    run: a run of the method, of the same seed.
    x: what is held equal: a metric of evaluations, or `run_files.ENTROPY`.
    y: the metric to compare, such as pass@k of a large k.
  """
  known, values = curve(plain, x, y)
  at, final = curve(run, x, y)[:, -1]
  if len(known) < _MIN_POINTS or not known.min() <= at <= known.max():
    return float("nan")
  return float(final - np.polyval(np.polyfit(known, values, 2), at))


def gaps(
  baseline: Sequence[runs.Run], members: Sequence[runs.Run], x: str, y: str
) -> stats.Estimate:
  """Estimates the `gap` of each run to the baseline of its seed.

  Args:
    baseline: runs of plain GRPO.
    members: runs of the method; those without a baseline of their seed are left
      out.
    x: metric that is held equal, as in `gap`.
    y: metric to compare.
  """
  by_seed = {run.seed: run for run in baseline}
  return stats.estimate(
    [
      gap(by_seed[run.seed], run, x, y)
      for run in members
      if run.seed in by_seed
    ]
  )


def _at(run: runs.Run, key: str, steps: Array) -> Array:
  series = run.series(key)
  half = _HALF_WINDOW if key == run_files.ENTROPY else 0
  near = np.abs(series.steps - steps[:, None]) <= half
  return (near * series.values).sum(axis=1) / near.sum(axis=1)
