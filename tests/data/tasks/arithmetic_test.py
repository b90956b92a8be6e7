"""Arithmetic and the drills: their answers are right."""

import dataclasses
import re

import pytest

from jaxrl_entropy.data.tasks import arithmetic, drills
from jaxrl_entropy.rewards.verifiers import exact, integer


def boxed(answer):
  return f"so it is \\boxed{{{answer}}}"


@pytest.mark.parametrize("operators", ["+", "-", "*", "+-*"])
@pytest.mark.parametrize(("digits", "terms"), [(1, 2), (3, 4)])
def test_arithmetic_agrees_with_python(operators, digits, terms):
  task = arithmetic.Arithmetic(digits, terms, operators)
  for i in range(50):
    problem = task.problem("train", i)
    question = re.match(r"What is ([-+*\d ]+)\?\n", problem.prompt).group(1)
    assert eval(question) == int(problem.answer)
    assert integer.verify(problem, boxed(problem.answer)) == 1
    assert integer.verify(problem, boxed(int(problem.answer) + 1)) == 0


def test_chains():
  task = drills.Chain(steps=(3, 5))
  for i in range(30):
    problem = task.problem("train", i)
    first, *numbers = map(int, re.findall(r"\d+", problem.prompt))
    verbs = re.findall("Add|Subtract|Multiply", problem.prompt)
    assert 3 <= len(verbs) <= 5
    for verb, number in zip(verbs, numbers, strict=True):
      first = {"A": first + number, "S": first - number, "M": first * number}[
        verb[0]
      ]
    assert int(problem.answer) == first


def test_multiplications():
  problem = drills.Multiplication(digits=(3, 2)).problem("train", 0)
  a, b = map(int, re.findall(r"\d+", problem.prompt)[:2])
  assert (len(str(a)), len(str(b))) == (3, 2)
  assert int(problem.answer) == a * b


def test_modular_equations_have_the_least_solution():
  task = drills.ModularEquation(largest=13)
  for i in range(30):
    problem = task.problem("train", i)
    a, b, m = map(
      int, re.findall(r"(\d+)x .* (\d+) .*\{(\d+)\}", problem.prompt)[0]
    )
    assert int(problem.answer) == min(x for x in range(m) if a * x % m == b)


def test_sorting_compares_the_list():
  problem = drills.Sorting(length=(5, 5)).problem("train", 0)
  numbers = [int(n) for n in problem.answer.split(", ")]
  assert numbers == sorted(numbers)
  assert len(numbers) == 5
  assert exact.verify(problem, boxed(problem.answer)) == 1
  assert exact.verify(problem, boxed(", ".join(map(str, numbers[::-1])))) == 0


@pytest.mark.parametrize(
  ("answer", "response", "reward"),
  [
    ("12", r"\boxed{12}", 1),
    ("12", r"\boxed{ +012 }", 1),
    ("1234", r"\boxed{1,234}", 1),
    ("1234567", r"\boxed{-1,234,567}", 0),
    ("-1234567", r"\boxed{-1,234,567}", 1),
    ("125", r"\boxed{0,125}", 0),
    ("1", r"\boxed{0,001}", 0),
    ("1234567", r"\boxed{1234,567}", 0),
    ("-5", r"\boxed{-5}", 1),
    ("0", r"\boxed{-0}", 1),
    ("12", r"\boxed{12.0}", 1),
    ("12", r"\boxed{1 2}", 0),
    ("12", "12", 0),
    ("12", r"\boxed{" + "9" * 10**6 + "}", 0),
    ("12", r"\boxed{١٢}", 0),
  ],
)
def test_integers(answer, response, reward):
  problem = arithmetic.Arithmetic().problem("train", 0)
  problem = type(problem)("1", "p", answer, "test", "integer")
  assert integer.verify(problem, response) == reward


@pytest.mark.parametrize(
  ("response", "reward"),
  [
    ("7 + 5 = 12.", 1),
    ("It is 12, or \\boxed{12}", 1),
    ("12", 1),
    ("7 + 5 = 12, so 13", 0),
    ("-12", 0),
    ("twelve", 0),
    ("١٢", 0),
    ("", 0),
  ],
)
def test_the_last_integer_of_a_response_may_count(response, reward):
  task = arithmetic.Arithmetic(verifier="last_integer")
  problem = dataclasses.replace(task.problem("train", 0), answer="12")
  assert problem.verifier == "last_integer"
  assert integer.verify_last(problem, response) == reward
