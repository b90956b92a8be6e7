"""Integers in a box, and the last number of a response."""

import pytest

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards.verifiers import integer


def problem(answer):
  return Problem("1", "", answer, "test", "integer")


@pytest.mark.parametrize(
  ("gold", "answer"),
  [
    ("7", "7"),
    ("7", "007"),
    ("7", "+7"),
    ("7", "7."),
    ("7", "7.0"),
    ("7", "$7$"),
    ("7", r"\(7\)"),
    ("1450", "1,450"),
    ("1450", "1{,}450"),
    ("1450", r"1\,450"),
    ("1,450", "1450"),
    ("-3", "−3"),
    ("-3", "- 3"),
    ("0", "-0"),
  ],
)
def test_a_boxed_integer_has_many_spellings(gold, answer):
  assert integer.verify(problem(gold), rf"\boxed{{{answer}}}") == 1


@pytest.mark.parametrize(
  ("gold", "answer"),
  [("7", "8"), ("7", "7.5"), ("7", "-7"), ("7", "7 8"), ("145", "1,45"),
   ("1450", "14,50"), ("7", "7/1"), ("7", "seven"), ("x", "x"), ("0", "")],
)  # fmt: skip
def test_other_numbers_and_texts_are_wrong(gold, answer):
  assert integer.verify(problem(gold), rf"\boxed{{{answer}}}") == 0


@pytest.mark.parametrize(
  ("response", "right", "wrong"),
  [
    ("The total is 1,450.", "1450", "450"),
    ("It is 7.0", "7", "0"),
    ("It is −3", "-3", "3"),
    ("so x = -3.", "-3", "3"),
    ("5-3", "3", "-3"),
    ("It is $12$", "12", "2"),
    (r"2 apples and \boxed{1{,}234}", "1234", "234"),
  ],
)
def test_the_last_number_is_read_whole(response, right, wrong):
  assert integer.verify_last(problem(right), response) == 1
  assert integer.verify_last(problem(wrong), response) == 0


@pytest.mark.parametrize("response", ["It is 2/3", r"\frac{2}{3}", "0.3", "x"])
def test_the_last_number_may_be_no_integer(response):
  assert integer.verify_last(problem("3"), response) == 0


def test_references_that_are_no_integers_are_told():
  assert integer.gradable("1,450") is None
  assert integer.gradable("x + 1") == "it is no integer"
