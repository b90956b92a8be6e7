"""The paper's questions, answered from all studies together.

An answer is made of the numbers alone, and says of how many variants, or of
which, it speaks. A variant is counted once, however many studies compare with
it.
"""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import functools

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import (
  dynamics,
  forms,
  interventions,
  law,
  runs,
  stats,
  studies,
)
from jaxrl_entropy.analysis.studies import Study
from jaxrl_entropy.report import section
from jaxrl_entropy.report.section import Members
from jaxrl_entropy.report.sections import settings

_COVARIANCE_METHODS = ("Clip-Cov", "KL-Cov")
_REMEDIES = ("Clip-higher", "Entropy bonus", "Reference KL")
_ALGORITHMS = ("RLOO", "REINFORCE++", "PRIME")


@dataclasses.dataclass(frozen=True)
class Answer:
  question: str
  answer: str


def answers(parts: Sequence[Study]) -> list[Answer]:
  """Those that the studies have the data for."""
  made = ((question, each(parts)) for question, each in _QUESTIONS.items())
  return [Answer(question, text) for question, text in made if text]


@dataclasses.dataclass(frozen=True)
class Compared:
  """A variant beside plain GRPO's runs in the same study."""

  study: str
  label: str
  members: Members
  baseline: Members

  def over(self, measure: Callable[[runs.Run], float]) -> stats.Estimate:
    return interventions.differences(self.baseline, self.members, measure)

  @property
  def name(self) -> str:
    return f"{self.label} of {self.study}"


def compared(
  parts: Sequence[Study], methods: Sequence[str] = ()
) -> list[Compared]:
  """The variants of some methods, or of all but the baseline's."""
  return [
    Compared(study.name, label, members, study.baseline[1])
    for study, label, members in studies.distinct(parts)
    if study.baseline
    and (method := members[0].method) != runs.BASELINE
    and (not methods or method in methods)
  ]


def _collapse(parts: Sequence[Study]) -> str:
  kept, spent, gained = [], [], []
  for members in _plain(parts):
    found = [each for run in members if (each := dynamics.collapse(run))]
    if found:
      first, final = (
        section.over_seeds(members, measure).mean
        for measure in (dynamics.first_entropy, dynamics.final_entropy)
      )
      kept.append(final / first)
      spent.append(float(np.mean([each.entropy_share for each in found])))
      gained.append(float(np.mean([each.gain_share for each in found])))
  if not kept:
    return ""
  return (
    f"In {section.plural(len(kept), 'setting')} of plain {runs.BASELINE}, "
    f"entropy ended at {_percents(kept)} of its start. The first twelfth of "
    f"training took {_percents(spent)} of the fall and {_percents(gained)} of "
    "the gain of accuracy, where the paper reports 73% and 76%."
  )


def _law(parts: Sequence[Study]) -> str:
  each = _plain_points(parts)
  if not each:
    return ""
  r2 = [law.fit_runs(points).r2 for points in each]
  rivals = [forms.compare(points) for points in each]
  close = [one.form.name for found in rivals for one in found if one.is_close]
  best = [one.form.name for found in rivals if (one := forms.surest(found))]
  return (
    f"In {section.plural(len(each), 'setting')} of plain {runs.BASELINE}, its "
    "R² is "
    f"{_numbers(r2)} (median {np.median(r2):.3f}). Times that a form was "
    f"lowest in AIC or within {forms.DISTINCT} of it: {_counts(close)}; that "
    "it was best at predicting the second half from the first: "
    f"{_counts(best)}."
  )


def _counts(names: Sequence[str]) -> str:
  """How often each form is named."""
  return ", ".join(f"{f.name} {names.count(f.name)}" for f in forms.FORMS)


def _early(parts: Sequence[Study]) -> str:
  texts = []
  for fraction in (law.EARLY, law.PAPERS_EARLY):
    errors = [
      abs(law.predict(*each, fraction).final_error)
      for points in _plain_points(parts)
      for each in points
      if law.can_predict(each, fraction)
    ]
    if errors:
      texts.append(
        f"a law of the first {fraction:.0%} of the points misses the last "
        f"accuracy by {_numbers(errors)} in "
        f"{section.plural(len(errors), 'run')}, with a median of "
        f"{np.median(errors):.3f}"
      )
  if not texts:
    return ""
  text = "; ".join(texts)
  return f"{text[0].upper()}{text[1:]}. The paper reports about .005."


