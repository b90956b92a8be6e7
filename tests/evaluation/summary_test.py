"""Estimates from the verdicts of several samples."""

from itertools import combinations

import numpy as np
import pytest

from jaxrl_entropy.evaluation.summary import majority, pass_at_k, summarize


@pytest.mark.parametrize("right", range(6))
@pytest.mark.parametrize("k", [1, 2, 5])
def test_pass_at_k_counts_the_subsets_with_a_right_sample(right, k):
  subsets = list(combinations([True] * right + [False] * (5 - right), k))
  expected = np.mean([any(subset) for subset in subsets])
  assert pass_at_k(5, right, k) == pytest.approx(expected)


def test_pass_at_k_needs_k_samples():
  with pytest.raises(ValueError, match="pass@4"):
    pass_at_k(3, 1, 4)


@pytest.mark.parametrize(
  ("answers", "right", "chance"),
  [
    (["4", "4", "5"], [True, True, False], 1.0),
    (["5", "5", "4"], [False, False, True], 0.0),
    # Two spellings of the right answer are one answer.
    (["1/2", "0.5", "3", "3"], [True, True, False, False], 0.5),
    (["4", "5", "6"], [True, False, False], 1 / 3),
    ([None, None, "5", "4", "4"], [False, False, False, True, True], 1.0),
    ([None, None, None], [False, False, False], 0.0),
  ],
)
def test_a_majority_votes(answers, right, chance):
  assert majority(answers, right) == pytest.approx(chance)


def record(response, right):
  return {
    "id": "a",
    "source": "s",
    "difficulty": None,
    "greedy": False,
    "temperature": 1.0,
    "response": response,
    "correct": right,
    "reward": float(right),
    "finish": "stop",
    "length": 1,
    "error": None,
  }


def test_majority_is_reported_where_answers_are_boxed():
  rows = [
    record("\\boxed{ 1/ 2}", True),
    record("\\boxed{3}", False),
    record("\\boxed{0.5}", True),
  ]
  assert summarize(rows)[0]["maj@3"] == 1.0
  plain = [row | {"response": "right"} for row in rows]
  assert "maj@3" not in summarize(plain)[0]
  # The standard error of one problem is not known.
  assert summarize(rows)[1] == {}


def test_a_graded_reward_is_reported_beside_the_accuracy():
  rows = [record("a", False), record("b", True)]
  assert "reward" not in summarize(rows)[0]
  almost = rows[0] | {"reward": 0.5}
  assert summarize([almost, rows[1]])[0]["reward"] == 0.75
