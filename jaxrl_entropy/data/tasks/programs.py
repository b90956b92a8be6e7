"""Programs from examples: write the body of `def f(x, y): return ...`.

A prompt is the function's results for the first few `EXAMPLES`, and `=`. A
response is an expression in a small part of Python: integers, `+`, `-`, `*`,
`max` and `min`, with spaces between the symbols.

  prompt    6 9 12 3 =
  response  min ( y , x ) * 3

A response is right if it computes the same function on all of `GRID`. Its
length bounds the time that it runs, and it can name no other object, so one
sandboxed process may run many programs.
"""

from collections.abc import Callable, Sequence
import re

import numpy as np

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tasks.procedural import Draw, Procedural
from jaxrl_entropy.data.tokenizers import SymbolTokenizer

EXAMPLES = ((2, 5), (7, 3), (4, 9), (8, 1), (1, 6), (6, 6))
GRID = tuple((x, y) for x in range(10) for y in range(10))
"""Inputs on which a program is tested."""

LONGEST = 100  # symbols of a program

Inputs = tuple[int, int]
Written = tuple[str, int]
"""An expression, and how tightly its outermost operator binds."""

_BINDING = {"+": 1, "-": 1, "*": 2}
_CALLS = {"max": max, "min": min}
_TIGHTEST = 3
_SYMBOLS = ("x", "y", *_BINDING, *_CALLS, "(", ")", ",")
_INTEGER = re.compile(r"0|[1-9][0-9]{0,3}")


class Programs(Procedural):
  """Functions of two integers to find from examples.

  The examples shown decide the split. Difficulty is the number of operators.

  Args:
    operators: how many a program has, from the lowest to the highest.
    examples: how many results a prompt shows.
    constants: the largest one in a program.
    limit: the largest result that a prompt shows.
    seed: of the problems; other keywords are `Procedural`'s.
  """

  name = "programs"
  verifier = "program"

  def __init__(
    self,
    operators: tuple[int, int] = (1, 2),
    examples: int = 4,
    constants: int = 5,
    limit: int = 63,
    seed: int = 0,
    **sizes: int,
  ):
    if not 1 <= operators[0] <= operators[1] <= 4:
      raise ValueError(f"operators={operators}: give two numbers from 1 to 4")
    if not 1 <= examples <= len(EXAMPLES):
      raise ValueError(f"examples={examples} is not in 1 to {len(EXAMPLES)}")
    if not 1 <= constants <= limit:
      raise ValueError(f"constants={constants} is not in 1 to limit={limit}")
    super().__init__(seed, **sizes)
    self._operators = operators
    self._shown = EXAMPLES[:examples]
    self._limit = limit
    numbers = [str(n) for n in range(1, constants + 1)]
    # x, y and any constant are equally likely.
    self._leaves = [*numbers, *("x", "y") * len(numbers)]
    self.tokenizer = SymbolTokenizer(
      ("=", *_SYMBOLS, *map(str, range(limit + 1)))
    )

  def draw(self, rng: np.random.Generator) -> Draw:
    for _ in range(10_000):
      count = int(rng.integers(self._operators[0], self._operators[1] + 1))
      program, _ = self._expression(count, rng)
      shown = table(program, self._shown)
      if 0 <= min(shown) <= max(shown) <= self._limit:
        prompt = " ".join(map(str, (*shown, "=")))
        return Draw(prompt, prompt, program, float(count), program)
    raise ValueError("no program has results that a prompt can show")

  def mistake(self, drawn: Draw, rng: np.random.Generator) -> str:
    """Returns another program with as many operators.

    Args:
      drawn: a problem of `draw`.
      rng: draws programs until one computes another function.
    """
    while True:
      program, _ = self._expression(int(drawn.difficulty), rng)
      if table(program) != table(drawn.answer):
        return program

  def _expression(self, operators: int, rng: np.random.Generator) -> Written:
    if not operators:
      return self._leaves[rng.integers(len(self._leaves))], _TIGHTEST
    left = int(rng.integers(operators))
    first = self._expression(left, rng)
    second = self._expression(operators - 1 - left, rng)
    names = (*_BINDING, *_CALLS)
    return _write(names[rng.integers(len(names))], first, second)


def _write(operator: str, first: Written, second: Written) -> Written:
  if operator in _CALLS:
    return f"{operator} ( {first[0]} , {second[0]} )", _TIGHTEST
  binding = _BINDING[operator]
  left = first[0] if first[1] >= binding else f"( {first[0]} )"
  right = second[0] if second[1] > binding else f"( {second[0]} )"
  return f"{left} {operator} {right}", binding


def define(program: str) -> Callable[[int, int], int]:
  """Returns the function of x and y that a program computes.

  Args:
    program: an expression, its symbols with spaces between.

  Raises:
    ValueError: a symbol is not of the language, or there are too many.
    SyntaxError: the symbols are not an expression.
  """
  symbols = program.split()
  if len(symbols) > LONGEST:
    raise ValueError(f"more than {LONGEST} symbols")
  for symbol in symbols:
    if symbol not in _SYMBOLS and not _INTEGER.fullmatch(symbol):
      raise ValueError(f"{symbol!r} is not a symbol of the language")
  names = {"__builtins__": {}, **_CALLS}
  return eval(f"lambda x, y: ({' '.join(symbols)})", names)


def table(program: str, inputs: Sequence[Inputs] = GRID) -> list[int]:
  """Returns a program's result for each input.

  Args:
    program: an expression in the language of the module.
    inputs: pairs of x and y.

  Raises:
    ValueError, SyntaxError: as `define`.
    TypeError: it calls a number, or calls with nothing to compare.
  """
  function = define(program)
  return [function(x, y) for x, y in inputs]


def verify(problem: Problem, response: str) -> float:
  """Returns 1.0 if the response computes the answer's function, else 0.0.

  Evaluates the response: call it in the sandbox.

  Args:
    problem: its answer is a program.
    response: a program; anything else is wrong.
  """
  try:
    return float(table(response) == table(problem.answer))
  except (ValueError, SyntaxError, TypeError):
    return 0.0
