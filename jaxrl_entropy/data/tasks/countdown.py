"""Countdown: reach a target from a few numbers, each used once.

A prompt is the numbers, the target and `=`. A response is one `x op y z` per
step: two of the remaining numbers, an operator, and the result, which replaces
them; the last result is the target. Three numbers take eight symbols:

  prompt    3 7 12 9 =
  response  7 x 3 21 21 - 12 9

Every integer from 0 to `limit` is one symbol, and no result may leave that
range.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
import math

import numpy as np

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tasks.procedural import Draw, Procedural
from jaxrl_entropy.data.tokenizers import SymbolTokenizer

OPERATORS: dict[str, Callable[[int, int], int]] = {
  "+": lambda x, y: x + y,
  "-": lambda x, y: x - y,
  "x": lambda x, y: x * y,
}

Numbers = tuple[int, ...]
Step = tuple[int, str, int, int]  # x, operator, y, result


class Countdown(Procedural):
  """Countdown problems; the multiset of the numbers decides the split.

  Difficulty is in bits: -log2 of the probability that a random valid path of
  steps ends at the target.

  Args:
    numbers: how many numbers a problem has.
    largest: numbers are drawn from 1 to this.
    limit: largest result of a step.
    operators: the allowed ones of `+-x`.
    difficulty: lowest and highest difficulty of a problem, bits.
    seed: of the problems; other keywords are `Procedural`'s.
  """

  name = "countdown"
  verifier = "countdown"

  def __init__(
    self,
    numbers: int = 3,
    largest: int = 15,
    limit: int = 63,
    operators: str = "+-x",
    difficulty: tuple[float, float] = (0.0, math.inf),
    seed: int = 0,
    **sizes: int,
  ):
    if not 2 <= numbers <= 5:
      raise ValueError(f"numbers={numbers}: countdown takes 2 to 5 numbers")
    if not operators or not set(operators) <= set(OPERATORS):
      raise ValueError(f"operators={operators!r}: choose from '+-x'")
    if not 1 <= largest <= limit:
      raise ValueError(f"largest={largest} is not in 1 to limit={limit}")
    super().__init__(seed, **sizes)
    self._numbers = numbers
    self._largest = largest
    self._limit = limit
    self._operators = operators
    self._difficulty = difficulty
    self.tokenizer = SymbolTokenizer(
      ("=", *OPERATORS, *map(str, range(limit + 1)))
    )

  def draw(self, rng: np.random.Generator) -> Draw:
    low, high = self._difficulty
    for _ in range(10_000):
      numbers = tuple(
        rng.integers(1, self._largest + 1, self._numbers).tolist()
      )
      path = self._random_path(numbers, rng)
      if path is None:
        continue
      target = path[-1][-1]
      bits = self._bits(numbers, target)
      if low <= bits <= high:
        prompt = " ".join(map(str, (*numbers, target, "=")))
        return Draw(
          str(sorted(numbers)), prompt, str(target), bits, _written(path)
        )
    raise ValueError(f"no countdown problem has difficulty {low} to {high}")

  def mistake(self, drawn: Draw, rng: np.random.Generator) -> str:
    """Returns a valid path to another target, if one is found.

    Args:
      drawn: a problem of `draw`.
      rng: draws the paths to try.

    Returns:
      The written path; the right one if 100 paths reached no other target.
    """
    numbers = tuple(map(int, drawn.prompt.split()[:-2]))
    for _ in range(100):
      path = self._random_path(numbers, rng)
      if path and str(path[-1][-1]) != drawn.answer:
        return _written(path)
    return drawn.solution

  def _random_path(
    self, numbers: Numbers, rng: np.random.Generator
  ) -> list[Step] | None:
    """Draws one of all paths; returns None if it has an invalid step."""
    left, path = list(numbers), []
    for i, j, k in rng.random((len(numbers) - 1, 3)):
      x = left.pop(int(i * len(left)))
      y = left.pop(int(j * len(left)))
      operator = self._operators[int(k * len(self._operators))]
      z = OPERATORS[operator](x, y)
      if not 0 <= z <= self._limit:
        return None
      left.append(z)
      path.append((x, operator, y, z))
    return path

  def _bits(self, numbers: Numbers, target: int) -> float:
    paths = reachable(tuple(sorted(numbers)), self._operators, self._limit)
    return math.log2(paths.total() / paths[target])


@lru_cache(maxsize=100_000)
def reachable(numbers: Numbers, operators: str, limit: int) -> Counter[int]:
  """Returns the number of valid paths from sorted numbers to each target.

  Args:
    numbers: the numbers of the problem, in increasing order.
    operators: the allowed ones of `+-x`.
    limit: largest result of a step; no result is below 0.
  """
  if len(numbers) == 1:
    return Counter(numbers)
  paths: Counter[int] = Counter()
  for left in _next_states(numbers, operators, limit):
    paths.update(reachable(left, operators, limit))
  return paths


def _next_states(
  numbers: Numbers, operators: str, limit: int
) -> Iterator[Numbers]:
  """Yields the sorted numbers that remain after each valid step."""
  for i, x in enumerate(numbers):
    for j, y in enumerate(numbers):
      rest = [n for k, n in enumerate(numbers) if k not in (i, j)]
      for operator in operators if i != j else "":
        z = OPERATORS[operator](x, y)
        if 0 <= z <= limit:
          yield tuple(sorted((*rest, z)))


def _written(path: list[Step]) -> str:
  return " ".join(f"{x} {operator} {y} {z}" for x, operator, y, z in path)


def verify(problem: Problem, response: str) -> float:
  """Returns 1.0 if the response is a valid path to the target, else 0.0.

  Compares symbols and evaluates nothing, so it is safe in any process.

  Args:
    problem: its prompt is the numbers, the target and `=`.
    response: four symbols for each step, as the module describes.
  """
  *numbers, target, _ = problem.prompt.split()
  left, symbols = list(numbers), response.split()
  if len(symbols) != 4 * (len(numbers) - 1):
    return 0.0
  for x, operator, y, z in zip(*(iter(symbols),) * 4, strict=True):
    if operator not in OPERATORS:
      return 0.0
    for operand in (x, y):
      if operand not in left:
        return 0.0
      left.remove(operand)
    if str(OPERATORS[operator](int(x), int(y))) != z:
      return 0.0
    left.append(z)
  return float(left == [target])
