"""Variants beside the baseline of their study, over several studies."""

from collections.abc import Iterator, Sequence
import dataclasses

from jaxrl_entropy.analysis import interventions, law, runs, stats, studies
from jaxrl_entropy.analysis.studies import Study
from jaxrl_entropy.report.measures import Measure
from jaxrl_entropy.report.section import Members

COVARIANCE_METHODS = ("Clip-Cov", "KL-Cov")


@dataclasses.dataclass(frozen=True)
class Comparison:
  """A variant and the runs of plain GRPO in the same study.

  Attributes:
    study: name of the study.
    label: that of the variant in its study.
    members: runs of the variant.
    baseline: runs of plain GRPO.
  """

  study: str
  label: str
  members: Members
  baseline: Members

  def difference(self, measure: Measure) -> stats.Estimate:
    """Estimates `measure` minus the baseline's, seed by seed.

    Args:
      measure: a number of a run, such as `dynamics.final_score`.
    """
    return interventions.differences(self.baseline, self.members, measure)

  @property
  def method(self) -> str:
    """The algorithm of the variant."""
    return self.members[0].method

  @property
  def name(self) -> str:
    """Label and study."""
    return f"{self.label} of {self.study}"


def comparisons(
  parts: Sequence[Study], methods: Sequence[str] = ()
) -> list[Comparison]:
  """Returns the variants of some methods, or of all but the baseline.

  Args:
    parts: the studies.
    methods: names of methods; all if empty.
  """
  return [
    Comparison(study.name, label, members, study.baseline[1])
    for study, label, members in studies.distinct(parts)
    if study.baseline
    and not study.confounders(label)
    and (method := members[0].method) != runs.BASELINE
    and (not methods or method in methods)
  ]


def baselines(parts: Sequence[Study]) -> Iterator[Members]:
  """Yields the distinct variants of plain GRPO."""
  for _, _, members in studies.distinct(parts):
    if members[0].method == runs.BASELINE:
      yield members


def baseline_points(parts: Sequence[Study]) -> list[list[law.Points]]:
  """Returns the law's points of the distinct variants of plain GRPO."""
  every = (law.of_runs(members) for members in baselines(parts))
  return [each for each in every if each]