def _parameters(parts: Sequence[Study]) -> str:
  texts = []
  for study in parts:
    labels = {
      label: each
      for label, members in study.variants.items()
      if members[0].method in (runs.BASELINE, *_ALGORITHMS)
      and (each := law.of_runs(members))
    }
    if {m[0].method for m in study.variants.values()} & set(_ALGORITHMS):
      slopes = [law.fit_runs(each).a for each in labels.values()]
      spans = [np.ptp([law.fit(*one).a for one in e]) for e in labels.values()]
      texts.append(
        f"over {section.listing(list(labels))}, a is {_numbers(slopes)}; seeds "
        f"of one algorithm differ in a by up to {max(spans):.3f}"
      )
    if sizes := settings.sizes(study):
      texts.append(sizes.sentence.rstrip("."))
  return _sentences(texts)


def _first_order(parts: Sequence[Study]) -> str:
  found = [
    (label, members, each)
    for _, label, members in studies.distinct(parts)
    if (each := dynamics.probe(members))
  ]
  if not found:
    return ""
  return (
    "Step by step, minus the covariance correlates with the measured change by "
    f"{_numbers([each.correlation for _, _, each in found])} in {len(found)} "
    "variants. Summed over steps, entropy changed by "
    f"{_percents([each.realised for _, _, each in found])} of the prediction, "
    f"which is of first order in the step{_small_steps(found)}."
  )


def _small_steps(
  found: Sequence[tuple[str, Members, dynamics.Agreement]],
) -> str:
  """The variants with one update a rollout, in words."""
  single = [
    f"{label} {each.realised:.0%}"
    for label, members, each in found
    if members[0].setting("optimizer.updates") == 1
  ]
  return f"; with one update a rollout: {', '.join(single)}" if single else ""


def positive(parts: Sequence[Study]) -> str:
  texts = []
  for name, key in dynamics.ESTIMATORS.items():
    shares = {
      f"{label} of {study.name}": share
      for study, label, members in studies.distinct(parts)
      if np.isfinite(share := dynamics.positive_share(members, key))
    }
    if shares:
      low = min(shares, key=lambda k: shares[k])
      always = sum(share == 1 for share in shares.values())
      texts.append(
        f"by {name}, on all steps in {always} of {len(shares)} variants, and "
        f"on {shares[low]:.0%} of them at least ({low})"
      )
  return f"It was positive {'; '.join(texts)}." if texts else ""


def _remedies(parts: Sequence[Study]) -> str:
  found = [
    each
    for each in compared(parts, _REMEDIES)
    if not each.members[0].setting("loss.controllers")
  ]
  if not found:
    return ""
  texts = [
    f"{each.label} {each.over(dynamics.final_entropy).mean:+.3f} and "
    f"{_signed(each.over(dynamics.final_score))}"
    for each in found
  ]
  return (
    f"Final entropy (nats a token) and accuracy over {runs.BASELINE}'s: "
    f"{'; '.join(texts)}. {_without_interval(found)}"
  ).strip()


def _kept(parts: Sequence[Study]) -> str:
  found = compared(parts, _COVARIANCE_METHODS)
  ratios = {
    each.name: section.over_seeds(each.members, dynamics.final_entropy).mean
    / section.over_seeds(each.baseline, dynamics.final_entropy).mean
    for each in found
  }
  if not ratios:
    return ""
  low, high = (f(ratios, key=lambda k: ratios[k]) for f in (min, max))
  above = sum(ratio > 1 for ratio in ratios.values())
  swept = [
    made.sentence
    for study in parts
    if (made := settings.coefficients(study))
    and set(_COVARIANCE_METHODS) & {r.method for r in study.runs}
  ]
  return " ".join(
    [
      f"{above} of {len(ratios)} variants ended with more than "
      f"{runs.BASELINE}, from {ratios[low]:.2f} times ({low}) to "
      f"{ratios[high]:.2f} times ({high}).",
      *swept,
    ]
  )


