"""Compares two answers by the conventions of docs/rewards.md."""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from jaxrl_entropy.rewards.maths import names
from jaxrl_entropy.rewards.maths.lexer import (
  LETTER_PAIRS,
  Token,
  Tokens,
  UnreadableError,
  words,
)
from jaxrl_entropy.rewards.maths.nodes import (
  EMPTY,
  Approximation,
  Equation,
  Group,
  Leaf,
  Node,
)
from jaxrl_entropy.rewards.maths.numbers import Literal, literal, written
from jaxrl_entropy.rewards.maths.regions import says_no_solution
from jaxrl_entropy.rewards.maths.tree import parse
from jaxrl_entropy.rewards.maths.units import DEGREE, split_unit

Symbolic = Callable[[Tokens, Tokens], bool]
"""Equality of two expressions, (reference, answer), that are no literals."""


class Rules(NamedTuple):
  """The rules by which two answers are compared.

  Attributes:
    symbolic: decides on two expressions that are no literal numbers.
    proportional: decides whether `left - right` of two equations are equal but
      for a factor that is a number.
    restates: whether the question has an expression itself; that is no answer
      to it, unless the reference is spelled like it.
    strict: whether the answer must be worked out as far as the reference is.
  """

  symbolic: Symbolic
  proportional: Symbolic = lambda gold, answer: False
  restates: Callable[[Tokens], bool] = lambda given: False
  strict: bool = True


_PLAIN_WORDS = words("yes no true false none even odd")  # no names, in any case
_ARTICLES = words("a an the")
_RATIO = {Token("mark", ":"): Token("mark", "/")}


def equal(gold: str, answer: str, rules: Rules) -> bool:
  """Returns whether `answer` equals the reference `gold`.

  This is not symmetric under strict rules: the answer must be worked out as
  far as the reference is.
  """
  if gold.strip() == answer.strip():
    return True
  try:
    wanted, given = parse(gold), parse(answer)
    if _is_list(wanted) != _is_list(given):
      # `101,110` is a list where the other side is one.
      ungrouped = [_ungrouped(gold, wanted), _ungrouped(answer, given)]
      if all(map(_is_list, ungrouped)):
        wanted, given = ungrouped
    if not rules.strict:
      wanted, given = _sole_members(wanted, given)
    return _nodes(wanted, given, rules)
  except UnreadableError:
    return False


def _is_list(node: Node) -> bool:
  node = node.right if isinstance(node, Equation) else node
  return isinstance(node, Group) and node.kind in ("list", "set")


def _ungrouped(text: str, node: Node) -> Node:
  return node if _is_list(node) or "," not in text else parse(text, False)


def _nodes(gold: Node, answer: Node, rules: Rules) -> bool:
  if isinstance(gold, Equation) and isinstance(answer, Equation):
    return _equations(gold, answer, rules)
  gold, answer = _value(gold), _value(answer)
  if isinstance(answer, Approximation) or isinstance(gold, Approximation):
    return _approximations(gold, answer, rules)
  if _is_chain(gold):
    return _nodes(gold.parts[-1], answer, rules)
  if _is_chain(answer):
    return _chain(gold, answer, rules)
  if says_no_solution(answer) or says_no_solution(gold):
    if EMPTY in (gold, answer):
      return True
  if names.is_point(gold) != names.is_point(answer):
    gold, answer = names.point(gold), names.point(answer)
  if isinstance(gold, Group) and isinstance(answer, Group):
    return _groups(gold, answer, rules)
  if isinstance(gold, Leaf) and isinstance(answer, Leaf):
    return _leaves(gold, answer, rules)
  return False


def _equations(gold: Equation, answer: Equation, rules: Rules) -> bool:
  if names.is_constant(gold.left.tokens):
    return _nodes(gold.right, answer, rules)
  alike = _leaves(gold.left, answer.left, rules) and _nodes(
    gold.right, answer.right, rules
  )
  return alike or _scaled(gold, answer, rules)


