"""Whether two answers are equal, by the conventions of docs/rewards.md."""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from jaxrl_entropy.rewards.maths.lexer import Token, UnreadableError, words
from jaxrl_entropy.rewards.maths.quantity import DEGREE, literal, split_unit
from jaxrl_entropy.rewards.maths.tree import (
  Equation,
  Group,
  Leaf,
  Node,
  Tokens,
  is_symbol,
  parse,
  split,
)

Symbolic = Callable[[Tokens, Tokens], bool]
"""Equality of two expressions, (reference, answer), that are no literals."""


class _Rules(NamedTuple):
  """How two expressions are compared that are not spelled alike."""

  symbolic: Symbolic
  restates: Callable[[Tokens], bool]


_ANGLE = Token("command", "angle")
_PLAIN_WORDS = words("yes no true false none even odd")  # no names, in any case
_DENIALS = words("not no never false wrong incorrect minus negative half twice")


def equal(
  gold: str,
  answer: str,
  symbolic: Symbolic,
  restates: Callable[[Tokens], bool] = lambda given: False,
) -> bool:
  """Whether `answer` equals the reference `gold`.

  Not symmetric: the answer must be worked out as far as the reference is.

  Args:
    gold: the reference.
    answer: what is compared with it.
    symbolic: decides on two expressions that are no literal numbers.
    restates: whether the question has an expression itself; that is no answer
      to it, unless the reference is spelled like it.
  """
  if gold.strip() == answer.strip():
    return True
  try:
    return _nodes(parse(gold), parse(answer), _Rules(symbolic, restates))
  except UnreadableError:
    return False


def _nodes(gold: Node, answer: Node, rules: _Rules) -> bool:
  if isinstance(gold, Equation) and isinstance(answer, Equation):
    return _leaves(gold.left, answer.left, rules) and _nodes(
      gold.right, answer.right, rules
    )
  gold, answer = _value(gold), _value(answer)
  if isinstance(gold, Group) and isinstance(answer, Group):
    return _groups(gold, answer, rules)
  if isinstance(gold, Leaf) and isinstance(answer, Leaf):
    return _leaves(gold, answer, rules)
  return False


def _value(node: Node) -> Node:
  """The right side of `x = 3`, `f(x) = 3` or `(x, y) = (2, 3)`."""
  if not isinstance(node, Equation):
    return node
  left, right = node.left.tokens, node.right
  return right if _is_name(left) or _names_members(left, right) else node


def _is_name(given: Tokens) -> bool:
  """Whether this names one unknown: `x`, `x_1`, `AB`, `\\angle ABC`, `f(x)`.

  `xy`, `\\sqrt{x}` and `\\text{not } x` do not.
  """
  if given[0] == _ANGLE:
    given = given[1:]
  if len(given) == 1 and given[0].is_word:
    return given[0].value.lower() not in _DENIALS
  return is_symbol(given) or _is_function(given)


def _is_function(given: Tokens) -> bool:
  """Whether this is a function of one unknown: `f(x)`, `P(A)`."""
  if len(given) != 4 or given[1].value != "(" or given[3].value != ")":
    return False
  name, argument = given[:1], given[2:3]
  return is_symbol(name) and is_symbol(argument) and name != argument


def _names_members(given: Tokens, point: Node) -> bool:
  """Whether this is the `(x, y)` of a point, in the order that all expect."""
  if not isinstance(point, Group) or point.kind != "()":
    return False
  if given[0].value != "(" or given[-1].value != ")":
    return False
  names = split(given[1:-1], lambda token: token.value == ",")
  return (
    all(map(is_symbol, names))
    and names == sorted(set(names))
    and len(names) == len(point.parts)
  )


