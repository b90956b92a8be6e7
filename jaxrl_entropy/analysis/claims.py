"""Statements about a study that its numbers confirm or refute."""

from collections.abc import Sequence
import dataclasses
import math
import operator

from jaxrl_entropy.analysis import dynamics, law, law_sections, runs, section


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


def check(study: runs.Study) -> list[Claim]:
  """The paper's qualitative statements, for this study."""
  variants = study.variants
  grpo = study.baseline[1] if study.baseline else []
  clip_cov = _first_of("Clip-Cov", variants)
  kl_cov = _first_of("KL-Cov", variants)
  end = _entropy(grpo, dynamics.final)
  return [
    Claim(
      "GRPO's final entropy, as a share of its first, is below 0.5",
      _ratio(end, _entropy(grpo, dynamics.first)),
      "<",
      0.5,
    ),
    Claim(
      "GRPO's held-out accuracy gains more than .15",
      section.mean_over(grpo, _gain),
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
      "The probe's covariance is positive on at least 90 % of GRPO's steps",
      section.mean_over(grpo, _positive_share),
      ">=",
      0.9,
    ),
    Claim(
      "Clip-Cov's final entropy is above 1.5 times GRPO's",
      _ratio(_entropy(clip_cov, dynamics.final), end),
      ">",
      1.5,
    ),
    Claim(
      "KL-Cov's final entropy is above GRPO's",
      _ratio(_entropy(kl_cov, dynamics.final), end),
      ">",
      1.0,
    ),
  ]


def _first_of(
  method: str, variants: dict[str, list[runs.Run]]
) -> Sequence[runs.Run]:
  for members in variants.values():
    if members[0].method == method:
      return members
  return []


def _entropy(members: Sequence[runs.Run], measure) -> float:
  return section.mean_over(
    members, lambda run: measure(run.series(runs.ENTROPY))
  )


def _ratio(numerator: float, denominator: float) -> float:
  return numerator / denominator if denominator else math.nan


def _gain(run: runs.Run) -> float:
  series = run.series(runs.HELD_OUT)
  return dynamics.final(series) - dynamics.first(series)


def _positive_share(run: runs.Run) -> float:
  found = dynamics.probe(run)
  return math.nan if found is None else found.positive


def _r2(members: Sequence[runs.Run]) -> float:
  if not members or not law_sections.fits(
    points := law_sections.pooled(members)
  ):
    return math.nan
  return law.fit(*points).r2