def _value(node: Node) -> Node:
  """Returns the right side of `x = 3`, `f(x) = 3` or `(x, y) = (2, 3)`.

  A chain stands for `3 \\times 5 = 15`, whose sides must all be equal.
  """
  if not isinstance(node, Equation):
    return node
  left, right = node.left.tokens, node.right
  if names.is_name(left) or names.names_members(left, right):
    return right
  if isinstance(right, Leaf) and names.is_name(right.tokens):
    return node.left if literal(left) else node
  if names.is_constant(left):
    return Group("chain", (node.left, right))
  return node


def _is_chain(node: Node) -> bool:
  return isinstance(node, Group) and node.kind == "chain"


def _chain(gold: Node, answer: Group, rules: Rules) -> bool:
  """Whether all sides of `a = b = c` are the reference, and no two alike."""
  sides = [part.tokens for part in answer.parts if isinstance(part, Leaf)]
  if len(sides) < len(answer.parts) or len(set(sides)) < len(sides):
    return False
  if rules.strict and not all(map(literal, sides)):
    return False
  return all(_nodes(gold, part, rules) for part in answer.parts)


def _approximations(gold: Node, answer: Node, rules: Rules) -> bool:
  """`2\\sqrt{2} \\approx 2.83` for `2\\sqrt{2}`; `\\approx 2.83` for `2.83`."""
  if isinstance(gold, Approximation):
    wanted = [node for node in (gold.exact, gold.rounded) if node]
    if isinstance(answer, Approximation):
      answer = answer.exact or answer.rounded
    return any(_nodes(node, answer, rules) for node in wanted)
  if not isinstance(answer, Approximation):
    return False
  value = _literal(gold)
  if answer.exact and _nodes(gold, answer.exact, rules):
    rounded = _literal(answer.rounded)
    return not (value and rounded) or _rounds(value, rounded)
  is_rounded = value is not None and (value.is_decimal or not rules.strict)
  return is_rounded and _nodes(gold, answer.rounded, rules)


def _literal(node: Node) -> Literal | None:
  if not isinstance(node, Leaf):
    return None
  return literal(split_unit(node.tokens)[0])


def _rounds(value: Literal, rounded: Literal) -> bool:
  """Whether a number is another one, rounded or cut off."""
  digits = rounded.text.partition(".")[2].split(" ")[0]
  return abs(value.value - rounded.value) < Fraction(1, 10 ** len(digits))


def _sole_members(gold: Node, answer: Node) -> tuple[Node, Node]:
  """Returns `7` for `\\{7\\}` where the other answer is no set."""
  if isinstance(_value(gold), Leaf):
    answer = _sole_member(answer)
  if isinstance(_value(answer), Leaf):
    gold = _sole_member(gold)
  return gold, answer


def _sole_member(node: Node) -> Node:
  """Returns the member of a set of one expression."""
  value = _value(node)
  if isinstance(value, Group) and value.kind == "set" and len(value.parts) == 1:
    return value.parts[0] if isinstance(value.parts[0], Leaf) else node
  return node


def _scaled(gold: Equation, answer: Equation, rules: Rules) -> bool:
  """Whether one equation is a multiple of the other: `2x + 4y = 6`."""
  if not isinstance(gold.right, Leaf) or not isinstance(answer.right, Leaf):
    return False
  if names.is_name(gold.left.tokens) and names.is_constant(gold.right.tokens):
    return False  # `2x = 6` is not solved
  sides = [
    (equation.left.tokens, equation.right.tokens) for equation in (gold, answer)
  ]
  if any(_unlike(*side) for side in sides):
    return False
  wanted, given = (
    (*left, Token("mark", "-"), Token("mark", "("), *right, Token("mark", ")"))
    for left, right in sides
  )
  return rules.proportional(wanted, given)


def _groups(gold: Group, answer: Group, rules: Rules) -> bool:
  if gold.symbol and answer.symbol and gold.symbol != answer.symbol:
    return False
  if names.may_be_point(gold) and answer.inequality:
    return False
  if "set" in (gold.kind, answer.kind) and not (gold.ordered or answer.ordered):
    return _sets(gold, answer, rules)
  if len(gold.parts) != len(answer.parts):
    return False
  if gold.kind == answer.kind == "mod":
    return _congruent(gold, answer, rules)
  by_place = names.names_by_place(gold, answer)
  if gold.ordered or answer.ordered or by_place:
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


