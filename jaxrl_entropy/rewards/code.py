"""Rewards for programs: the model's code runs, and is judged elsewhere.

A problem's tests are dicts of one of three forms:

- `{"stdin": str, "stdout": str}`: what the program prints, compared line by
  line without spaces at the ends of lines or empty lines at the end;
- `{"call": name, "args": [...], "expected": value}`: a function's result,
  compared with `==`, a list and a tuple being alike and floats within 1e-9.
  With `"unwrapped": value` in the test, that value is right as well;
- `{"check": source, "name": name}`: assertions about a function in the form
  of HumanEval, `check(candidate)`. They run in a sandbox of their own, where
  the candidate is a stand-in that asks the model's process.

`extra["scoring"]` is "all" (the default: one failure scores 0) or "fraction";
`extra["prelude"]` is put before the model's code, and before the assertions.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
import json
import math
import os
import subprocess
import time
from typing import Any

from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.rewards import sandbox, wire
from jaxrl_entropy.rewards.code_tester import PASSED
from jaxrl_entropy.rewards.extract import last_code_block

Test = Mapping[str, Any]
_SPACES = " \t\r\n"


def verify(
  problem: Problem, response: str, level: str, timeout: float
) -> tuple[float, str | None]:
  """1.0 or the share of tests passed, and whether time ran out.

  Args:
    problem: with at least one test.
    response: its last complete code block is the program.
    level: a working level of the sandbox.
    timeout: seconds for all tests together.

  Raises:
    ValueError: the problem has no tests, or one of an unknown form.
  """
  if not problem.tests:
    raise ValueError(f"problem {problem.id!r} has no tests")
  program = last_code_block(response)
  if program is None:
    return 0.0, None
  prelude = problem.extra.get("prelude", "")
  in_parts = problem.extra.get("scoring", "all") == "fraction"
  judge = _Judge(prelude, program, level, time.monotonic() + timeout)
  passed, error = 0, None
  try:
    for test in judge.outcomes(problem.tests):
      if not test and not in_parts:
        return 0.0, None
      passed += test
  except TimeoutError:
    error = sandbox.TIMEOUT
  share = passed / len(problem.tests)
  return share if in_parts or share == 1.0 else 0.0, error


class _Judge:
  """Runs one program against tests, each step in a fresh sandbox."""

  def __init__(self, prelude: str, program: str, level: str, deadline: float):
    self._prelude, self._source = prelude, f"{prelude}\n{program}"
    self._level, self._deadline = level, deadline

  def outcomes(self, tests: Sequence[Test]) -> Iterator[bool]:
    """Whether each test passes, calls first.

    Raises:
      TimeoutError: at the test that used up the time.
    """
    yield from self._calls([test for test in tests if "call" in test])
    for test in tests:
      if "stdin" in test:
        yield self._prints(test)
      elif "check" in test:
        yield self._checks(test)
      elif "call" not in test:
        raise ValueError(f"a test has an unknown form: {sorted(test)}")

  def _prints(self, test: Test) -> bool:
    request = {"source": self._source}
    outcome = self._run("code_script", request, stdin=test["stdin"])
    printed = _lines(outcome.stdout) == _lines(test["stdout"])
    return outcome.status == 0 and printed

  def _calls(self, tests: Sequence[Test]) -> Iterator[bool]:
    if not tests:
      return
    request = {
      "source": self._source,
      "calls": [[t["call"], *map(wire.encode, t["args"])] for t in tests],
    }
    outcome = self._run("code_calls", request, late=True)
    replies = outcome.results.splitlines()
    for test, reply in zip(tests, replies, strict=False):
      yield _returns(reply, test)
    if outcome.timed_out:
      raise TimeoutError
    yield from [False] * (len(tests) - len(replies))

  def _checks(self, test: Test) -> bool:
    """Whether the assertions, in a process of their own, all hold."""
    given = {"name": test["name"], "prelude": self._prelude}
    solution = {"source": self._source}
    with ExitStack() as stack:
      results = stack.enter_context(sandbox.memory_file())
      tester = given | {"check": test["check"], "results": results}
      # Ends left open here would keep a dead process's peer waiting.
      with _pipe() as (question, asked), _pipe() as (reply, replied):
        self._start(stack, "code_calls", solution, (question, replied))
        process = self._start(
          stack, "code_tester", tester, (reply, asked), results
        )
      if not sandbox.wait(process, self._limits().wall):
        raise TimeoutError
      return os.pread(results, 100, 0) == PASSED

  def _start(
    self,
    stack: ExitStack,
    module: str,
    request: dict[str, Any],
    streams: tuple[int, int],
    *passed: int,
  ) -> subprocess.Popen:
    return stack.enter_context(
      sandbox.launch(
        self._level,
        module,
        request,
        limits=self._limits(),
        streams=(*streams, subprocess.DEVNULL),
        pass_fds=passed,
      )
    )

  def _run(
    self,
    module: str,
    request: dict[str, Any],
    stdin: str = "",
    late: bool = False,
  ) -> sandbox.Outcome:
    """Raises TimeoutError unless a `late` outcome is still of use."""
    outcome = sandbox.run(
      self._level, module, request, stdin=stdin, limits=self._limits()
    )
    if outcome.timed_out and not late:
      raise TimeoutError
    return outcome

  def _limits(self) -> sandbox.Limits:
    left = self._deadline - time.monotonic()
    if left <= 0:
      raise TimeoutError
    return sandbox.Limits(wall=left, cpu=left)


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
  """The reading and the writing end of a pipe."""
  ends = os.pipe()
  try:
    yield ends
  finally:
    for end in ends:
      os.close(end)


def _lines(text: str) -> list[str]:
  return [line.rstrip(_SPACES) for line in text.rstrip(_SPACES).split("\n")]


def _returns(reply: bytes, test: Test) -> bool:
  """Whether a reply of the model's process holds an expected value."""
  wanted = [test[key] for key in ("expected", "unwrapped") if key in test]
  try:
    value = json.loads(reply)["value"]
    return any(_equal(value, wire.encode(expected)) for expected in wanted)
  except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
    return False


def _equal(value: Any, expected: Any) -> bool:
  """Whether two values are equal, as `wire.encode` writes them.

  A program's value is not decoded: a dict whose keys it chose so that their
  hashes collide would take this process minutes to build.
  """
  if isinstance(expected, dict):
    return isinstance(value, dict) and _containers_equal(value, expected)
  if isinstance(value, bool) != isinstance(expected, bool):
    return False
  if isinstance(expected, float) and isinstance(value, int | float):
    return math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-9)
  return value == expected


def _containers_equal(
  value: dict[str, Any], expected: dict[str, list[Any]]
) -> bool:
  ((kind, items),) = expected.items()
  if kind in ("list", "tuple"):
    given = value.get("list", value.get("tuple"))
    return (
      isinstance(given, list)
      and len(given) == len(items)
      and all(map(_equal, given, items))
    )
  if kind == "dict" == next(iter(value), None):
    found, wanted = _by_text(value[kind]), _by_text(items)
    return found.keys() == wanted.keys() and all(
      _equal(found[key], wanted[key]) for key in wanted
    )
  if kind in ("set", "frozenset"):
    given = value.get("set", value.get("frozenset"))
    return sorted(map(json.dumps, given or ())) == sorted(
      map(json.dumps, items)
    )
  return value == expected


def _by_text(pairs: list[Any]) -> dict[str, Any]:
  """Pairs of key and value as a dict; the hashes of texts are secret."""
  return {json.dumps(key): value for key, value in pairs}
