"""Equality of two expressions by computer algebra.

Reaches sympy's parser with text that a model wrote: for the sandbox only.
"""

from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
import math_verify
import sympy

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards.verifiers import math_answer
from jaxrl_entropy.rewards.verifiers.maths import compare
from jaxrl_entropy.rewards.verifiers.maths.expression import (
  ROUNDED,
  UNEVALUATED,
  to_latex,
)
from jaxrl_entropy.rewards.verifiers.maths.finished import (
  IMAGINARY,
  is_finished,
  is_numeric_power,
)
from jaxrl_entropy.rewards.verifiers.maths.leaves import Rules, Sides
from jaxrl_entropy.rewards.verifiers.maths.lexer import Tokens

# Functions allowed in any finished answer; others only where the reference has
# it too.
_ALGEBRA = (
  sympy.Add,
  sympy.Mul,
  sympy.Pow,
  sympy.Number,
  sympy.Symbol,
  sympy.NumberSymbol,
  sympy.core.numbers.ImaginaryUnit,
)
_PARSER = ConversionConfig(
  interpret_as_mixed_fractions=False, lowercase_symbols=False
)
_POINTS = tuple(map(sympy.Rational, ("7/11", "-13/9", "29/5", "-1/7", "3/2")))
_POSITIVE = tuple(map(abs, _POINTS))
_INTEGERS = tuple(map(sympy.Integer, (12, -7, 4, 9, -5)))
_ROUNDED = (sympy.floor, sympy.ceiling)
_DIGITS = 30
MAX_EXPONENT = 50_000


def verify(problem: Problem, response: str) -> float:
  """Returns the reward of a response for a worked-out answer.

  Args:
    problem: its answer may itself be in a box.
    response: one without a complete box scores 0.
  """
  return math_answer.reward(
    problem, response, is_worked_out, is_worked_out_multiple
  )


def verify_equal(problem: Problem, response: str) -> float:
  """Returns the reward of a response for an equal answer, worked out or not.

  Args:
    problem: its answer may itself be in a box.
    response: one without a complete box scores 0.
  """
  return math_answer.reward_equal(problem, response, is_equal, is_multiple)


def warm_up() -> None:
  """Fills the parser's tables, once for all the processes forked later."""
  rules = Rules(is_worked_out, is_worked_out_multiple)
  for gold, answer in (
    (r"\frac{\sqrt{3}x^2}{2} + 1", r"1 + \frac{1}{2}\sqrt{3} \cdot x^{2}"),
    (r"\pi (n+1)^2 - e^{3}", r"\pi (n^2 + 2n + 1) - e^3"),
    (r"\frac{\ln(a-b)}{3+4i}", r"\frac{3-4i}{25}\ln(a-b)"),
  ):
    compare.equal(gold, answer, rules)


def is_worked_out(gold: Tokens, answer: Tokens) -> bool:
  """Returns whether two expressions are equal and the answer is worked out.

  An answer that still has terms to collect, factors to multiply, or functions
  that the reference has not, restates its problem, and is wrong; unless the
  reference is as unfinished.

  Args:
    gold: tokens of the reference, which may itself be a problem.
    answer: tokens of the answer.

  Returns:
    False as well where one of them is in no algebraic notation.
  """
  unevaluated = {token.value for token in gold} & UNEVALUATED
  is_problem = bool(unevaluated)
  may_round = is_problem and unevaluated <= ROUNDED
  wanted, actual = read(gold, is_problem), read(answer, may_round)
  if wanted is None or actual is None:
    return False
  must_finish = is_problem or is_finished(gold, wanted)
  if must_finish and not is_finished(answer, actual):
    return False
  wanted, actual = wanted.subs(IMAGINARY), actual.subs(IMAGINARY)
  if not is_problem and not _operations(actual) <= _operations(wanted):
    return False
  if wanted.free_symbols != actual.free_symbols:
    return False
  if is_problem:
    return _is_equal(wanted, actual)
  return (
    _agree(wanted, actual, _POINTS)
    and math_verify.verify(wanted, actual, timeout_seconds=None)
    # It takes for zero what is small.
    and (wanted - actual).equals(0) is not False
  )


def is_equal(gold: Tokens, answer: Tokens) -> bool:
  """Returns whether two expressions are equal wherever both are real.

  Expressions of numbers alone are equal as complex numbers.

  Args:
    gold: tokens of the reference.
    answer: tokens of the answer.

  Returns:
    False as well where one of them is in no algebraic notation.
  """
  wanted, actual = read(gold, unevaluated=True), read(answer, unevaluated=True)
  if wanted is None or actual is None:
    return False
  return _is_equal(wanted.subs(IMAGINARY), actual.subs(IMAGINARY))


def is_worked_out_multiple(gold: Sides, answer: Sides) -> bool:
  """Returns whether an equation is a multiple of another, and worked out.

  Args:
    gold: both sides of the reference's equation.
    answer: both sides of the answer's equation.
  """
  wanted, actual = _difference(gold), _difference(answer)
  if wanted is None or actual is None:
    return False
  return (
    all(is_finished(side, read(side)) for side in answer)
    and _operations(actual) <= _operations(wanted)
    and is_multiple(gold, answer)
  )


