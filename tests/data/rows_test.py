"""Rows of every published layout, and rows that are bad."""

import base64
import json
import zlib

import pytest

from jaxrl_entropy.data import prompts, rows
from tests.data.layouts import (
  ASSERTED,
  CALLS,
  FUNCTIONAL,
  GSM8K_AFTER,
  MATHEMATICS,
  PROGRAMS,
  STARTER,
  user,
  verl,
)

# A pickle that calls eval, packed as LiveCodeBench packs its tests.
HOSTILE = base64.b64encode(
  zlib.compress(b"cbuiltins\neval\n(S'1'\ntR.")
).decode()


def read(row, format="auto"):
  return rows.to_problem(
    row,
    instruction=prompts.BOXED,
    verifier="math",
    source="mine",
    place="f:1",
    format=format,
  )


def cases(layouts):
  return [(name, *row) for name, found in layouts.items() for row in found]


@pytest.mark.parametrize(("name", "row", "answer"), cases(MATHEMATICS))
def test_mathematics_of_every_layout(name, row, answer):
  problem = read(row, name)
  assert problem == read(row)
  assert problem.prompt == f"What is 1+1?\n\n{prompts.BOXED}"
  assert (problem.answer, problem.verifier) == (answer, "math")
  assert problem.id == "f:1"


@pytest.mark.parametrize(("name", "row", "tests"), cases(PROGRAMS))
def test_programs_of_every_layout(name, row, tests):
  problem = read(row, name)
  assert problem == read(row)
  assert problem.tests == tests
  assert (problem.answer, problem.verifier) == ("", "code")
  assert problem.prompt.startswith("Add")
  assert problem.prompt.endswith(prompts.CODE)
  if row.get("starter_code"):
    assert STARTER in problem.prompt


@pytest.mark.parametrize("name", ASSERTED)
def test_assertions_of_every_layout_judge_programs(name):
  row, right, wrong = ASSERTED[name]
  problem = read(row, name)
  assert problem == read(row)
  (test,) = problem.tests
  for program, holds in ((right, True), (wrong, False)):
    scope = {}
    exec(f"{problem.extra.get('prelude', '')}\n{program}", scope)
    if "Solution" in scope:
      scope[test["name"]] = getattr(scope["Solution"](), test["name"])
    exec(test["check"], scope)
    try:
      scope["check"](scope[test["name"]])
      passes = True
    except AssertionError:
      passes = False
    assert passes is holds


def test_what_a_program_must_be_called_is_said():
  shown = read(ASSERTED["mbpp"][0]).prompt
  assert "assert add(1, 2) == 3" in shown
  human_eval = read(ASSERTED["humaneval"][0]).prompt
  assert human_eval.startswith("Complete this function:\n\n```python\nimport")
  assert "The function is called" not in human_eval
  named = read(verl("Find the sum.", json.dumps(CALLS)))
  assert "The function is called `add`." in named.prompt
  wrapped = read({"question": "Add.", "tests": CALLS | {"outputs": [[3]]}})
  assert wrapped.tests == (
    {"call": "add", "args": [1, 2], "expected": [3], "unwrapped": 3},
  )


def test_a_prompt_with_its_own_instruction_for_a_box_keeps_it():
  question = "Find x. Present the answer in \\boxed{}."
  assert read(verl(question, "2")).prompt == question


def test_instructions_for_a_place_that_is_not_read_are_taken_off():
  assert "####" not in read(verl("Why?" + GSM8K_AFTER, "2")).prompt
  kept = "What does #### mean in Markdown?"
  assert read(verl(kept, "2")).prompt.startswith(kept)


def test_a_system_message_is_kept():
  turns = [{"role": "system", "content": " Be brief. "}, *user("Why?")]
  assert read(verl(turns, "2")).system == "Be brief."
  assert (
    read({"prompt": "Why?", "system": "Go.", "answer": "2"}).system == "Go."
  )
  assert read({"prompt": "Why?", "answer": "2"}).system == ""


@pytest.mark.parametrize(
  ("row", "answer", "difficulty"),
  [
    ({"problem": "Q", "answer": "5", "level": 3}, "5", 3.0),
    ({"problem": "Q", "answer": "5", "level": "Level 4"}, "5", 4.0),
    ({"problem": "Q", "answer": "5", "difficulty": "6/8"}, "5", 0.75),
    ({"problem": "Q", "answer": "5", "difficulty": "6/0"}, "5", None),
    ({"prompt": "Q", "answer": 204}, "204", None),
    ({"prompt": "Q", "answer": 1e-05}, "0.00001", None),
    ({"prompt": "Q", "answer": 1e16}, "10000000000000000", None),
    ({"problem": "Q", "solution": "It is \\fbox{5}."}, "5", None),
    ({"prompt": "Q", "answer": "5", "difficulty": 6.5}, "5", 6.5),
    ({"prompt": "Q", "ground_truth": "a", "level": "?"}, "a", None),
    ({"question": "Q", "choices": [], "answer": "5"}, "5", None),
  ],
)
def test_columns_of_evaluation_files(row, answer, difficulty):
  problem = read(row)
  assert (problem.answer, problem.difficulty) == (answer, difficulty)
  assert problem.source == "mine"


def test_a_site_by_its_number_is_a_source():
  ((row, _),) = PROGRAMS["codecontests"]
  assert read(row).source == "codeforces"


