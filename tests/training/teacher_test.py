"""The informed teacher's prompts, and its log-probs in a run."""

import dataclasses

import numpy as np
import pytest

from jaxrl_entropy.data.tokenizers import SymbolTokenizer
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.sharding import make_mesh
from jaxrl_entropy.training import loop
from jaxrl_entropy.training.layout import Layout
from jaxrl_entropy.training.teacher import Teacher, make_teacher
from tests.training.rollouts import make_rollout
from tests.training.runs import load, records

TOKENIZER = SymbolTokenizer(["1", "2", "3", "=", "{answer}"])


def layout():
  return Layout(make_mesh(1, 1, 1), 12, 5, 8, 1, 1, False)


def teacher(length=8):
  return Teacher(TOKENIZER, "{prompt} = {answer}", length, layout())


def test_prompts_hold_the_answer_and_responses_stay():
  rollout = make_rollout()
  informed = teacher().informed(rollout)
  for prompt in informed.prompts:
    assert TOKENIZER.decode(prompt) == "1 2 = 3"
  assert informed.responses is rollout.responses


def test_what_looks_like_a_field_in_a_question_is_text():
  rollout = make_rollout()
  odd = dataclasses.replace(rollout.problems[0], prompt="1 {answer}", id="odd")
  prompt = teacher()._prompt(odd)
  assert TOKENIZER.decode(prompt) == "1 {answer} = 3"


def test_prompts_that_do_not_fit_or_lack_an_answer_are_named():
  rollout = make_rollout()
  with pytest.raises(UserError, match=r"problem p has 4 tokens; .* above 3"):
    teacher(3).informed(rollout)
  silent = dataclasses.replace(rollout.problems[0], answer="")
  with pytest.raises(UserError, match="problem p has no answer"):
    teacher()._prompt(silent)


def test_a_template_names_both_fields():
  config = load("grpo")
  config.teacher.template = "{prompt}"
  with pytest.raises(UserError, match=r"lacks \{answer\}"):
    make_teacher(config, TOKENIZER, layout())


@pytest.mark.parametrize(
  ("template", "informed"), [("{prompt}", False), ("{answer} {prompt}", True)]
)
def test_the_weight_is_one_where_the_teacher_knows_no_more(
  tmp_path, monkeypatch, template, informed
):
  config = load("grpo", ("steps", "1"), ("sft.steps", "0"))
  with config.unlocked():
    config.loss.name = "rlsd"
    config.loss.args = {"mix": 1.0}
    config.teacher.template = template
    config.rollout.num_minibatches = 1
  if not informed:  # A template without the answer is refused otherwise.
    monkeypatch.setattr(
      loop,
      "make_teacher",
      lambda config, tokenizer, layout: Teacher(
        tokenizer, template, 12, dataclasses.replace(layout, row_length=22)
      ),
    )
  loop.train(config, tmp_path)
  weight = records(tmp_path)[0]["teacher/weight"]
  if informed:
    assert abs(weight - 1) > 1e-4
  else:
    np.testing.assert_allclose(weight, 1.0, rtol=1e-5)
