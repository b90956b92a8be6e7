"""Comparison of methods with the baseline's entropy law.

If R = -a exp(H) + b also held under intervention, a method that keeps entropy
would only postpone performance: its points would lie on the baseline's curve
and end below the baseline's ceiling. Both are measured here over seeds. Runs of
one seed start from the same policy, so each run is compared with the baseline
of its own seed.
"""

from collections.abc import Callable, Iterator, Sequence
import dataclasses

import numpy as np

from jaxrl_entropy.analysis import dynamics, law, runs, stats

Array = np.ndarray
Measure = Callable[[runs.Run], float]


@dataclasses.dataclass(frozen=True)
class Intervention:
  """A method compared with the baseline's law, over seeds.

  Attributes:
    residual: mean of R minus the baseline's law at the same entropy, over the
      points within the baseline's range of entropies.
    above_ceiling: final R minus the ceiling b - a of the baseline's law.
    above_baseline: final R minus the baseline's final R, over all seeds.
    count: number of runs whose seed has a baseline with a law.
  """

  residual: stats.Estimate
  above_ceiling: stats.Estimate
  above_baseline: stats.Estimate
  count: int


def compare(
  baseline: Sequence[runs.Run], members: Sequence[runs.Run]
) -> Intervention:
  """Compares the runs of one variant with those of the baseline.

  Args:
    baseline: runs of plain GRPO, one for each seed.
    members: runs of one variant.

  Returns:
    Means over the seeds whose baseline has a law; `above_baseline` counts the
    seeds whose baseline has none as well.
  """
  pairs = list(_pairs(baseline, members))
  finals = [dynamics.final_score(run) for _, run in pairs]
  ceilings = [law.fit(*law.points(plain)).ceiling for plain, _ in pairs]
  return Intervention(
    residual=stats.estimate([_mean(residuals(*pair)[1]) for pair in pairs]),
    above_ceiling=stats.estimate(
      [final - top for final, top in zip(finals, ceilings, strict=True)]
    ),
    above_baseline=differences(baseline, members, dynamics.final_score),
    count=len(pairs),
  )


def differences(
  baseline: Sequence[runs.Run],
  members: Sequence[runs.Run],
  measure: Measure,
) -> stats.Estimate:
  """Estimates `measure` of each run minus that of its seed's baseline.

  Args:
    baseline: runs of plain GRPO.
    members: runs of one variant; those without a baseline of their seed are
      left out.
    measure: a number of a run, such as `dynamics.final_score`.
  """
  return stats.estimate(
    [value - plain for plain, value in paired(baseline, members, measure)]
  )


def ratios(
  baseline: Sequence[runs.Run],
  members: Sequence[runs.Run],
  measure: Measure,
) -> stats.Estimate:
  """Estimates `measure` of each run divided by that of its seed's baseline.

  Pairs whose baseline has a value of 0 are left out.

  Args:
    baseline: runs of plain GRPO.
    members: runs of one variant; those without a baseline of their seed are
      left out.
    measure: a number of a run, such as `dynamics.final_entropy`.
  """
  return stats.estimate(
    [
      value / plain if plain else float("nan")
      for plain, value in paired(baseline, members, measure)
    ]
  )


def paired(
  baseline: Sequence[runs.Run],
  members: Sequence[runs.Run],
  measure: Measure,
) -> list[tuple[float, float]]:
  """Returns (baseline's value, run's value) for every run with such a pair.

  Args:
    baseline: runs of plain GRPO, one for each seed.
    members: runs of one variant.
    measure: a number of a run.
  """
  by_seed = {run.seed: measure(run) for run in baseline}
  return [
    (by_seed[run.seed], measure(run)) for run in members if run.seed in by_seed
  ]


def all_residuals(
  baseline: Sequence[runs.Run], members: Sequence[runs.Run]
) -> tuple[Array, Array]:
  """Concatenates the `residuals` of every run with a baseline of its seed.

  Baselines without a fitted law do not count.

  Args:
    baseline: runs of plain GRPO, one for each seed.
    members: runs of one variant.

  Returns:
    float64[n] entropies in nats per token, and float64[n] residuals of R.
  """
  pairs = [residuals(*pair) for pair in _pairs(baseline, members)]
  entropy, residual = zip(*pairs, strict=True) if pairs else ((), ())
  return np.concatenate([*entropy, []]), np.concatenate([*residual, []])


def residuals(plain: runs.Run, run: runs.Run) -> tuple[Array, Array]:
  """Returns entropies, and R minus the law of the plain run at each.

  Points outside the plain run's range of entropies are left out.

  Args:
    plain: the baseline's run, whose law is fitted.
    run: a run of the method, of the same seed.

  Returns:
    float64[n] entropies in nats per token, and float64[n] residuals of R.
  """
  known, known_score = law.points(plain)
  entropy, score = law.points(run)
  inside = (known.min() <= entropy) & (entropy <= known.max())
  residual = score - law.fit(known, known_score)(entropy)
  return entropy[inside], residual[inside]


def _pairs(
  baseline: Sequence[runs.Run], members: Sequence[runs.Run]
) -> Iterator[tuple[runs.Run, runs.Run]]:
  """Pairs each run with the baseline of its seed, if that has a law."""
  by_seed = {run.seed: run for run in baseline if law.of_runs([run])}
  for run in members:
    if run.seed in by_seed:
      yield by_seed[run.seed], run


def _mean(values: Array) -> float:
  return float(values.mean()) if len(values) else float("nan")