@pytest.mark.parametrize("name", ["apps", "livecodebench", "gsm8k", "verl"])
def test_a_named_format_wants_its_own_columns(name):
  row = {"problem": "Q", "final_answer": "5", "question": "Q"}
  with pytest.raises(rows.RowError, match=r"none of the fields|no test cases"):
    read(row, name)
  with pytest.raises(ValueError, match="did you mean 'gsm8k'"):
    read(row, "gsm8")


@pytest.mark.parametrize(
  ("row", "reason"),
  [
    ("text", "not an object"),
    ({"answer": "5"}, "none of the fields prompt"),
    ({"prompt": "Q"}, "none of the fields answer"),
    ({"prompt": "Q", "solution": "It is 5."}, "none of the fields answer"),
    ({"prompt": "Q", "solution": "\\boxed{5"}, "none of the fields answer"),
    ({"prompt": "Q", "solution": "\\boxed{ }"}, "answer is empty"),
    ({"prompt": "Q", "solution": ["\\boxed{5}"], "answer": ""}, "is empty"),
    ({"prompt": " ", "answer": "5"}, "prompt is empty"),
    ({"prompt": "Q", "answer": " "}, "answer is empty"),
    ({"prompt": "Q", "answer": True}, "answer is bool"),
    ({"prompt": "Q", "answer": []}, "answer is list"),
    ({"prompt": 5, "answer": "5"}, "prompt is int"),
    ({"prompt": [], "answer": "5"}, "0 user messages"),
    ({"prompt": [{"role": "user"}], "answer": "5"}, "prompt is NoneType"),
    ({"prompt": "Q", "tests": 5}, "tests are int"),
    ({"prompt": "Q", "tests": "5 -> 6"}, "tests are not JSON"),
    ({"prompt": "Q", "tests": {"inputs": "12", "outputs": "34"}}, "no lists"),
    ({"prompt": "Q", "tests": {"inputs": ["1"], "outputs": []}}, "0 outputs"),
    ({"prompt": "Q", "tests": ["1"]}, "unknown form"),
    ({"prompt": "Q", "tests": [{"stdin": "1"}]}, "unknown form"),
    ({"prompt": "Q", "tests": [{"call": "f", "args": []}]}, "unknown form"),
    ({"prompt": "Q", "tests": [{"check": ""}]}, "unknown form"),
    ({"prompt": "Q", "tests": [{"stdin": 5, "stdout": "5"}]}, "unknown form"),
    ({"prompt": "Q", "tests": CALLS | {"inputs": ["ab"]}}, "unknown form"),
    ({"prompt": "Q", "answer": '{"inputs": [], "outputs": []}'}, "no test"),
    ({"prompt": "Q", "answer": float("nan")}, "answer is nan"),
    ({"prompt": "Q", "answer": "5", "source": {"a": 1}}, "source is"),
    ({"prompt": "Q", "answer": "5", "data_source": ""}, "source is"),
    ({"prompt": "Q", "answer": "Proof"}, "nothing can be compared"),
    ({"prompt": "Q", "answer": "notfound"}, "nothing can be compared"),
    ({"prompt": "Q", "answer": '["1", "2"]'}, "JSON list of 2"),
    ({"prompt": "Q", "answer": '{"target": 4}'}, "JSON object"),
    ({"prompt": "Q", "answer": {"target": 4}}, "answer is dict"),
    ({"prompt": "Q", "answer": "so\n#### "}, "answer is empty"),
    ({"question": "Q", "choices": ["a", "b"], "answer": 1}, "multiple choice"),
    ({"messages": '[{"role": "user"}]', "answer": "5"}, "JSON text"),
    ({"prompt": user("Q") * 2, "answer": "5"}, "2 user messages"),
    ({"prompt": "Q", "system": 5, "answer": "5"}, "system message is int"),
    ([1, 2, 3], "pair of turns"),
    ([{"value": "Q"}, {"value": "A"}], "pair of turns"),
    ({"prompt": "Q", "test_list": ["assert 1 +"]}, "not Python"),
    ({"prompt": "Q", "test_list": ["assert True"]}, "call no function"),
    ({"prompt": "Q", "tests": {"test_code": "x"}}, "no entry_point"),
    (
      {
        "question_content": "Q",
        "public_test_cases": "[]",
        "private_test_cases": HOSTILE,
      },
      "builtins.eval",
    ),
    (
      {
        "question_content": "Q",
        "public_test_cases": "[]",
        "private_test_cases": "AAAA",
      },
      "cannot be unpacked",
    ),
    (
      {"prompt": "Q", "tests": [FUNCTIONAL[0]]},
      "calls a function and does not name it",
    ),
  ],
)
def test_bad_rows_say_why(row, reason):
  with pytest.raises(rows.RowError, match=reason):
    read(row)


def test_integer_keys_that_json_made_texts_are_integers_in_calls():
  cases = {"fn_name": "f", "inputs": [[{"1": 2}, {"a": 3}, 4]], "outputs": [1]}
  (test,) = read({"prompt": "Q", "tests": cases}).tests
  assert test["args"] == [{1: 2}, {"a": 3}, 4]


def test_a_row_may_give_the_tolerance_of_its_floats():
  row = {"prompt": "Q", "tests": [{"stdin": "", "stdout": "0.5"}]}
  assert read(row).extra == {}
  assert read(row | {"tolerance": 1e-6}).extra == {"tolerance": 1e-6}
  with pytest.raises(rows.RowError, match="tolerance is 2"):
    read(row | {"tolerance": 2})
