"""Bonuses for the form of a response."""

import pytest

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards.pool import RewardPool
from jaxrl_entropy.rewards.shaping import format_bonus


@pytest.mark.parametrize(
  ("form", "text", "has"),
  [
    ("boxed", r"so \boxed{3}", True),
    ("boxed", r"so \boxed{3", False),
    ("code", "```\nx\n```", True),
    ("code", "x", False),
    ("tagged", "<answer>3</answer>", True),
    ("tagged", "<answer>3", False),
    ("think", "<think>a\nb</think>\n3", True),
    ("think", "<think></think>3", True),
    ("think", "<think>a</think>  ", False),
    ("think", "<think>a</think><think>b</think>3", False),
    ("think", "3 <think>a</think> 3", False),
    ("think", "3", False),
    ("", r"\boxed{3}", False),
  ],
)
def test_forms(form, text, has):
  assert format_bonus(form, 0.25)(text) == (0.25 if has else 0.0)


def test_an_unknown_form_is_named():
  with pytest.raises(ValueError, match="boxd"):
    format_bonus("boxd", 0.1)


def test_the_bonus_makes_nothing_correct():
  problem = Problem("1", "p", "3", "test", "integer")
  with RewardPool(shape=format_bonus("boxed", 1.0)) as pool:
    verdicts = pool.score(
      [
        (problem, r"\boxed{3}"),
        (problem, r"\boxed{4}"),
        (problem, "3"),
      ]
    )
  assert [v.reward for v in verdicts] == [2.0, 1.0, 0.0]
  assert [v.correct for v in verdicts] == [True, False, False]
