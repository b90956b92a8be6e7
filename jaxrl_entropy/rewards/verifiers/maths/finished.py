"""Whether an expression is worked out, or still a problem of its own.

For the sandbox only, as `symbolic` is.
"""

from collections.abc import Iterator
import math
import re

import sympy

from jaxrl_entropy.rewards.verifiers.maths.lexer import FUNCTIONS, Tokens

MAX_EXPANDED = 8  # power of a sum

IMAGINARY = {sympy.Symbol("i"): sympy.I}
# Digits over digits that are no exponent, index, or the like.
_QUOTIENT = re.compile(
  r"(?<![\^_] )\b(\d+) / (\d+)\b(?! [\^_!])|frac { (\d+) } { (\d+) }"
)


def is_finished(tokens: Tokens, expression: sympy.Expr) -> bool:
  """Returns whether nothing is left to work out in what these tokens write.

  Args:
    tokens: the expression as it was written.
    expression: what `symbolic.read` makes of them, the imaginary unit a symbol.
  """
  return not _is_shortened(tokens, expression) and all(
    _collected(node) and _multiplied_out(node) and not _is_plain_power(node)
    for node in sympy.preorder_traversal(expression)
  )


def _is_shortened(tokens: Tokens, expression: sympy.Expr) -> bool:
  r"""Whether the parser worked something out: `4/2`, `e^{\ln x}`."""
  written = sum(token.value in FUNCTIONS for token in tokens)
  functions = sum(
    isinstance(node, sympy.Function)
    for node in sympy.preorder_traversal(expression)
  )
  quotients = _QUOTIENT.findall(" ".join(token.value for token in tokens))
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
  terms = [term.subs(IMAGINARY).expand() for term in terms]
  total = sympy.Add(*terms)
  return len(sympy.Add.make_args(total)) >= len(terms) and (
    set().union(*map(_kinds, terms)) <= _kinds(total)
  )


def _without_numeric_powers(expression: sympy.Expr) -> sympy.Expr:
  """`x` for the `2^9` that stands for a number too long to write."""
  return expression.replace(
    is_numeric_power, lambda power: sympy.Symbol(str(power))
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
  powers = [f.base for f in factors if is_numeric_power(f)]
  return (
    max(len(above), len(below)) < 2
    and not whole
    and len(set(bases)) == len(bases)
    and not any(n % base == 0 for n in above + below for base in powers)
    and not any(_is_next(n, f) for n in factors for f in factors)
  )


def _base(factor: sympy.Expr) -> sympy.Expr:
  r"""The x of `x^2`, `1/x^2` and `\sqrt{x}`; `2^n` is its own."""
  if isinstance(factor, sympy.exp):
    return sympy.E
  while factor.is_Pow and (factor.base.is_Symbol or factor.exp.is_Rational):
    factor = factor.base
  return factor


def _is_next(number: sympy.Expr, factorial: sympy.Expr) -> bool:
  r"""Whether their product is a factorial: `5 \cdot 4!`."""
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
  r"""Whether this is a power with a plainer name.

  As `\sqrt{4}`, which is rational, or `\sqrt{-4}`; `x^0`; and `i^2`.
  """
  if not node.is_Pow or not node.exp.is_Rational:
    return False
  if node.exp.is_Integer:
    return node.exp.is_zero or node.base in IMAGINARY
  return (
    node.base.is_Rational and sympy.Pow(abs(node.base), node.exp).is_Rational
  )


def is_numeric_power(node: sympy.Basic) -> bool:
  """Whether a node is a power of a rational that could be worked out."""
  return (
    isinstance(node, sympy.Pow)
    and node.base.is_Rational
    and node.exp.is_Integer
    and node.exp > 1
  )
