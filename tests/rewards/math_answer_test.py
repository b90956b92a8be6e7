"""Equality of answers: the table of tests/files/answers.txt."""

from pathlib import Path

import pytest

from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.rewards.maths import compare, symbolic

TABLE = Path(__file__).parents[1] / "files" / "answers.txt"
EQUAL, UNEQUAL, MISSED = "=!~"


def rows():
  lines = TABLE.read_text(encoding="utf-8").splitlines()
  return [
    tuple(part.strip() for part in line.split("||"))
    for line in lines
    if line and not line.startswith("#")
  ]


def problem(answer, prompt=""):
  return Problem("1", prompt, answer, "test", "math")


@pytest.mark.parametrize(("gold", "answer", "relation"), rows())
def test_table(gold, answer, relation):
  found = compare.equal(gold, answer, symbolic.equal)
  assert found == (relation == EQUAL)


def test_the_table_is_large_and_has_both_kinds():
  relations = [relation for *_, relation in rows()]
  assert len(relations) >= 150
  assert relations.count(UNEQUAL) >= 60
  assert relations.count(EQUAL) >= 60
  assert relations.count(MISSED) <= 0.1 * len(relations)
