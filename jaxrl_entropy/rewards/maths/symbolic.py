"""Equality of two expressions by computer algebra.

Reaches sympy's parser with text that a model wrote: for the sandbox only.
"""

from collections.abc import Iterator
import math
import re

from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
import math_verify
import sympy

from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.rewards.math_answer import reward
from jaxrl_entropy.rewards.maths import compare
from jaxrl_entropy.rewards.maths.lexer import GREEK, Token, words
from jaxrl_entropy.rewards.maths.tree import Tokens, matching

MAX_TOKENS = 200
MAX_EXPANDED = 8  # power of a sum

_FUNCTIONS = words(
  "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp"
)
_COMMANDS = GREEK | _FUNCTIONS | {"frac", "sqrt", "cdot", "times"}
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
_I = {sympy.Symbol("i"): sympy.I}
# Digits over digits that are no exponent, index, or the like.
_QUOTIENT = re.compile(
  r"(?<![\^_] )\b(\d+) / (\d+)\b(?! [\^_!])|frac { (\d+) } { (\d+) }"
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
  if _finished(gold, wanted) and not _finished(answer, given):
    return False
  wanted, given = wanted.subs(_I), given.subs(_I)
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


def _finished(given: Tokens, expression: sympy.Expr) -> bool:
  """Whether there is nothing left to work out in what these tokens write."""
  return not _is_shortened(given, expression) and all(
    _collected(node) and _multiplied_out(node) and not _is_plain_power(node)
    for node in sympy.preorder_traversal(expression)
  )


def _is_shortened(given: Tokens, expression: sympy.Expr) -> bool:
  """Whether the parser worked something out: `4/2`, `e^{\\ln x}`."""
  written = sum(token.value in _FUNCTIONS for token in given)
  functions = sum(
    isinstance(node, sympy.Function)
    for node in sympy.preorder_traversal(expression)
  )
  quotients = _QUOTIENT.findall(" ".join(token.value for token in given))
  return functions < written or any(
    int(above) % int(below) == 0
    for above, below in (filter(None, pair) for pair in quotients)
    if int(below)
  )


def _collected(node: sympy.Expr) -> bool:
  """Whether this is no sum of which terms are alike, or cancel."""
  if not node.is_Add:
    return True
  terms = [_without_numeric_powers(term) for term in node.args]
  kinds = [term.doit().as_coeff_Mul()[1] for term in terms]
  if len(set(kinds)) < len(kinds):
    return False
  if any(p.exp.is_Integer and p.exp > MAX_EXPANDED for p in _sums_raised(node)):
    return True
  terms = [term.subs(_I).expand() for term in terms]
  total = sympy.Add(*terms)
  return len(sympy.Add.make_args(total)) >= len(terms) and (
    set().union(*map(_kinds, terms)) <= _kinds(total)
  )


def _without_numeric_powers(expression: sympy.Expr) -> sympy.Expr:
  """`x` for the `2^9` that stands for a number too long to write."""
  return expression.replace(
    _is_numeric_power, lambda power: sympy.Symbol(str(power))
  )


def _kinds(expression: sympy.Expr) -> set[sympy.Expr]:
  """The terms of a sum, without their coefficients."""
  terms = sympy.Add.make_args(expression)
  return {term.as_coeff_Mul()[1] for term in terms}


def _sums_raised(node: sympy.Expr) -> Iterator[sympy.Pow]:
  """Powers of sums in an expression."""
  return (p for p in node.atoms(sympy.Pow) if p.base.is_Add)


def _multiplied_out(node: sympy.Expr) -> bool:
  """Whether this is no product with two coefficients or powers alike."""
  factors = list(_factors(node)) if node.is_Mul else []
  above = [abs(f.p) for f in factors if f.is_Rational and abs(f.p) > 1]
  below = [f.q for f in factors if f.is_Rational and f.q > 1]
  below += [f.base.p for f in factors if _is_division(f)]
  common = [f.doit().primitive()[0].p for f in factors if f.is_Add]
  whole = below and math.prod(above + common) % math.prod(below) == 0
  plain = [f for f in factors if not (f.is_Add or f.is_Rational)]
  bases = [_base(f) for f in plain if not _is_division(f)]
  powers = [f.base for f in factors if _is_numeric_power(f)]
  return (
    max(len(above), len(below)) < 2
    and not whole
    and len(set(bases)) == len(bases)
    and not any(n % base == 0 for n in above + below for base in powers)
    and not any(_is_next(n, f) for n in factors for f in factors)
  )


def _base(factor: sympy.Expr) -> sympy.Expr:
  """The x of `x^2`, `1/x^2` and `\\sqrt{x}`; `2^n` is its own."""
  while factor.is_Pow and (factor.base.is_Symbol or factor.exp.is_Rational):
    factor = factor.base
  return factor


def _is_next(number: sympy.Expr, factorial: sympy.Expr) -> bool:
  """Whether their product is a factorial: `5 \\cdot 4!`."""
  return (
    isinstance(factorial, sympy.factorial)
    and (number - factorial.args[0]).expand() == 1
  )


def _factors(product: sympy.Expr) -> Iterator[sympy.Expr]:
  for factor in product.args:
    if factor.is_Mul:
      yield from _factors(factor)
    else:
      yield factor


def _is_division(factor: sympy.Expr) -> bool:
  """Whether this is `1/n`."""
  if not factor.is_Pow or factor.exp != -1:
    return False
  return factor.base.is_Integer and factor.base > 1


def _is_plain_power(node: sympy.Expr) -> bool:
  """Whether this is a power with a plainer name.

  As `\\sqrt{4}`, which is rational, or `\\sqrt{-4}`; `x^0`; and `i^2`.
  """
  if not node.is_Pow or not node.exp.is_Rational:
    return False
  if node.exp.is_Integer:
    return node.exp.is_zero or node.base in _I
  return (
    node.base.is_Rational and sympy.Pow(abs(node.base), node.exp).is_Rational
  )


def _operations(expression: sympy.Expr) -> set[str]:
  """Names of what an expression does beyond algebra, powers of numbers too."""
  return {
    "power" if node.is_Pow else type(node).__name__
    for node in sympy.preorder_traversal(expression)
    if not isinstance(node, _ALGEBRA) or _is_numeric_power(node)
  }


def _is_numeric_power(node: sympy.Basic) -> bool:
  return (
    isinstance(node, sympy.Pow)
    and node.base.is_Rational
    and node.exp.is_Integer
    and node.exp > 1
  )


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
