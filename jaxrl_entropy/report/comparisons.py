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
  all_studies: Sequence[Study], methods: Sequence[str] = ()
) -> list[Comparison]:
  """Returns the variants of some methods, or of all but the baseline.

  Args:
    all_studies: the studies.
    methods: names of methods; all if empty.
  """
  return [
    Comparison(study.name, label, members, study.baseline[1])
    for study, label, members in studies.distinct(all_studies)
    if study.baseline
    and not study.confounders(label)
    and (method := members[0].method) != runs.BASELINE
    and (not methods or method in methods)
  ]


def baselines(all_studies: Sequence[Study]) -> Iterator[Members]:
  """Yields the distinct variants of plain GRPO."""
  for _, _, members in studies.distinct(all_studies):
    if members[0].method == runs.BASELINE:
      yield members


def baseline_points(all_studies: Sequence[Study]) -> list[list[law.Points]]:
  """Returns the law's points of the distinct variants of plain GRPO."""
  every = (law.of_runs(members) for members in baselines(all_studies))
  return [by_run for by_run in every if by_run]
