"""Does a method move along the baseline's curve, or leave it?

If R = -a exp(H) + b held under intervention, a method that keeps entropy up
would only postpone performance: its points would lie on the baseline's curve
and end below the baseline's ceiling. Both are measured here, over seeds; runs
of one seed share their warm start, so each is held against the baseline of its
own seed.
"""

from collections.abc import Callable, Iterator, Sequence
import dataclasses

import numpy as np

from jaxrl_entropy.analysis import dynamics, law, runs, stats

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class Intervention:
  """A method held against the baseline's law, over its seeds.

  Attributes:
    residual: mean of R minus the baseline's law at the same entropy, over the
      run's points within the baseline's range of entropies.
    above_ceiling: final R minus the ceiling b - a of the baseline's law.
    above_baseline: final R minus the baseline's.
    count: number of runs with a baseline of their seed.
  """

  residual: stats.Estimate
  above_ceiling: stats.Estimate
  above_baseline: stats.Estimate
  count: int


def compare(
  baseline: Sequence[runs.Run], members: Sequence[runs.Run]
) -> Intervention:
  """Holds the runs of one variant against those of the baseline."""
  pairs = list(_pairs(baseline, members))
  finals = [dynamics.final_score(run) for _, run in pairs]
  ceilings = [law.fit(*law.points(plain)).ceiling for plain, _ in pairs]
  return Intervention(
    stats.estimate([_mean(residuals(*pair)[1]) for pair in pairs]),
    stats.estimate([r - c for r, c in zip(finals, ceilings, strict=True)]),
    differences(baseline, members, dynamics.final_score),
    len(pairs),
  )


def differences(
  baseline: Sequence[runs.Run],
  members: Sequence[runs.Run],
  measure: Callable[[runs.Run], float],
) -> stats.Estimate:
  """`measure` of each run minus that of the baseline's run of its seed."""
  by_seed = {run.setting("seed"): measure(run) for run in baseline}
  return stats.estimate(
    [
      measure(run) - by_seed[run.setting("seed")]
      for run in members
      if run.setting("seed") in by_seed
    ]
  )


def all_residuals(
  baseline: Sequence[runs.Run], members: Sequence[runs.Run]
) -> tuple[Array, Array]:
  """The `residuals` of every run over the baseline of its seed."""
  found = [residuals(*pair) for pair in _pairs(baseline, members)]
  entropy, residual = zip(*found, strict=True) if found else ((), ())
  return np.concatenate([*entropy, []]), np.concatenate([*residual, []])


def residuals(plain: runs.Run, run: runs.Run) -> tuple[Array, Array]:
  """Entropies, and R minus the law of the plain run there.

  Points outside of the plain run's range of entropies are left out.
  """
  known, known_score = law.points(plain)
  entropy, score = law.points(run)
  inside = (known.min() <= entropy) & (entropy <= known.max())
  residual = score - law.fit(known, known_score)(entropy)
  return entropy[inside], residual[inside]


def _pairs(
  baseline: Sequence[runs.Run], members: Sequence[runs.Run]
) -> Iterator[tuple[runs.Run, runs.Run]]:
  """Each run with the baseline's of the same seed, where it gives a law."""
  by_seed = {run.setting("seed"): run for run in baseline if law.of_runs([run])}
  for run in members:
    if run.setting("seed") in by_seed:
      yield by_seed[run.setting("seed")], run


def _mean(values: Array) -> float:
  return float(values.mean()) if len(values) else float("nan")