def _sets(gold: Group, answer: Group, rules: Rules) -> bool:
  """Whether two sets have the same members, however often they are written."""
  if "union" in (gold.kind, answer.kind):
    return False
  if names.names_by_place(gold, answer):
    return False
  return all(
    any(_nodes(g, a, rules) for a in answer.parts) for g in gold.parts
  ) and all(any(_nodes(g, a, rules) for g in gold.parts) for a in answer.parts)


def _congruent(gold: Group, answer: Group, rules: Rules) -> bool:
  (residue, modulus), (given, given_modulus) = gold.parts, answer.parts
  if not _nodes(modulus, given_modulus, rules):
    return False
  numbers = [_literal(node) for node in (residue, given, modulus)]
  if not rules.strict and all(numbers):
    wanted, found, size = (n.value for n in numbers if n)
    return bool(size) and (wanted - found) % size == 0
  return _nodes(residue, given, rules)


def _leaves(gold: Leaf, answer: Leaf, rules: Rules) -> bool:
  if _spelled_alike(gold.tokens, answer.tokens):
    return True
  gold_value, gold_unit = split_unit(gold.tokens)
  answer_value, answer_unit = split_unit(answer.tokens)
  scale = Fraction(1)
  if gold_unit and answer_unit:
    if gold_unit.powers != answer_unit.powers:
      return False
    scale = answer_unit.factor / gold_unit.factor
  wanted, given = _number(gold_value, rules), _number(answer_value, rules)
  if wanted and given:
    return wanted.value == scale * given.value and _is_answer(
      wanted, given, answer_value, rules
    )
  if (wanted and rules.strict) or _unlike(gold_value, answer_value):
    return False
  if scale != 1:
    answer_value = _times(scale, answer_value)
  elif given:
    answer_value = written(given.value)
  if wanted:
    gold_value = written(wanted.value)
  if (gold_unit == DEGREE) != (answer_unit == DEGREE) and not wanted:
    # A formula may as well be in radians.
    return not rules.strict and rules.symbolic(gold.tokens, answer.tokens)
  return _spelled_alike(gold_value, answer_value) or (
    not rules.restates(answer_value)
    and rules.symbolic(gold_value, answer_value)
  )


def _number(given: Tokens, rules: Rules) -> Literal | None:
  """Returns a literal; ratios such as `1:2` are one where not strict."""
  if not rules.strict:
    given = tuple(_RATIO.get(token, token) for token in given)
  return literal(given)


def _is_answer(
  wanted: Literal, given: Literal, value: Tokens, rules: Rules
) -> bool:
  """Whether a literal of the right value is worked out, and no restatement."""
  if not rules.strict:
    return True
  # `8/2` is a problem, and 4 its answer.
  finished = wanted.value.denominator > 1 or not given.quotient
  return finished and (
    wanted.text == given.text
    or (wanted.plain and given.plain)
    or not rules.restates(value)
  )


def _times(scale: Fraction, value: Tokens) -> Tokens:
  opening, closing = Token("mark", "("), Token("mark", ")")
  return (*written(scale), Token("command", "cdot"), opening, *value, closing)


def _unlike(gold: Tokens, answer: Tokens) -> bool:
  """Whether no algebra could show two expressions equal."""
  return any(
    token.kind == "prose"
    or (token.kind == "word" and token.value not in LETTER_PAIRS)
    or token.value == "infty"
    for token in (*gold, *answer)
  )


def _spelled_alike(gold: Tokens, answer: Tokens) -> bool:
  gold, answer = _unbraced(gold), _unbraced(answer)
  return len(gold) == len(answer) and all(map(_same, gold, answer))


def _unbraced(given: Tokens) -> Tokens:
  """`101_2` for `101_{2}`; `ellipse` for `an ellipse`."""
  if len(given) > 1 and given[0].is_word and given[0].value in _ARTICLES:
    given = given[1:]
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
