"""The paper's statements, checked on the runs of a study."""

from collections.abc import Callable, Sequence
import dataclasses
import math
import operator

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import (
  dynamics,
  interventions,
  law,
  runs,
  stats,
  studies,
)

HELD, REFUTED = "held", "did not hold"
NOT_SETTLED, NOT_MEASURED = "not settled", "not measured"

MIN_STEPS = 24
"""Shorter runs give no verdict."""

_RELATIONS = {"<": operator.lt, ">": operator.gt, ">=": operator.ge}


@dataclasses.dataclass(frozen=True)
class Claim:
  """A statement: a measured value in relation to a threshold.

  Attributes:
    claim: the statement, in words.
    relation: `<`, `>` or `>=`.
    threshold: number that the value is compared with.
    value: the measured number, over seeds.
    verdict: `HELD`, `REFUTED`, `NOT_SETTLED` or `NOT_MEASURED`.
    reason: why the statement is not settled or not measured; else empty.
  """

  claim: str
  relation: str
  threshold: float
  value: stats.Estimate
  verdict: str
  reason: str = ""


@dataclasses.dataclass(frozen=True)
class _OfBaseline:
  """A statement about runs of plain GRPO, each by itself."""

  claim: str
  relation: str
  threshold: float
  measure: Callable[[runs.Run], float]
  needs: str

  def check(self, study: studies.Study) -> Claim:
    if study.baseline is None:
      return _unmeasured(self, "needs a GRPO run")
    members = study.baseline[1]
    if reason := _too_short(members):
      return _unmeasured(self, reason)
    value = stats.over_seeds(members, self.measure)
    if not value.count:
      return _unmeasured(self, f"needs {self.needs}")
    if value.count > 1 and not _separable(value, self.threshold):
      return _unsettled(
        self, value, "the interval over seeds includes the threshold"
      )
    return _settled(self, value)


@dataclasses.dataclass(frozen=True)
class _OfMethod:
  """A statement that compares a method with GRPO runs of the same seeds."""

  claim: str
  relation: str
  threshold: float
  method: str
  measure: Callable[[runs.Run], float]
  compare: Callable[..., stats.Estimate]

  def check(self, study: studies.Study) -> Claim:
    variants = {
      label: members
      for label, members in study.variants.items()
      if members[0].method == self.method
    }
    if study.baseline is None or not variants:
      return _unmeasured(self, f"needs runs of GRPO and of {self.method}")
    if len(variants) > 1:
      return _unmeasured(self, f"{self.method} has several variants here")
    baseline = study.baseline[1]
    ((label, members),) = variants.items()
    if confounders := study.confounders(label):
      return _unmeasured(self, f"{label} also differs in {confounders[0]}")
    if reason := _too_short([*baseline, *members]):
      return _unmeasured(self, reason)
    pairs = interventions.paired(baseline, members, self.measure)
    value = self.compare(baseline, members, self.measure)
    if not value.count:
      return _unmeasured(self, "no seed is common to both methods")
    if all(a == b for a, b in pairs):
      return _unsettled(self, value, "both have the same value: a tie")
    if value.count == 1:
      return _unsettled(self, value, "one seed does not establish a difference")
    if not _separable(value, self.threshold):
      return _unsettled(
        self, value, "the interval over seeds includes the threshold"
      )
    return _settled(self, value)


_Statement = _OfBaseline | _OfMethod


def check(study: studies.Study) -> list[Claim]:
  """Checks the paper's qualitative statements on a study."""
  return [statement.check(study) for statement in _STATEMENTS]


def _too_short(members: Sequence[runs.Run]) -> str:
  steps = min(run.steps for run in members)
  if steps >= MIN_STEPS:
    return ""
  return f"needs runs of {MIN_STEPS} steps or more; the shortest has {steps}"


def _separable(value: stats.Estimate, threshold: float) -> bool:
  return abs(value.mean - threshold) > value.half_width


