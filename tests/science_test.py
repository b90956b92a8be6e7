"""The headline's statements, from the committed metrics and numpy alone.

Nothing of `analysis` is used: what docs/science.md says of these runs is worked
out a second time, by other means.
"""

import json
from pathlib import Path
import re

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "results.md").read_text()
METHODS = ("grpo", "clip_cov", "kl_cov")
SEEDS = range(3)


def column(method, seed, key, study="headline"):
  """(steps, values) at which a metric was measured."""
  (folder,) = (ROOT / "docs/results" / study).glob(f"{method},seed={seed}*")
  columns = json.loads((folder / "metrics.json").read_text())
  pairs = zip(columns["step"], columns[key], strict=True)
  return np.array([pair for pair in pairs if pair[1] is not None]).T


def entropy(method, seed, study="headline"):
  return column(method, seed, "entropy/token_mean", study)[1]


def accuracy(method, seed, study="headline", kind="accuracy"):
  return column(method, seed, f"eval/held_out/{kind}", study)[1]


def shown(section, row, study="headline"):
  """A row of a table of the page, as numbers and intervals."""
  text = PAGE[PAGE.index(f"### {study}\n") :]
  text = text[text.index(f"**{section}") :]
  line = re.search(rf"^\| {re.escape(row)} \|(.*)$", text, re.M)[1]
  cells = (re.findall(r"-?[\d.]+", cell) for cell in line.split("|"))
  return [[float(number) for number in cell] for cell in cells if cell]


def over_seeds(values):
  """Mean and half-width of Student's 95% interval."""
  values = np.array(values)
  low, high = scipy.stats.t.interval(
    0.95, len(values) - 1, values.mean(), scipy.stats.sem(values)
  )
  return [values.mean(), (high - low) / 2]


def huber(h, r):
  """a and b of r = b - a exp(h), by minimising Huber's loss directly.

  The scale is that of the residuals' median, found by iteration.
  """
  a, b = -np.polyfit(np.exp(h), r, 1)[0], np.polyfit(np.exp(h), r, 1)[1]
  for _ in range(50):
    scale = np.median(np.abs(r - b + a * np.exp(h))) / 0.6745
    found = scipy.optimize.least_squares(
      lambda p: (r - p[1] + p[0] * np.exp(h)) / (1.345 * scale),  # noqa: B023
      (a, b),
      loss="huber",
      xtol=1e-12,
    )
    a, b = found.x
  return a, b


def law_points(method, seed):
  """Evaluations every four steps; windows of three, one at the ends."""
  steps, score = column(method, seed, "eval/held_out/accuracy")
  all_entropy = entropy(method, seed)
  last = len(all_entropy) - 1
  windows = [
    all_entropy[max(0, s - 1) : s + 2]
    if 0 < s < last
    else all_entropy[s : s + 1]
    for s in steps.astype(int)
  ]
  return np.array([window.mean() for window in windows]), score


@pytest.mark.parametrize("study", ["headline", "hard"])
@pytest.mark.parametrize("method", METHODS[1:])
def test_no_method_that_keeps_entropy_ends_above_grpo(study, method):
  for kind in ("accuracy", "greedy", "pass@4"):
    mean, half = over_seeds(
      [
        accuracy(method, s, study, kind)[-1]
        - accuracy("grpo", s, study, kind)[-1]
        for s in SEEDS
      ]
    )
    assert mean - half < 0
  assert all(
    entropy(method, s, study)[-3:].mean()
    > entropy("grpo", s, study)[-3:].mean()
    for s in SEEDS
  )


@pytest.mark.parametrize(
  ("method", "name"), [("clip_cov", "Clip-Cov"), ("kl_cov", "KL-Cov")]
)
def test_final_differences_are_those_of_the_page(method, name):
  columns = [
    over_seeds(
      [
        accuracy(method, s, kind=kind)[-1] - accuracy("grpo", s, kind=kind)[-1]
        for s in SEEDS
      ]
    )
    for kind in ("accuracy", "greedy", "pass@2", "pass@4")
  ]
  _, *found = shown("Final results minus GRPO's", name)
  np.testing.assert_allclose(found, columns, atol=6e-4)


def test_the_law_of_each_method_is_that_of_the_page():
  for method, name in zip(METHODS, ("GRPO", "Clip-Cov", "KL-Cov"), strict=True):
    a, b = np.array([huber(*law_points(method, s)) for s in SEEDS]).T
    points, shown_a, shown_b, ceiling, span_a, span, *_ = shown(
      "Performance against entropy", name
    )
    assert points == [51]
    assert shown_a[0] == pytest.approx(a.mean(), abs=1e-3)
    assert shown_b[0] == pytest.approx(b.mean(), abs=1e-3)
    assert ceiling[0] == pytest.approx((b - a).mean(), abs=1e-3)
    assert span_a == pytest.approx([a.min(), a.max()], abs=1e-3)
    assert span == pytest.approx([(b - a).min(), (b - a).max()], abs=1e-3)


def test_what_the_probe_says_is_that_of_the_page():
  minus, delta = (
    np.concatenate([column("grpo", s, f"probe/{key}")[1] for s in SEEDS])
    for key in ("minus_cov", "delta_entropy")
  )
  assert f"{(minus < 0).mean():.0%} of {len(minus)} steps" in PAGE
  same = (np.sign(minus) == np.sign(delta)).mean()
  correlation = np.corrcoef(minus, delta)[0, 1]
  slope = scipy.stats.linregress(minus, delta).slope
  assert (
    f"entropy on {same:.0%} of them (correlation {correlation:.2f}, slope "
    f"{slope:.2f})" in PAGE
  )
  share = delta.sum() / minus.sum()
  assert f"changed by {share:.0%} of the first-order prediction" in PAGE


def test_smollm2_ran_thirty_steps_with_its_curve():
  folder = ROOT / "docs/results/smollm2"
  columns = json.loads((folder / "grpo" / "metrics.json").read_text())
  config = json.loads((folder / "grpo" / "config.json").read_text())["config"]
  assert columns["step"][-1] >= 30
  assert config["model"]["preset"] == "smollm2-135m"
  assert (
    config["rollout"]["prompts_per_step"] * config["rollout"]["group_size"]
    == 64
  )
  assert sum(value is not None for value in columns["reward/accuracy"]) >= 30
  report = (folder / "report" / "report.html").read_text()
  assert "Entropy (nats/token)" in report
