"""Equality of two expressions by computer algebra.

Reaches sympy's parser with text that a model wrote: for the sandbox only.
"""

from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
import math_verify
import sympy

from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.rewards.math_answer import reward
from jaxrl_entropy.rewards.maths import compare
from jaxrl_entropy.rewards.maths.finished import (
  IMAGINARY,
  is_finished,
  is_numeric_power,
)
from jaxrl_entropy.rewards.maths.lexer import FUNCTIONS, GREEK, Token, words
from jaxrl_entropy.rewards.maths.tree import Tokens, matching

MAX_TOKENS = 200

_COMMANDS = GREEK | FUNCTIONS | {"frac", "sqrt", "cdot", "times"}
_MARKS = frozenset("+-*/^_(){}[]!|")
# Before a parenthesis these are functions, of which nothing is known.
_UNKNOWN_FUNCTIONS = words("f g F G")
# What may stand in any finished answer; all else, only where the reference has
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
# The parser takes these for the constants e and i, whose symbols are small.
_RENAMED = {"E": "Q_{1001}", "I": "Q_{1002}"}
_PARSER = ConversionConfig(
  interpret_as_mixed_fractions=False, lowercase_symbols=False
)
_POINTS = tuple(map(sympy.Rational, ("7/11", "-13/9", "29/5", "-1/7", "3/2")))
_DIGITS = 30


def verify(problem: Problem, response: str) -> float:
  """The reward of a response, algebra included."""
  return reward(problem, response, equal)


def warm_up() -> None:
  """Fills the parser's tables, once for all the processes forked later."""
  for gold, answer in (
    (r"\frac{\sqrt{3}x^2}{2} + 1", r"1 + \frac{1}{2}\sqrt{3} \cdot x^{2}"),
    (r"\pi (n+1)^2 - e^{3}", r"\pi (n^2 + 2n + 1) - e^3"),
    (r"\frac{\ln(a-b)}{3+4i}", r"\frac{3-4i}{25}\ln(a-b)"),
  ):
    compare.equal(gold, answer, equal)


def equal(gold: Tokens, answer: Tokens) -> bool:
  """Whether two expressions are equal and the answer is worked out.

  An answer that still has terms to collect, factors to multiply, or functions
  that the reference has not, restates its problem, and is wrong; unless the
  reference is as unfinished.
  """
  wanted, given = read(gold), read(answer)
  if wanted is None or given is None:
    return False
  if is_finished(gold, wanted) and not is_finished(answer, given):
    return False
  wanted, given = wanted.subs(IMAGINARY), given.subs(IMAGINARY)
  if not _operations(given) <= _operations(wanted):
    return False
  if wanted.free_symbols != given.free_symbols:
    return False
  return (
    _agree(wanted, given)
    and math_verify.verify(wanted, given, timeout_seconds=None)
    # It takes for zero what is small.
    and (wanted - given).equals(0) is not False
  )


def read(given: Tokens) -> sympy.Expr | None:
  """The expression; None where it is in no plain algebraic notation.

  The imaginary unit is still a symbol, so that nothing is worked out yet.
  """
  text = _latex(given)
  if text is None:
    return None
  try:
    expression = latex2sympy(
      text, normalization_config=None, conversion_config=_PARSER
    )
  except Exception:
    # The parser raises bare Exceptions.
    return None
  return expression if isinstance(expression, sympy.Expr) else None


def _latex(given: Tokens) -> str | None:
  """The tokens as LaTeX that has one reading only; None if they have more."""
  if len(given) > MAX_TOKENS:
    return None
  given = _grouped_exponents(given)
  parts: list[str] = []
  before = [Token("mark", "("), Token("mark", "("), *given]
  for second, first, token in zip(before, before[1:], given, strict=False):
    if not _is_plain(token) or (token.value == "[" and first.value != "sqrt"):
      return None
    if token.value == "_" and first.kind == "number":
      return None  # a number in another base
    if token.value == first.value == "!":
      return None  # every second factor, and no factorial of a factorial
    if token.value == "(" and first.value in _UNKNOWN_FUNCTIONS:
      return None
    if _ends(first) and second.value != "_":
      if _is_ambiguous(second, first, token):
        return None
      if token.value == "(":
        parts.append(r"\cdot")
    parts.append(_written(token))
  return " ".join(parts)


def _grouped_exponents(given: Tokens) -> Tokens:
  """`2^(n-1)` with braces for the parentheses, as LaTeX has it."""
  for index in range(len(given) - 1):
    if given[index].value == "^" and given[index + 1].value == "(":
      end = index + 1 + matching(given[index + 1 :])
      if end > index:
        inner = _grouped_exponents(given[index + 2 : end])
        opening, closing = Token("mark", "{"), Token("mark", "}")
        tail = _grouped_exponents(given[end + 1 :])
        return (*given[: index + 1], opening, *inner, closing, *tail)
  return given


def _is_ambiguous(second: Token, first: Token, token: Token) -> bool:
  """`x 2` and `2 3`; `2 \\frac{1}{2}x`; `1/2x`, of which x is which part?"""
  return (
    token.kind == "number"
    or (first.kind == "number" and token.value == "frac")
    or (second.value == "/" and _begins(token))
  )


def _begins(token: Token) -> bool:
  """Whether a factor may begin with this token."""
  return token.kind in ("symbol", "command") or token.value == "("


def _is_plain(token: Token) -> bool:
  if token.kind in ("number", "symbol"):
    return "overline" not in token.value
  return token.value in (_COMMANDS if token.kind == "command" else _MARKS)


def _ends(token: Token) -> bool:
  """Whether a factor may end with this token."""
  return (
    token.kind in ("number", "symbol")
    or token.value in (")", "}", "]", "!")
    or token.value in GREEK
  )


def _written(token: Token) -> str:
  if token.kind == "symbol":
    return _RENAMED.get(token.value, token.value)
  if token.kind == "number" and "." in token.value:
    # Decimals are exact here.
    return sympy.latex(sympy.Rational(token.value))
  return str(token)


def _operations(expression: sympy.Expr) -> set[str]:
  """Names of what an expression does beyond algebra, powers of numbers too."""
  return {
    "power" if node.is_Pow else type(node).__name__
    for node in sympy.preorder_traversal(expression)
    if not isinstance(node, _ALGEBRA) or is_numeric_power(node)
  }


def _agree(left: sympy.Expr, right: sympy.Expr) -> bool:
  """Whether both have the same values at a few points."""
  symbols = sorted(left.free_symbols, key=str)
  for shift in range(3 if symbols else 1):
    point = {
      symbol: _POINTS[(index + shift) % len(_POINTS)]
      for index, symbol in enumerate(symbols)
    }
    values = [e.subs(point).evalf(_DIGITS) for e in (left, right)]
    error = abs(values[0] - values[1])
    bound = sympy.Float(10) ** (6 - _DIGITS) * abs(values[0])
    if not (error.is_Float or error.is_Integer) or not error <= bound:
      return False
  return True