def _settled(of: _Statement, value: stats.Estimate) -> Claim:
  holds = _RELATIONS[of.relation](value.mean, of.threshold)
  verdict = HELD if holds else REFUTED
  return Claim(of.claim, of.relation, of.threshold, value, verdict)


def _unsettled(of: _Statement, value: stats.Estimate, reason: str) -> Claim:
  return Claim(of.claim, of.relation, of.threshold, value, NOT_SETTLED, reason)


def _unmeasured(of: _Statement, reason: str) -> Claim:
  nothing = stats.estimate([])
  return Claim(
    of.claim, of.relation, of.threshold, nothing, NOT_MEASURED, reason
  )


def _entropy_left(run: runs.Run) -> float:
  first = dynamics.first_entropy(run)
  return dynamics.final_entropy(run) / first if first else math.nan


def _early_share(run: runs.Run) -> float:
  collapse = dynamics.collapse(run)
  return collapse.entropy_share if collapse else math.nan


def _gain(run: runs.Run) -> float:
  series = run.series(run_files.HELD_OUT_ACCURACY)
  if not len(series) or np.ptp(series.values) == 0:
    return math.nan
  return dynamics.final(series) - dynamics.first(series)


def _r2(run: runs.Run) -> float:
  points = law.of_runs([run])
  return law.fit(*points[0]).r2 if points else math.nan


def _prediction_error(run: runs.Run) -> float:
  points = law.of_runs([run])
  if not points or not law.can_predict(points[0], law.EARLY_FRACTION):
    return math.nan
  return abs(law.predict(*points[0], law.EARLY_FRACTION).final_error)


def _positive_share(run: runs.Run) -> float:
  return dynamics.positive_share([run], run_files.PROBE_MINUS_COVARIANCE)


_NEEDS_LAW = f"{law.MIN_POINTS_TO_REPORT} evaluations at different entropies"
_STATEMENTS: tuple[_Statement, ...] = (
  _OfBaseline(
    "GRPO's final entropy, as a share of its first, is below 0.5",
    *("<", 0.5, _entropy_left),
    "a first entropy above 0",
  ),
  _OfBaseline(
    "The first twelfth of GRPO's training accounts for over half of the fall "
    "of entropy",
    *(">", 0.5, _early_share),
    "entropy and accuracy that change",
  ),
  _OfBaseline(
    "GRPO's held-out accuracy gains more than .15",
    *(">", 0.15, _gain),
    "a held-out accuracy that changes",
  ),
  _OfBaseline(
    "The law R = -a exp(H) + b explains GRPO's curve with R² above .8",
    *(">", 0.8, _r2),
    _NEEDS_LAW,
  ),
  _OfBaseline(
    "The law of GRPO's first 36% predicts its last accuracy within .02",
    *("<", 0.02, _prediction_error),
    f"{_NEEDS_LAW}, enough of them early",
  ),
  _OfBaseline(
    "The probe's covariance is positive on at least 90% of GRPO's steps",
    *(">=", 0.9, _positive_share),
    "the probe's metrics (probe.every above 0)",
  ),
  _OfMethod(
    "Clip-Cov's final entropy is above 1.5 times GRPO's",
    *(">", 1.5, "Clip-Cov"),
    dynamics.final_entropy,
    interventions.ratios,
  ),
  _OfMethod(
    "KL-Cov's final entropy is above GRPO's",
    *(">", 1.0, "KL-Cov"),
    dynamics.final_entropy,
    interventions.ratios,
  ),
  _OfMethod(
    "Clip-Cov's final accuracy is above GRPO's",
    *(">", 0.0, "Clip-Cov"),
    dynamics.final_score,
    interventions.differences,
  ),
  _OfMethod(
    "KL-Cov's final accuracy is above GRPO's",
    *(">", 0.0, "KL-Cov"),
    dynamics.final_score,
    interventions.differences,
  ),
)
