"""Few seeds of many variants: one spread, without what a seed does to all."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from jaxrl_entropy.analysis import pooled
from jaxrl_entropy.analysis.runs import Run


def study(table):
  """Runs that hold their own value, by variant and seed."""
  return {
    label: [
      dataclasses.replace(EMPTY, name=str(value), config={"seed": seed})
      for seed, value in enumerate(values)
    ]
    for label, values in table.items()
  }


EMPTY = Run(name="", config={}, records=[])


def value(run):
  return float(run.name)


def test_what_a_seed_does_to_all_is_no_spread():
  table = {"a": (1.0, 2.0), "b": (3.0, 4.0), "c": (5.0, 6.0)}
  found = pooled.pool(study(table), value)
  assert found.freedom == 2
  assert found.spread == pytest.approx(0.0, abs=1e-12)
  assert found.signs("b") == {"a": -1, "b": 0, "c": 1}


def test_intervals_are_those_of_a_two_way_analysis_of_variance():
  rng = np.random.default_rng(0)
  values = rng.normal(size=(5, 3))
  table = dict(zip("abcde", values, strict=True))
  found = pooled.pool(study(table), value)
  effects = values.mean(1, keepdims=True) + values.mean(0) - values.mean()
  spread = np.sqrt(((values - effects) ** 2).sum() / 8)
  half = scipy.stats.t.ppf(0.975, 8) * spread / np.sqrt(3)
  assert found.estimate("c").half_width == pytest.approx(half)
  assert found.estimate("c").mean == pytest.approx(values[2].mean())


def test_the_pooled_test_is_honest_where_nothing_differs():
  """Of studies without a difference, few establish any sign at all."""
  rng = np.random.default_rng(1)
  wrong = 0
  for _ in range(100):
    table = dict(zip("abcdefgh", rng.normal(size=(8, 2)), strict=True))
    wrong += any(pooled.pool(study(table), value).signs("a").values())
  assert wrong <= 12  # 5 % of them are expected.


def test_a_variant_without_a_seed_is_compared_as_if_it_had_it():
  table = {"a": (1.0, 3.0), "b": (2.0, 4.0), "c": (1.5,)}
  found = pooled.pool(study(table), value)
  assert found.freedom == 1
  assert found.spread == pytest.approx(0.0, abs=1e-9)
  assert found.estimate("c").mean == pytest.approx(2.5)
  assert found.signs("a") == {"a": 0, "b": 1, "c": 1}


def test_lone_runs_have_no_interval():
  alone = pooled.pool(study({"a": (1.0,), "b": (2.0,)}), value)
  assert str(alone.estimate("a")) == "1.000"
  assert alone.signs("a") == {"a": 0, "b": 0}


def test_a_run_without_the_number_is_left_out():
  found = pooled.pool(study({"a": (1.0, np.nan), "b": (np.nan, np.nan)}), value)
  assert found.estimate("a").count == 1
  assert str(found.estimate("b")) == "–"
