"""The paper's questions, answered from several studies together.

Answers are computed from the numbers alone, and name the variants they are
about or count them. A variant counts once, however many studies include it.
"""

from collections.abc import Callable, Sequence
import dataclasses

import numpy as np

from jaxrl_entropy.analysis import (
  compute,
  dynamics,
  forms,
  interventions,
  law,
  runs,
  stats,
  studies,
)
from jaxrl_entropy.analysis.studies import Study
from jaxrl_entropy.report.comparisons import (
  COVARIANCE_METHODS,
  Comparison,
  baseline_points,
  baselines,
  comparisons,
)
from jaxrl_entropy.report.measures import main_measures
from jaxrl_entropy.report.section import Section
from jaxrl_entropy.report.sections import (
  coefficients,
  coverage_gap,
  model_sizes,
)
from jaxrl_entropy.report.sections.differences import power
from jaxrl_entropy.report.wording import (
  capitalized,
  listing,
  plural,
  value_range,
)

_REMEDIES = ("Clip-higher", "Entropy bonus", "Reference KL")
_ALGORITHMS = ("RLOO", "REINFORCE++", "PRIME")


@dataclasses.dataclass(frozen=True)
class Answer:
  """A question of the paper and its answer here.

  Attributes:
    question: as the report shows it.
    answer: sentences that are computed from the studies.
  """

  question: str
  answer: str


def answers(all_studies: Sequence[Study]) -> list[Answer]:
  """Answers the questions for which the studies have data."""
  made = (
    (question, respond(all_studies)) for question, respond in _QUESTIONS.items()
  )
  return [Answer(question, text) for question, text in made if text]


def positive(all_studies: Sequence[Study]) -> str:
  """Answers whether the covariance is always positive."""
  texts = []
  for name, key in dynamics.ESTIMATORS.items():
    shares = {
      f"{label} of {study.name}": share
      for study, label, members in studies.distinct(all_studies)
      if np.isfinite(share := dynamics.positive_share(members, key))
    }
    if shares:
      low = min(shares, key=lambda name: shares[name])
      always = sum(share == 1 for share in shares.values())
      texts.append(
        f"measured by {name}, it was positive on every step in {always} of "
        f"{len(shares)} variants, and on at least {shares[low]:.0%} of the "
        f"steps in all of them (least: {low})"
      )
  return _sentences(texts)


def _collapse(all_studies: Sequence[Study]) -> str:
  kept, spent, gained = [], [], []
  for members in baselines(all_studies):
    collapses = [
      collapse for run in members if (collapse := dynamics.collapse(run))
    ]
    if collapses:
      first, final = (
        stats.over_seeds(members, measure).mean
        for measure in (dynamics.first_entropy, dynamics.final_entropy)
      )
      kept.append(final / first)
      spent.append(
        float(np.mean([collapse.entropy_share for collapse in collapses]))
      )
      gained.append(
        float(np.mean([collapse.gain_share for collapse in collapses]))
      )
  if not kept:
    return ""
  return (
    f"In {plural(len(kept), 'setting')} of plain {runs.BASELINE}, entropy "
    f"ended at {value_range(kept, '.0%')} of its start. The first twelfth of "
    f"training accounts for {value_range(spent, '.0%')} of the fall and "
    f"{value_range(gained, '.0%')} of the gain in accuracy; the paper reports "
    "73% and 76%."
  )


def _law(all_studies: Sequence[Study]) -> str:
  settings = baseline_points(all_studies)
  if not settings:
    return ""
  r2 = [law.fit_runs(points).r2 for points in settings]
  rivals = [forms.compare(points) for points in settings]
  close = [one.form.name for every in rivals for one in every if one.is_close]
  best = [
    one.form.name for every in rivals if (one := forms.best_predictor(every))
  ]
  return (
    f"In {plural(len(settings), 'setting')} of plain {runs.BASELINE}, R² is "
    f"{value_range(r2)} (median {np.median(r2):.3f}). Settings in which a form "
    f"had the lowest AIC or one within {forms.MIN_AIC_DIFFERENCE} of it: "
    f"{_counts(close)}. Settings in which it predicted the second half best "
    f"from the first: {_counts(best)}."
  )


def _counts(names: Sequence[str]) -> str:
  """Counts how often each form is named."""
  return ", ".join(f"{f.name} {names.count(f.name)}" for f in forms.FORMS)


