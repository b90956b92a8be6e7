"""Does a method move along the baseline's curve, or leave it?

If R = -a exp(H) + b held under intervention, a method that keeps entropy up
would only postpone performance: its points would lie on the baseline's curve
and end below the baseline's ceiling. Both are measured here, over seeds.
"""

from collections.abc import Callable, Sequence
import dataclasses

from jaxrl_entropy.analysis import dynamics, law, runs, stats


@dataclasses.dataclass(frozen=True)
class Intervention:
  """A method held against the baseline's law, over its seeds.

  Attributes:
    residual: mean of R minus the baseline's law at the same entropy, over the
      run's points within the baseline's range of entropies.
    above_ceiling: final R minus the ceiling b - a of the baseline's law.
    above_baseline: final R minus the baseline's, by seed where both have it.
  """

  residual: stats.Estimate
  above_ceiling: stats.Estimate
  above_baseline: stats.Estimate


def compare(
  baseline: Sequence[runs.Run], members: Sequence[runs.Run]
) -> Intervention:
  """Holds the runs of one variant against those of the baseline.

  Raises:
    ValueError: the baseline's points are too few for a law.
  """
  entropy, score = law.pooled(baseline)
  fitted = law.fit(entropy, score)
  low, high = entropy.min(), entropy.max()
  return Intervention(
    stats.estimate([_residual(run, fitted, low, high) for run in members]),
    stats.estimate(
      [dynamics.final_score(run) - fitted.ceiling for run in members]
    ),
    stats.estimate(paired(baseline, members, dynamics.final_score)),
  )


def paired(
  baseline: Sequence[runs.Run],
  members: Sequence[runs.Run],
  measure: Callable[[runs.Run], float],
) -> list[float]:
  """`measure` of a run minus that of the baseline's run with the same seed."""
  by_seed = {run.setting("seed"): measure(run) for run in baseline}
  return [
    measure(run) - by_seed[run.setting("seed")]
    for run in members
    if run.setting("seed") in by_seed
  ]


def _residual(run: runs.Run, fitted: law.Law, low: float, high: float) -> float:
  entropy, score = law.points(run)
  inside = (low <= entropy) & (entropy <= high)
  residuals = (score - fitted(entropy))[inside]
  return float(residuals.mean()) if len(residuals) else float("nan")