def _higher(parts: Sequence[Study]) -> str:
  found = compared(parts, _COVARIANCE_METHODS)
  if not found:
    return ""
  seeded: dict[str, stats.Estimate] = {}
  single: dict[str, stats.Estimate] = {}
  for each in found:
    for name, measure in ends(each).items():
      over = each.over(measure)
      one = seeded if over.count > 1 else single
      one[f"{each.name} in {name}"] = over
  above = [f"{k} ({over})" for k, over in seeded.items() if over.sign > 0]
  below = sum(over.sign < 0 for over in seeded.values())
  tried = section.listing(list(dict.fromkeys(each.study for each in found)))
  texts = [
    f"{'Yes' if above else 'Not found'}: of {len(seeded)} comparisons over "
    f"seeds in accuracy, greedy accuracy and pass@k, {len(above)} are above "
    f"{runs.BASELINE} with an interval without 0 and {below} below."
  ]
  texts += [f"Above: {section.listing(above)}."] if above else []
  texts.append(f"Tried in {tried}.")
  if single:
    best = max(single, key=lambda k: single[k].mean)
    ups = sum(over.mean > 0 for over in single.values())
    texts.append(
      f"Of {len(single)} comparisons with one seed, {ups} are above; the most, "
      f"by {single[best].mean:.3f}, is {best}."
    )
  return " ".join(texts)


def ends(each: Compared) -> dict[str, Callable[[runs.Run], float]]:
  """Accuracy, greedy accuracy, and pass@k of the largest k, at the end."""
  metrics = each.members[0].metrics
  passes = sorted(
    (key for key in metrics if key.startswith(run_files.HELD_OUT_PASS)),
    key=lambda key: int(key.removeprefix(run_files.HELD_OUT_PASS)),
  )
  keys = [
    key for key in (run_files.HELD_OUT_GREEDY, *passes[-1:]) if key in metrics
  ]
  return {
    "accuracy": dynamics.final_score,
    **{
      key.rpartition("/")[2]: functools.partial(dynamics.final_value, key=key)
      for key in keys
    },
  }


def _intervened(parts: Sequence[Study]) -> str:
  found = [
    interventions.compare(each.baseline, each.members)
    for each in compared(parts, _COVARIANCE_METHODS)
  ]
  found = [each for each in found if each.count]
  seeded = [each for each in found if each.count > 1]
  if not found:
    return ""
  residuals = [each.residual.mean for each in found if each.residual.count]
  apart = sum(each.residual.sign != 0 for each in seeded)
  past = sum(each.above_ceiling.mean > 0 for each in found)
  return (
    f"At equal entropy, {len(residuals)} variants of Clip-Cov and KL-Cov lie "
    f"{_numbers(residuals, signed=True)} from {runs.BASELINE}'s law; over "
    f"seeds, {apart} of {len(seeded)} are separable from it. {past} of "
    f"{len(found)} end above the ceiling that it predicts."
  )


_QUESTIONS: dict[str, Callable[[Sequence[Study]], str]] = {
  "Does reinforcement learning spend the policy's entropy, and early?": (
    _collapse
  ),
  "Does R = -a exp(H) + b hold?": _law,
  "Do early points predict the later curve?": _early,
  "Do a and b depend on the algorithm, and on the model's size?": _parameters,
  "Does the covariance predict the change of entropy?": _first_order,
  "Is the covariance always positive?": positive,
  "Do clip-higher, an entropy bonus or a reference KL help?": _remedies,
  "Do Clip-Cov and KL-Cov keep entropy up, and can the level be chosen?": _kept,
  "Do they end higher than GRPO?": _higher,
  "Does the law hold when entropy is kept?": _intervened,
}


def _plain(parts: Sequence[Study]) -> Iterator[Members]:
  """The distinct variants of plain GRPO."""
  for _, _, members in studies.distinct(parts):
    if members[0].method == runs.BASELINE:
      yield members


def _plain_points(parts: Sequence[Study]) -> list[list[law.Points]]:
  return [each for members in _plain(parts) if (each := law.of_runs(members))]


def _percents(values: Sequence[float]) -> str:
  low, high = f"{min(values):.0%}", f"{max(values):.0%}"
  return low if low == high else f"{low} to {high}"


def _numbers(
  values: Sequence[float], digits: int = 3, signed: bool = False
) -> str:
  sign = "+" if signed else ""
  return f"{min(values):{sign}.{digits}f} to {max(values):{sign}.{digits}f}"


def _signed(found: stats.Estimate) -> str:
  return f"{'+' * (found.mean > 0)}{found}"


def _without_interval(found: Sequence[Compared]) -> str:
  one = all(len(each.members) == 1 for each in found)
  return "One seed gives no interval." if one else ""


def _sentences(texts: Sequence[str]) -> str:
  return " ".join(f"{text[0].upper()}{text[1:]}." for text in texts)