def _early(all_studies: Sequence[Study]) -> str:
  texts = []
  for fraction in (law.EARLY_FRACTION, law.PAPER_EARLY_FRACTION):
    errors, rivals = early_errors(all_studies, fraction)
    if errors:
      texts.append(
        f"a law of the first {fraction:.0%} of the points misses the last "
        f"accuracy by {value_range(errors)} in {plural(len(errors), 'run')} "
        f"(median {np.median(errors):.3f}); a sigmoid in steps, which is not "
        f"given the later entropies, by {value_range(rivals)} (median "
        f"{np.median(rivals):.3f})"
      )
  return _sentences([*texts, "the paper reports about .005"]) if texts else ""


def early_errors(
  all_studies: Sequence[Study], fraction: float
) -> tuple[list[float], list[float]]:
  """Returns errors at the end, of the law and of a sigmoid in steps.

  They are absolute, one for each run of the baseline whose first `fraction`
  both can be fitted to.

  Args:
    all_studies: the studies; a variant that several of them have counts once.
    fraction: share of a run's points to fit, from 0 to 1.

  Returns:
    Both in units of the score, and in the same order of the runs.
  """
  pairs = [
    (abs(law.predict(*points, fraction).final_error), abs(rival))
    for members in baselines(all_studies)
    for run in members
    for points in law.of_runs([run])
    if law.can_predict(points, fraction)
    and (rival := compute.final_error(run, fraction)) == rival
  ]
  return [error for error, _ in pairs], [error for _, error in pairs]


def _parameters(all_studies: Sequence[Study]) -> str:
  texts = []
  for study in all_studies:
    labels = {
      label: by_run
      for label, members in study.variants.items()
      if members[0].method in (runs.BASELINE, *_ALGORITHMS)
      and (by_run := law.of_runs(members))
    }
    if {m[0].method for m in study.variants.values()} & set(_ALGORITHMS):
      slopes = [law.fit_runs(by_run).a for by_run in labels.values()]
      reach = [np.ptp([law.fit(*one).a for one in e]) for e in labels.values()]
      texts.append(
        f"over {listing(list(labels))}, a is {value_range(slopes)}; seeds of "
        f"one algorithm differ in a by up to {max(reach):.3f}"
      )
    sizes = model_sizes.build(study)
    if isinstance(sizes, Section):
      texts.append(sizes.sentence.rstrip("."))
  return _sentences(texts)


def _first_order(all_studies: Sequence[Study]) -> str:
  agreements = [
    (label, members, agreement)
    for _, label, members in studies.distinct(all_studies)
    if (agreement := dynamics.probe(members))
  ]
  if not agreements:
    return ""
  correlations = [agreement.correlation for _, _, agreement in agreements]
  realized = [agreement.realized for _, _, agreement in agreements]
  single = [
    f"{agreement.realized:.0%} for {label}"
    for label, members, agreement in agreements
    if members[0].setting("rollout.num_minibatches") == 1
  ]
  text = (
    "Step by step, minus the covariance correlates with the measured change by "
    f"{value_range(correlations)} in {len(agreements)} variants. Summed over "
    f"steps, entropy changed by {value_range(realized, '.0%')} of this "
    "first-order prediction"
  )
  if single:
    text += f"; with one update per rollout, by {listing(single)}"
  return f"{text}."


def _remedies(all_studies: Sequence[Study]) -> str:
  compared = [
    comparison
    for comparison in comparisons(all_studies, _REMEDIES)
    if not comparison.members[0].setting("loss.controllers")
  ]
  if not compared:
    return ""
  texts = [
    f"{comparison.label} "
    f"{comparison.difference(dynamics.final_entropy).mean:+.3f} and "
    f"{_signed(comparison.difference(dynamics.final_score))}"
    for comparison in compared
  ]
  text = (
    f"Final entropy (nats per token) and accuracy minus {runs.BASELINE}'s: "
    f"{'; '.join(texts)}."
  )
  if all(len(comparison.members) == 1 for comparison in compared):
    text += " One seed gives no interval."
  return text


def _kept(all_studies: Sequence[Study]) -> str:
  ratios = {
    comparison.name: stats.over_seeds(
      comparison.members, dynamics.final_entropy
    ).mean
    / stats.over_seeds(comparison.baseline, dynamics.final_entropy).mean
    for comparison in comparisons(all_studies, COVARIANCE_METHODS)
  }
  if not ratios:
    return ""
  low, high = (f(ratios, key=lambda k: ratios[k]) for f in (min, max))
  above = sum(ratio > 1 for ratio in ratios.values())
  swept = [
    made.sentence
    for study in all_studies
    if set(COVARIANCE_METHODS) & {run.method for run in study.runs}
    and isinstance(made := coefficients.build(study), Section)
  ]
  return " ".join(
    [
      f"{above} of {len(ratios)} variants ended with more entropy than "
      f"{runs.BASELINE}: from {ratios[low]:.2f} times ({low}) to "
      f"{ratios[high]:.2f} times ({high}).",
      *swept,
    ]
  )


