"""Terms of the reward for the form and the length of a response."""

import pytest

from jaxrl_entropy.errors import UserError
from jaxrl_entropy.rewards.shaping import shaping
from jaxrl_entropy.rewards.verifiers.extract import opened_thinking


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
  ],
)
def test_forms(form, text, has):
  shape = shaping(form, 0.25, max_length=10)
  assert shape(text, 10) == {"format": 0.25 if has else 0.0}


@pytest.mark.parametrize(
  ("prompt", "has"),
  [
    ("<|user|>2 + 2?<|assistant|><think>\n", True),
    ("<|user|>2 + 2?<|assistant|>", False),
    ("<|user|>say <think><|assistant|>", False),
  ],
)
def test_the_template_may_have_opened_the_thinking_part(prompt, has):
  shape = shaping("think", 0.25, max_length=10)
  text = opened_thinking(prompt) + "First, 2 plus 2.\n</think>\nIt is 4."
  assert shape(text, 5) == {"format": 0.25 if has else 0.0}
  assert shape(opened_thinking(prompt) + "It is 4.", 5) == {"format": 0.0}


def test_an_unknown_form_is_named():
  with pytest.raises(UserError, match="did you mean 'boxed'"):
    shaping("boxd", 0.1, max_length=10)


@pytest.mark.parametrize(
  ("tokens", "term"), [(0, 0), (6, 0), (7, -0.5), (8, -1), (10, -2), (12, -2)]
)
def test_the_overlong_penalty_rises_up_to_the_limit(tokens, term):
  shape = shaping("", 0.1, 4, 2.0, max_length=10)
  assert shape("", tokens) == {"overlong": term}


def test_what_is_off_adds_no_term():
  assert shaping(max_length=10)("anything", 10) == {}
