"""Grades programs: runs a model's code, and judges its results elsewhere.

A problem's tests are dicts of one of three forms:

- `{"stdin": str, "stdout": str}`: the output that the program must print. It is
  compared line by line, without spaces at the ends of lines and empty lines at
  the end;
- `{"call": name, "args": [...], "expected": value}`: the result that a function
  must return. It is compared with `==`, except that a list equals a tuple and
  that keys which JSON turned into texts equal the numbers that they spell. With
  `"unwrapped": value` in the test, that value is right as well;
- `{"check": source, "name": name}`: assertions about a function or a class in
  the form of HumanEval, `check(candidate)`, or as plain statements. They run in
  a sandbox of their own, and ask the model's process.

Settings of a problem, in `extra`:

- `scoring`: "all" (the default: one failure scores 0) or "fraction";
- `prelude`: source that runs before the program, and before the assertions;
- `tolerance`: relative and absolute, of floats that are returned (default
  1e-9) or printed (default 0: compared as text).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
import os
import subprocess
import time
from typing import Any

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards.sandbox import launch, wire
from jaxrl_entropy.rewards.verifiers import code_compare, code_prints
from jaxrl_entropy.rewards.verifiers.code_tester import BROKEN, PASSED
from jaxrl_entropy.rewards.verifiers.extract import last_code_block

Test = Mapping[str, Any]
_FORMS = ("stdin", "call", "check")
_BATCH = 16  # inputs that one sandbox runs


def verify(
  problem: Problem,
  response: str,
  level: str,
  timeout: float,
  packages: Iterable[launch.Import] = (),
) -> tuple[float, str | None]:
  """Returns 1.0 or the share of tests passed, and whether time ran out.

  Args:
    problem: with at least one test.
    response: its last complete code block is the program.
    level: a working level of the sandbox.
    timeout: seconds for all tests together.
    packages: that programs may import besides the standard library.

  Raises:
    ValueError: the problem has no tests, or one that judges no program.
  """
  if not problem.tests:
    raise ValueError(f"problem {problem.id!r} has no tests")
  program = last_code_block(response)
  if program is None:
    return 0.0, None
  in_parts = problem.extra.get("scoring", "all") == "fraction"
  run = _Run(problem, program, level, time.monotonic() + timeout, packages)
  passed, error = 0, None
  try:
    for test in run.outcomes(problem.tests):
      if not test and not in_parts:
        return 0.0, None
      passed += test
  except TimeoutError:
    error = launch.TIMEOUT
  share = passed / len(problem.tests)
  return share if in_parts or share == 1.0 else 0.0, error


class _Run:
  """One program and its tests, each step in a fresh sandbox."""

  def __init__(
    self,
    problem: Problem,
    program: str,
    level: str,
    deadline: float,
    packages: Iterable[launch.Import],
  ):
    self._prelude = problem.extra.get("prelude", "")
    self._tolerance = problem.extra.get("tolerance")
    self._program = {"prelude": self._prelude, "source": program}
    self._level, self._deadline, self._packages = level, deadline, packages

  def outcomes(self, tests: Sequence[Test]) -> Iterator[bool]:
    """Whether each test passes, calls first.

    Raises:
      TimeoutError: at the test that used up the time.
    """
    for test in tests:
      if not any(form in test for form in _FORMS):
        raise ValueError(f"a test has an unknown form: {sorted(test)}")
    yield from self._calls([test for test in tests if "call" in test])
    yield from self._prints([test for test in tests if "stdin" in test])
    for test in tests:
      if "check" in test:
        yield self._checks(test)

  def _prints(self, tests: Sequence[Test]) -> Iterator[bool]:
    """Whether the program prints as expected: one test first, then batches.

    Most wrong programs fail the first.
    """
    starts = [0, *range(1, len(tests), _BATCH)]
    for start, end in zip(starts, [*starts[1:], len(tests)], strict=True):
      yield from self._prints_of_batch(tests[start:end])

  def _prints_of_batch(self, tests: Sequence[Test]) -> Iterator[bool]:
    inputs = [test["stdin"].encode(errors="replace") for test in tests]
    outcome = self._run(
      "verifiers.code_prints", {**self._program, "inputs": inputs}, len(tests)
    )
    records = code_prints.records(outcome.results)
    for test, (status, text) in zip(tests, records, strict=False):
      yield status == 0 and code_compare.printed(
        text, test["stdout"], self._tolerance or 0.0
      )
    if outcome.timed_out:
      raise TimeoutError
    yield from [False] * (len(tests) - len(records))

  def _calls(self, tests: Sequence[Test]) -> Iterator[bool]:
    if not tests:
      return
    calls = [[t["call"], *map(wire.encode, t["args"])] for t in tests]
    request = {**self._program, "calls": calls}
    outcome = self._run("verifiers.code_calls", request)
    replies = outcome.results.splitlines()
    for test, reply in zip(tests, replies, strict=False):
      wanted = [test[key] for key in ("expected", "unwrapped") if key in test]
      tolerance = self._tolerance or code_compare.TOLERANCE
      yield code_compare.returned(reply, wanted, tolerance)
    if outcome.timed_out:
      raise TimeoutError
    yield from [False] * (len(tests) - len(replies))

  def _checks(self, test: Test) -> bool:
    """Whether the assertions, in a process of their own, all hold.

    Raises:
      ValueError: they cannot run, whatever the program is.
    """
    with ExitStack() as stack:
      results = stack.enter_context(launch.memory_file())
      tester = {
        "name": test["name"],
        "check": test["check"],
        "prelude": self._prelude,
        "results": results,
      }
      # Ends left open here would keep a dead process's peer waiting.
      with _pipe() as (question, asked), _pipe() as (reply, replied):
        self._start(
          stack, "verifiers.code_calls", self._program, (question, replied)
        )
        process = self._start(
          stack, "verifiers.code_tester", tester, (reply, asked), results
        )
      if not launch.wait(process, self._limits().wall):
        raise TimeoutError
      written = os.pread(results, 1000, 0)
      if written.startswith(BROKEN):
        reason = written.removeprefix(BROKEN).decode(errors="replace")
        raise ValueError(f"the problem's assertions cannot run: {reason}")
      return written == PASSED

  def _start(
    self,
    stack: ExitStack,
    module: str,
    request: dict[str, Any],
    streams: tuple[int, int],
    *passed: int,
  ) -> subprocess.Popen:
    return stack.enter_context(
      launch.launch(
        self._level,
        module,
        request,
        limits=self._limits(),
        streams=(*streams, subprocess.DEVNULL),
        pass_fds=passed,
        imports=self._packages,
      )
    )

  def _run(
    self, module: str, request: dict[str, Any], results: int = 1
  ) -> launch.Outcome:
    """A run to its end or its time limit; `results` are as many outputs."""
    return launch.run(
      self._level,
      module,
      request,
      limits=self._limits(),
      results=results,
      imports=self._packages,
    )

  def _limits(self) -> launch.Limits:
    left = self._deadline - time.monotonic()
    if left <= 0:
      raise TimeoutError
    return launch.Limits(wall=left, cpu=left)


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
  """The reading and the writing end of a pipe."""
  ends = os.pipe()
  try:
    yield ends
  finally:
    for end in ends:
      os.close(end)
