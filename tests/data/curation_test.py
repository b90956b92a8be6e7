"""Pass rates, and questions that evaluation sets have as well."""

import json

import pytest

from jaxrl_entropy.data import curation
from jaxrl_entropy.data.prompts import CODE
from jaxrl_entropy.data.table import question_hash
from jaxrl_entropy.data.task import Problem


def problem(prompt, system=""):
  return Problem(prompt, prompt, "1", "mine", "math", system=system)


def write(path, rows):
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return path


def test_rates_are_of_sampled_responses_alone(tmp_path):
  samples = [
    {"prompt": "a", "greedy": False, "correct": right}
    for right in (True, False, False, True)
  ]
  greedy = {"prompt": "a", "greedy": True, "correct": True}
  rates = curation.pass_rates(write(tmp_path / "s.jsonl", [greedy, *samples]))
  assert rates == {question_hash(problem("a")): 0.5}


def test_rates_may_stand_in_rows(tmp_path):
  rows = [
    {"prompt": "a", "pass_rate": 0.25},
    {"prompt": "a", "system": "s", "pass_rate": 1},
  ]
  assert curation.pass_rates(write(tmp_path / "r.jsonl", rows)) == {
    question_hash(problem("a")): 0.25,
    question_hash(problem("a", "s")): 1.0,
  }


@pytest.mark.parametrize(
  "row", [{"prompt": "a"}, {"pass_rate": 1}, {"prompt": "a", "pass_rate": 2}, 5]
)
def test_a_line_without_a_rate_is_named(row, tmp_path):
  path = write(tmp_path / "r.jsonl", [{"prompt": "a", "pass_rate": 1}, row])
  with pytest.raises(ValueError, match=r"r\.jsonl:2: not a sample"):
    curation.pass_rates(path)


QUESTION = "Find the sum of all integer bases b for which 17 divides 97 in b."


def test_a_run_of_words_is_found_whatever_surrounds_it():
  overlap = curation.Overlap([problem(QUESTION)], size=8)
  found, words = overlap.find(
    problem("Hard! Find the sum of ALL integer bases $b$, for 2025.")
  )
  assert found.prompt == QUESTION
  assert words == "find the sum of all integer bases b"
  assert overlap.find(problem("Find the sum of all integer bases.")) is None


def test_a_short_question_must_be_there_as_a_whole():
  overlap = curation.Overlap([problem("What is 2+2?"), problem("Why?")], 8)
  assert overlap.find(problem("Tell me: what is 2 + 2, and why?"))
  assert overlap.find(problem("What is 2+3? Why?")) is None


def test_phrases_and_our_own_instruction_are_no_overlap():
  phrase = "where m and n are relatively prime positive integers find m plus n"
  questions = [f"Question {i} about topic {i}, {phrase}." for i in range(3)]
  overlap = curation.Overlap([problem(q) for q in questions])
  assert overlap.find(problem(f"Another one, {phrase}.")) is None
  assert overlap.find(problem(questions[1]))
  coded = curation.Overlap([problem(f"Add one to all.\n\n{CODE}")], 9)
  assert coded.find(problem(f"Sort the list of words.\n\n{CODE}")) is None


def test_too_few_words_are_refused():
  with pytest.raises(ValueError, match="3 words or more"):
    curation.Overlap([], 2)