def _higher(all_studies: Sequence[Study]) -> str:
  compared = comparisons(all_studies, COVARIANCE_METHODS)
  if not compared:
    return ""
  seeded: dict[str, stats.Estimate] = {}
  single: dict[str, stats.Estimate] = {}
  for comparison in compared:
    for name, measure in main_measures(comparison.members).items():
      difference = comparison.difference(measure)
      group = seeded if difference.count > 1 else single
      group[f"{comparison.name} in {name}"] = difference
  signs = stats.holm(list(seeded.values()))
  sure = zip(seeded.items(), signs, strict=True)
  above = [f"{what} ({over})" for (what, over), sign in sure if sign > 0]
  alone = [over.sign for over in seeded.values()]
  texts = [
    f"{'Yes' if above else 'Not found'}. Of {len(seeded)} comparisons over "
    f"seeds in accuracy, greedy accuracy and pass@k, {alone.count(1)} are "
    f"above {runs.BASELINE} with an interval that excludes 0, and "
    f"{alone.count(-1)} are below; after Holm's correction for their number, "
    f"{signs.count(1)} and {signs.count(-1)}."
  ]
  texts += [f"Above after it: {listing(above)}."] if above else []
  texts.append(f"Studies: {_names(compared)}.")
  if single:
    best = max(single, key=lambda k: single[k].mean)
    ups = sum(over.mean > 0 for over in single.values())
    texts.append(
      f"Of {len(single)} comparisons with one seed, {ups} are above; the "
      f"largest difference, {single[best].mean:.3f}, is that of {best}."
    )
  return " ".join(texts)


def _coverage(all_studies: Sequence[Study]) -> str:
  gaps = {
    comparison.name: gap
    for comparison in comparisons(all_studies, COVARIANCE_METHODS)
    if coverage_gap.is_measured(comparison.baseline)
    and (gap := coverage_gap.at_equal_accuracy(comparison)).count > 1
  }
  if not gaps:
    return ""
  signs = stats.holm(list(gaps.values()))
  texts = [
    f"Against {runs.BASELINE} stopped at the accuracy of their end, "
    f"{plural(len(gaps), 'variant')} of Clip-Cov and KL-Cov differ by "
    f"{value_range([gap.mean for gap in gaps.values()], '+.3f')} in pass@k "
    f"of the largest k. After Holm's correction, {signs.count(1)} are above "
    f"and {signs.count(-1)} below.",
    power(list(gaps.values()), signs),
  ]
  return " ".join(filter(None, texts))


def _names(compared: Sequence[Comparison]) -> str:
  return listing(
    list(dict.fromkeys(comparison.study for comparison in compared))
  )


def _intervened(all_studies: Sequence[Study]) -> str:
  compared = [
    interventions.compare(comparison.baseline, comparison.members)
    for comparison in comparisons(all_studies, COVARIANCE_METHODS)
  ]
  compared = [effect for effect in compared if effect.count]
  if not compared:
    return ""
  seeded = [effect for effect in compared if effect.count > 1]
  residuals = [
    effect.residual.mean for effect in compared if effect.residual.count
  ]
  apart = sum(effect.residual.sign != 0 for effect in seeded)
  past = sum(effect.above_ceiling.mean > 0 for effect in compared)
  return (
    f"At equal entropy, {len(residuals)} variants of Clip-Cov and KL-Cov "
    f"differ by {value_range(residuals, '+.3f')} from {runs.BASELINE}'s law. "
    f"Over seeds, {apart} of {len(seeded)} are separable from it. {past} of "
    f"{len(compared)} end above the ceiling that it predicts."
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
  "Do Clip-Cov and KL-Cov keep entropy, and can the level be chosen?": _kept,
  "Do they end higher than GRPO?": _higher,
  "Do they keep more coverage at equal accuracy?": _coverage,
  "Does the law hold when entropy is kept?": _intervened,
}


def _signed(estimate: stats.Estimate) -> str:
  return f"{'+' * (estimate.mean > 0)}{estimate}"


def _sentences(texts: Sequence[str]) -> str:
  return " ".join(f"{capitalized(text)}." for text in texts)