def _groups(gold: Group, answer: Group, rules: _Rules) -> bool:
  if len(gold.parts) != len(answer.parts):
    return False
  if gold.symbol and answer.symbol and gold.symbol != answer.symbol:
    return False
  if _may_be_point(gold) and answer.inequality:
    return False
  if gold.ordered or answer.ordered or _names_by_place(gold, answer):
    return gold.kind == answer.kind and all(
      _nodes(g, a, rules) for g, a in zip(gold.parts, answer.parts, strict=True)
    )
  if "union" in (gold.kind, answer.kind) and gold.kind != answer.kind:
    return False
  left = list(answer.parts)
  for part in gold.parts:
    found = next((a for a in left if _nodes(part, a, rules)), None)
    if found is None:
      return False
    left.remove(found)
  return True


def _may_be_point(group: Group) -> bool:
  """Whether `(3, 4)` may as well be a point as an open interval."""
  return (
    group.kind == "()"
    and not group.symbol
    and not any(
      token.value == "infty"
      for part in group.parts
      if isinstance(part, Leaf)
      for token in part.tokens
    )
  )


def _names_by_place(gold: Group, answer: Group) -> bool:
  """Whether `2, 3` stands for `x = 2, y = 3`: its order is all it says."""
  names = [list(map(_unknown, group.parts)) for group in (gold, answer)]
  several = any(len(set(found) - {None}) > 1 for found in names)
  return several and any(None in found for found in names)


def _unknown(node: Node) -> Tokens | str | None:
  """What a part of a list is said of; None where it does not say."""
  if isinstance(node, Equation):
    return node.left.tokens
  return (node.symbol or None) if isinstance(node, Group) else None


def _leaves(gold: Leaf, answer: Leaf, rules: _Rules) -> bool:
  if _spelled_alike(gold.tokens, answer.tokens):
    return True
  (gold_value, gold_unit) = split_unit(gold.tokens)
  (answer_value, answer_unit) = split_unit(answer.tokens)
  scale = Fraction(1)
  if gold_unit and answer_unit:
    if gold_unit.powers != answer_unit.powers:
      return False
    scale = answer_unit.factor / gold_unit.factor
  wanted, given = literal(gold_value), literal(answer_value)
  if wanted and given:
    # `8/2` is a problem, and 4 its answer.
    finished = wanted.value.denominator > 1 or not given.quotient
    return (
      finished
      and wanted.value == scale * given.value
      and (
        wanted.text == given.text
        or (wanted.plain and given.plain)
        or not rules.restates(answer_value)
      )
    )
  if wanted or scale != 1 or _unlike(gold_value, answer_value):
    return False
  if (gold_unit == DEGREE) != (answer_unit == DEGREE):
    return False  # a formula may as well be in radians
  return _spelled_alike(gold_value, answer_value) or (
    not rules.restates(answer_value)
    and rules.symbolic(gold_value, answer_value)
  )


def _unlike(gold: Tokens, answer: Tokens) -> bool:
  """Whether no algebra could show two expressions equal."""
  return any(
    token.is_word or token.value in ("infty", "emptyset")
    for token in (*gold, *answer)
  )


def _spelled_alike(gold: Tokens, answer: Tokens) -> bool:
  gold, answer = _unbraced(gold), _unbraced(answer)
  return len(gold) == len(answer) and all(map(_same, gold, answer))


def _unbraced(given: Tokens) -> Tokens:
  """`101_2` for `101_{2}`."""
  braced = {
    index
    for index in range(len(given) - 3)
    if given[index].value in ("_", "^")
    and (given[index + 1].value, given[index + 3].value) == ("{", "}")
  }
  dropped = braced | {index + 2 for index in braced}
  return tuple(t for i, t in enumerate(given) if i - 1 not in dropped)


def _same(gold: Token, answer: Token) -> bool:
  """Whether two tokens are equal as text: prose in any case, names not."""
  if gold.value == answer.value:
    return True
  folded = gold.value.casefold()
  prose = len(folded) > 2 and "prose" in (gold.kind, answer.kind)
  return (prose or folded in _PLAIN_WORDS) and (
    folded == answer.value.casefold()
  )
