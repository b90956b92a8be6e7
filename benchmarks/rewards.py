"""Responses verified per second, and the price of the sandbox.

    python -m benchmarks.rewards --quick
    python -m benchmarks.rewards --full --json rewards.json

Mathematics: the answers of competition problems, two in five of them formulas
that need computer algebra, through the pool's sandboxed workers; against
math-verify called in this process, unprotected, and against the target of 100
a second. Programs: one test each on standard input, at the strongest level of
the sandbox here; against the same programs under a bare interpreter, and
against the target of 20 a second. Two workers; nothing is cached.
"""

from collections.abc import Callable
import itertools
import subprocess
import sys

from benchmarks import common
from benchmarks.common import Result, seconds
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards.pool import Item, RewardPool
from jaxrl_entropy.rewards.sandbox import launch

WORKERS, ROUNDS = 2, 9
TARGETS = {"mathematics": 100.0, "programs": 20.0}
# (reference, answer) by a number; right and wrong ones take turns.
FORMS: tuple[Callable[[int], tuple[str, str]], ...] = (
  lambda n: (f"{n}", f"{n}"),
  lambda n: (f"\\frac{{{n}}}{{7}}", f"{n}/7"),
  lambda n: (f"{n / 4}", f"\\frac{{{n}}}{{4}}"),
  lambda n: (f"\\left({n}, \\frac{{1}}{{2}}\\right)", f"({n}, 0.5)"),
  lambda n: (f"{n}", f"{n + 1}"),
  lambda n: (f"{n}", f"x = {n} \\text{{ cm}}"),
  lambda n: (f"{2 * n}\\sqrt{{3}}", f"{n}\\sqrt{{12}}"),
  lambda n: (f"\\frac{{{n}\\pi}}{{6}}", f"\\frac{{{n}}}{{6}}\\pi + 1"),
  lambda n: (f"(x+{n})^2", f"x^2 + {2 * n}x + {n * n}"),
  lambda n: (
    f"\\frac{{1+\\sqrt{{{n}}}}}{{2}}",
    f"\\frac{{1-\\sqrt{{{n}}}}}{{2}}",
  ),
)
_fresh = itertools.count(1)


def answers(count: int) -> list[Item]:
  """Problems that no call has had before, each with a response."""
  items = []
  for n in itertools.islice(_fresh, count):
    gold, answer = FORMS[n % len(FORMS)](n)
    problem = Problem(f"{n}", "", gold, "benchmark", "math")
    items.append((problem, f"Therefore it is \\boxed{{{answer}}}."))
  return items


def programs(count: int) -> list[Item]:
  items = []
  for n in itertools.islice(_fresh, count):
    tests = ({"stdin": f"{n}\n", "stdout": f"{n * n}\n"},)
    problem = Problem(f"{n}", "", "", "benchmark", "code", tests=tests)
    items.append((problem, "```python\nprint(int(input()) ** 2)\n```"))
  return items


def math_verify_alone(count: int) -> None:
  import math_verify

  for problem, response in answers(count):
    gold = math_verify.parse(f"${problem.answer}$", parsing_timeout=None)
    found = math_verify.parse(response, parsing_timeout=None)
    math_verify.verify(gold, found, timeout_seconds=None)


def bare_interpreters(count: int) -> None:
  for problem, _ in programs(count):
    subprocess.run(
      (sys.executable, "-I", "-S", "-c", "print(int(input()) ** 2)"),
      input=problem.tests[0]["stdin"].encode(),
      capture_output=True,
      check=True,
    )


def measure(
  case: str,
  count: int,
  ours: Callable[[int], object],
  peer: str,
  theirs: Callable[[int], object],
) -> list[Result]:
  metric, target = "responses/s", TARGETS[case]
  measured = common.alternate(
    {
      "ours": lambda: count / seconds(lambda: ours(count)),
      peer: lambda: count / seconds(lambda: theirs(count)),
      "target": lambda: target,
    },
    ROUNDS,
  )
  # Ours work in other processes, whose processor time is not seen here.
  return common.compare(f"{count} of {case}", metric, measured.values, "ours")


def main() -> None:
  args = common.arguments(__doc__)
  level = launch.choose("auto")
  print(f"sandbox: {level}")
  many, few = (100, 10) if args.quick else (400, 40)
  with RewardPool(WORKERS, timeout=10.0, sandbox=level) as pool:
    results = measure(
      "mathematics",
      many,
      lambda count: pool.score(answers(count)),
      "math-verify, unprotected",
      math_verify_alone,
    )
    results += measure(
      "programs",
      few,
      lambda count: pool.score(programs(count)),
      "bare interpreter, one by one",
      bare_interpreters,
    )
  common.report("rewards", results, args.json)


if __name__ == "__main__":
  main()