def is_multiple(gold: Sides, answer: Sides) -> bool:
  """Returns whether an equation is another one times a number that is not 0.

  Args:
    gold: both sides of the reference's equation.
    answer: both sides of the answer's equation.
  """
  wanted, actual = _difference(gold), _difference(answer)
  if wanted is None or actual is None:
    return False
  symbols = wanted.free_symbols
  if not symbols or symbols != actual.free_symbols:
    return False
  ratio = sympy.cancel(_numerator(wanted) / _numerator(actual))
  return bool(ratio.is_number and ratio.is_finite and not ratio.is_zero)


def _numerator(difference: sympy.Expr) -> sympy.Expr:
  """Returns `xy - 6` for `y - 6/x`, which is 0 at the same points."""
  return sympy.numer(sympy.together(difference.doit()))


def _difference(sides: Sides) -> sympy.Expr | None:
  """Returns `left - right`; None where a side is in no algebraic notation."""
  left, right = map(read, sides)
  return None if left is None or right is None else left - right


def read(tokens: Tokens, unevaluated: bool = False) -> sympy.Expr | None:
  """Returns the expression; None where it is in no algebraic notation.

  The imaginary unit is still a symbol, so that nothing is worked out yet.

  Args:
    tokens: of the expression.
    unevaluated: whether sums, binomials and the like are read.
  """
  text = to_latex(tokens, unevaluated)
  if text is None:
    return None
  try:
    expression = latex2sympy(
      text, normalization_config=None, conversion_config=_PARSER
    )
  except Exception:
    # The parser raises bare Exceptions.
    return None
  is_read = isinstance(expression, sympy.Expr) and _is_moderate(expression)
  return expression if is_read else None


def _is_moderate(expression: sympy.Expr) -> bool:
  """Whether no power or factorial in it takes long to compute.

  Visits the innermost first: `9^{9^9}` is found before its powers are.
  """
  for node in sympy.postorder_traversal(expression):
    size = sympy.Integer(0)
    if isinstance(node, sympy.factorial):
      size = node.args[0]
    elif node.is_Pow and node.base.is_Rational:
      size = node.exp
    if size.is_number and not bool(abs(size.evalf(5)) <= MAX_EXPONENT):
      return False
  return True


def _operations(expression: sympy.Expr) -> set[str]:
  """Names of what an expression does beyond algebra, powers of numbers too."""
  return {
    "power" if node.is_Pow else type(node).__name__
    for node in sympy.preorder_traversal(expression)
    if not (isinstance(node, _ALGEBRA) or _is_power_of_e(node))
    or is_numeric_power(node)
  }


def _is_power_of_e(node: sympy.Basic) -> bool:
  r"""Whether this is `e^{-1}`, which `\frac{1}{e}` writes without a power."""
  return isinstance(node, sympy.exp) and node.exp.is_Integer


def _agree(
  left: sympy.Expr, right: sympy.Expr, points: tuple[sympy.Rational, ...]
) -> bool:
  """Whether both have the same values at a few points."""
  symbols = sorted(left.free_symbols, key=str)
  for shift in range(3 if symbols else 1):
    values = [
      _value(expression, _point(symbols, shift, points))
      for expression in (left, right)
    ]
    if not _is_close(*values):
      return False
  return True


def _point(
  symbols: list[sympy.Symbol], shift: int, points: tuple[sympy.Rational, ...]
) -> dict[sympy.Symbol, sympy.Rational]:
  return {
    symbol: points[(index + shift) % len(points)]
    for index, symbol in enumerate(symbols)
  }


def _value(
  expression: sympy.Expr, point: dict[sympy.Symbol, sympy.Rational]
) -> sympy.Expr:
  """Returns a number, or NaN where a series has no sum."""
  try:
    return expression.subs(point).evalf(_DIGITS)
  except ValueError:
    return sympy.nan


def _is_close(left: sympy.Expr, right: sympy.Expr) -> bool:
  error = abs(left - right)
  bound = sympy.Float(10) ** (6 - _DIGITS) * abs(left)
  return bool((error.is_Float or error.is_Integer) and error <= bound)


def _is_equal(left: sympy.Expr, right: sympy.Expr) -> bool:
  left, right = left.doit(), right.doit()
  if not (left.is_finite is not False and right.is_finite is not False):
    return False
  symbols = sorted(left.free_symbols | right.free_symbols, key=str)
  if not symbols:
    return (
      _agree(left, right, _POINTS) and (left - right).equals(0) is not False
    )
  if not _agree_over_reals(left, right, symbols):
    return False
  rounded = left.has(*_ROUNDED) or right.has(*_ROUNDED)
  if rounded and not _agree(left, right, _INTEGERS):
    return False
  positive = {s: sympy.Symbol(f"p_{i}", positive=True)
              for i, s in enumerate(symbols)}  # fmt: skip
  return (left - right).subs(positive).equals(0) is not False


def _agree_over_reals(
  left: sympy.Expr, right: sympy.Expr, symbols: list[sympy.Symbol]
) -> bool:
  """Whether both agree at positive points, and at the rest if both are real."""
  for points in (_POSITIVE, _POINTS):
    for shift in range(3):
      point = _point(symbols, shift, points)
      values = [_value(expression, point) for expression in (left, right)]
      if points is _POINTS and not all(v.is_real for v in values):
        continue
      if not _is_close(*values):
        return False
  return True
