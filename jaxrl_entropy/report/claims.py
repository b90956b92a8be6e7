"""Statements about a study that its numbers confirm or refute."""

from collections.abc import Sequence
import dataclasses
import math
import operator

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import (
  dynamics,
  interventions,
  law,
  runs,
  stats,
  studies,
)
from jaxrl_entropy.report import section


@dataclasses.dataclass(frozen=True)
class Claim:
  """A statement: a measured value in a relation to a threshold.

  Attributes:
    claim: the statement, in words.
    value: the measured number; NaN where the study lacks it.
    relation: `<`, `>` or `>=`.
    threshold: what the value is held against.
  """

  claim: str
  value: float
  relation: str
  threshold: float

  @property
  def holds(self) -> bool | None:
    """Whether the statement holds; None where nothing was measured."""
    if math.isnan(self.value):
      return None
    return _RELATIONS[self.relation](self.value, self.threshold)


_RELATIONS = {"<": operator.lt, ">": operator.gt, ">=": operator.ge}


def check(study: studies.Study) -> list[Claim]:
  """The paper's qualitative statements, for this study.

  Those about a method are not measured where a study varies its settings.
  """
  variants = study.variants
  grpo = study.baseline[1] if study.baseline else []
  clip_cov = _only("Clip-Cov", variants)
  kl_cov = _only("KL-Cov", variants)
  better = interventions.differences
  end = _final_entropy(grpo)
  return [
    Claim(
      "GRPO's final entropy, as a share of its first, is below 0.5",
      _ratio(end, section.over_seeds(grpo, dynamics.first_entropy).mean),
      "<",
      0.5,
    ),
    Claim(
      "The first twelfth of GRPO's training spends over half of that entropy",
      _early_share(grpo),
      ">",
      0.5,
    ),
    Claim(
      "GRPO's held-out accuracy gains more than .15",
      section.over_seeds(grpo, _gain).mean,
      ">",
      0.15,
    ),
    Claim(
      "The law R = -a exp(H) + b explains GRPO's curve with R² above .8",
      _r2(grpo),
      ">",
      0.8,
    ),
    Claim(
      "The law of GRPO's first 36% predicts its last accuracy within .02",
      _prediction_error(grpo),
      "<",
      0.02,
    ),
    Claim(
      "The probe's covariance is positive on at least 90% of GRPO's steps",
      _positive_share(grpo),
      ">=",
      0.9,
    ),
    Claim(
      "Clip-Cov's final entropy is above 1.5 times GRPO's",
      _ratio(_final_entropy(clip_cov), end),
      ">",
      1.5,
    ),
    Claim(
      "KL-Cov's final entropy is above GRPO's",
      _ratio(_final_entropy(kl_cov), end),
      ">",
      1.0,
    ),
    Claim(
      "Clip-Cov's final accuracy is above GRPO's",
      better(grpo, clip_cov, dynamics.final_score).mean,
      ">",
      0.0,
    ),
    Claim(
      "KL-Cov's final accuracy is above GRPO's",
      better(grpo, kl_cov, dynamics.final_score).mean,
      ">",
      0.0,
    ),
  ]


def _only(
  method: str, variants: dict[str, list[runs.Run]]
) -> Sequence[runs.Run]:
  """The runs of a method; none where it has several variants."""
  found = [m for m in variants.values() if m[0].method == method]
  return found[0] if len(found) == 1 else []


def _final_entropy(members: Sequence[runs.Run]) -> float:
  return section.over_seeds(members, dynamics.final_entropy).mean


def _ratio(numerator: float, denominator: float) -> float:
  return numerator / denominator if denominator else math.nan


def _gain(run: runs.Run) -> float:
  series = run.series(run_files.HELD_OUT_ACCURACY)
  return dynamics.final(series) - dynamics.first(series)


def _early_share(members: Sequence[runs.Run]) -> float:
  found = [each for run in members if (each := dynamics.collapse(run))]
  return stats.estimate([each.entropy_share for each in found]).mean


def _prediction_error(members: Sequence[runs.Run]) -> float:
  errors = [
    abs(law.predict(*each, law.EARLY).final_error)
    for each in law.of_runs(members)
    if law.can_predict(each, law.EARLY)
  ]
  return stats.estimate(errors).mean


def _positive_share(members: Sequence[runs.Run]) -> float:
  found = dynamics.probe(members)
  return math.nan if found is None else found.positive


def _r2(members: Sequence[runs.Run]) -> float:
  each = law.of_runs(members)
  return law.fit_runs(each).r2 if each else math.nan
