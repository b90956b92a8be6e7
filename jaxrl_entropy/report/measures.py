"""Numbers of a study's variants that several sections show."""

from collections.abc import Callable, Sequence
import functools
import re

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import dynamics, runs, stats, studies
from jaxrl_entropy.report.section import Members

Measure = Callable[[runs.Run], float]

# pass@1 is the accuracy.
_HELD_OUT = re.compile(
  r"eval/held_out/((at_[\d.]+/)?accuracy|greedy|pass@(?!1$)\d+)"
)
AT_TEMPERATURE = re.compile(r"eval/held_out/at_([\d.]+)/accuracy")
"""Name of the accuracy at a further temperature, which is its group 1."""


def final_measures(study: studies.Study) -> dict[str, Measure]:
  """Returns the held-out measures at the end of training, by name.

  Where nothing is held out, this is the score on training prompts.
  """
  keys = {
    key for run in study.runs for key in run.metrics if _HELD_OUT.fullmatch(key)
  }
  if study.runs[0].score_key != run_files.HELD_OUT_ACCURACY:
    keys -= {run_files.HELD_OUT_ACCURACY}
    return {study.score_name: dynamics.final_score} | _finals(keys)
  return _finals(keys)


def main_measures(members: Members) -> dict[str, Measure]:
  """Returns accuracy, greedy accuracy, and pass@k of the largest k."""
  keys = [run_files.HELD_OUT_GREEDY, largest_pass(members)]
  recorded = {key for key in keys if key in members[0].metrics}
  return {"accuracy": dynamics.final_score} | _finals(recorded)


def largest_pass(members: Members) -> str:
  """Returns the metric pass@k of the largest k above 1; "" without one."""
  passes = [key for key in members[0].metrics if _tries(key) > 1]
  return max(passes, key=_tries, default="")


def curve_of_passes(run: runs.Run, last: bool) -> dict[int, float]:
  """Returns pass@k by k, from 1 on, of a run's last policy or its first.

  Args:
    run: a run with evaluations.
    last: whether of the last policy; otherwise of the first evaluation.
  """
  keys = {_tries(key): key for key in run.metrics if _tries(key) > 1}
  keys[1] = run_files.HELD_OUT_ACCURACY
  end = dynamics.final if last else dynamics.first
  return {k: end(run.series(keys[k])) for k in sorted(keys)}


def mean_over_steps(members: Members, key: str) -> float:
  """Returns a metric's mean over steps and seeds; NaN if not recorded.

  Args:
    members: runs of one variant.
    key: name of the metric in the runs' records.
  """
  return stats.over_seeds(
    members, functools.partial(dynamics.mean_over_steps, key=key)
  ).mean


def covariance_means(
  study: studies.Study, names: Sequence[str]
) -> dict[str, list[float]]:
  """Returns mean covariances by variant, for variants that record them all.

  Args:
    study: the study.
    names: metrics of the covariance, without their common prefix.
  """
  means = {}
  for label, members in study.variants.items():
    values = [
      mean_over_steps(members, run_files.COVARIANCE + name) for name in names
    ]
    if np.isfinite(values).all():
      means[label] = values
  return means


def curve_of_temperatures(run: runs.Run) -> dict[float, float]:
  """Returns the last policy's accuracy by temperature; greedy is at 0."""
  keys = {run.setting("eval.temperature", 1.0): run_files.HELD_OUT_ACCURACY}
  if run_files.HELD_OUT_GREEDY in run.metrics:
    keys[0.0] = run_files.HELD_OUT_GREEDY
  for key in run.metrics:
    if match := AT_TEMPERATURE.fullmatch(key):
      keys[float(match[1])] = key
  ends = {t: dynamics.final_value(run, keys[t]) for t in sorted(keys)}
  return {t: end for t, end in ends.items() if np.isfinite(end)}


def _finals(keys: set[str]) -> dict[str, Measure]:
  return {
    key.removeprefix(run_files.HELD_OUT): functools.partial(
      dynamics.final_value, key=key
    )
    for key in sorted(
      keys, key=lambda key: (key.partition("@")[0], _tries(key))
    )
  }


def _tries(key: str) -> int:
  """Returns k of a pass@k metric, or 0."""
  k = key.removeprefix(run_files.HELD_OUT_PASS)
  return int(k) if k != key and k.isdigit() else 0
