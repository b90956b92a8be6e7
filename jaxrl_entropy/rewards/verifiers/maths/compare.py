"""Compares two answers by the conventions of docs/rewards.md."""

from fractions import Fraction

from jaxrl_entropy.rewards.verifiers.maths import names, notation, spans
from jaxrl_entropy.rewards.verifiers.maths.congruences import as_class
from jaxrl_entropy.rewards.verifiers.maths.leaves import (
  Rules,
  Sides,
  has_text,
  leaves_equal,
)
from jaxrl_entropy.rewards.verifiers.maths.lexer import UnreadableError
from jaxrl_entropy.rewards.verifiers.maths.nodes import (
  Approximation,
  Chain,
  Equation,
  Group,
  Leaf,
  Node,
)
from jaxrl_entropy.rewards.verifiers.maths.numbers import Literal, literal
from jaxrl_entropy.rewards.verifiers.maths.parameters import aligned
from jaxrl_entropy.rewards.verifiers.maths.regions import both_empty, phrase
from jaxrl_entropy.rewards.verifiers.maths.tree import parse
from jaxrl_entropy.rewards.verifiers.maths.units import split_unit

_DOTS = frozenset(["ldots", "cdots"])


def equal(gold: str, answer: str, rules: Rules) -> bool:
  """Returns whether `answer` equals the reference `gold`.

  This is not symmetric under strict rules: the answer must be worked out as
  far as the reference is.

  Args:
    gold: the reference, LaTeX or text.
    answer: what stands in the box of a response.
    rules: of the comparison, with the functions for what is no literal number.
  """
  if gold.strip() == answer.strip():
    return True
  try:
    if not rules.strict:
      gold, answer = notation.unlabeled(gold, answer)
    wanted, actual = parse(gold), parse(answer)
    if _is_list(wanted) != _is_list(actual):
      # `101,110` is a list where the other side is one.
      ungrouped = [_ungrouped(gold, wanted), _ungrouped(answer, actual)]
      if all(map(_is_list, ungrouped)):
        wanted, actual = ungrouped
    if not rules.strict:
      wanted, actual = _sole_members(wanted, actual)
    return _nodes(wanted, actual, rules)
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
  if not rules.strict:
    gold, answer = _of_sum(gold), _of_sum(answer)
  gold, answer = _value(gold), _value(answer)
  if isinstance(answer, Approximation) or isinstance(gold, Approximation):
    return _approximations(gold, answer, rules)
  if isinstance(gold, Chain):
    return _nodes(gold.sides[-1], answer, rules)
  if isinstance(answer, Chain):
    return _chain(gold, answer, rules)
  if both_empty(gold, answer):
    return True
  if not rules.strict:
    gold, answer = _listed(gold, answer), _listed(answer, gold)
    gold, answer = _vectors(gold, answer)
    gold, answer = as_class(gold, answer), as_class(answer, gold)
  if names.is_point(gold) != names.is_point(answer):
    gold, answer = names.point(gold), names.point(answer)
  if isinstance(gold, Group) and isinstance(answer, Group):
    return _groups(gold, answer, rules)
  if isinstance(gold, Leaf) and isinstance(answer, Leaf):
    return leaves_equal(gold, answer, rules)
  return False


def _equations(gold: Equation, answer: Equation, rules: Rules) -> bool:
  if names.is_constant(gold.left):
    return _nodes(gold.right, answer, rules)
  answer = names.with_argument_of(gold, answer)
  if names.is_name(gold.left.tokens) and isinstance(gold.right, Leaf):
    answer = _with_parameter_of(gold.right, answer)
  same = names.same_name(gold.left, answer.left) or (
    not rules.strict and names.is_graph(gold.left, answer.left)
  )
  alike = (same or leaves_equal(gold.left, answer.left, rules)) and _nodes(
    gold.right, answer.right, rules
  )
  return alike or _scaled(gold, answer, rules)


def _with_parameter_of(gold: Leaf, answer: Equation) -> Equation:
  """`n = 2^k` for `n = 2^m` where the reference has k."""
  if not isinstance(answer.right, Leaf):
    return answer
  function = answer.left.tokens[-1].value == ")"
  renamed = aligned(gold.tokens, answer.right.tokens, True, function)
  return Equation(answer.left, Leaf(renamed))


def _value(node: Node) -> Node:
  r"""Returns the right side of `x = 3`, `f(x) = 3` or `(x, y) = (2, 3)`.

  A chain stands for `3 \times 5 = 15`, whose sides must all be equal.
  """
  if not isinstance(node, Equation):
    return node
  left, right = node.left.tokens, node.right
  if names.is_name(left) or names.names_members(left, right):
    return right
  if names.is_labeled(node):
    return right
  if isinstance(right, Leaf) and names.is_name(right.tokens):
    return node.left if literal(left) else node
  if names.is_constant(node.left):
    return Chain((node.left, right))
  return node


def _of_sum(node: Node) -> Node:
  r"""Returns the right side of `m + n = 27`, `a : b = 2 : 3`, `\det A = 7`."""
  if not isinstance(node, Equation) or not names.is_asked(node.left.tokens):
    return node
  value = node.right
  is_value = isinstance(value, Chain) or names.is_constant(value)
  return value if is_value else node


def _chain(gold: Node, answer: Chain, rules: Rules) -> bool:
  """Whether all sides of `a = b = c` are the reference, and no two alike."""
  if not rules.strict:  # `1 + 2 + ... + 9 = 45`
    told = (
      s
      for s in answer.sides
      if not isinstance(s, Leaf)
      or (_DOTS.isdisjoint(t.value for t in s.tokens))
    )
    answer = Chain(tuple(told))
  sides = [side.tokens for side in answer.sides if isinstance(side, Leaf)]
  if len(sides) < len(answer.sides) or len(set(sides)) < len(sides):
    return False
  if rules.strict and not all(map(literal, sides)):
    return False
  return all(_nodes(gold, side, rules) for side in answer.sides)


def _approximations(gold: Node, answer: Node, rules: Rules) -> bool:
  r"""`2\sqrt{2} \approx 2.83` for `2\sqrt{2}`; `\approx 2.83` for `2.83`."""
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
  if value is None or (answer.exact and _literal(answer.exact)):
    return False
  may_be_rounded = value.is_decimal or not rules.strict
  return may_be_rounded and _nodes(gold, answer.rounded, rules)


def _literal(node: Node) -> Literal | None:
  if not isinstance(node, Leaf):
    return None
  return literal(split_unit(node.tokens)[0])


def _rounds(value: Literal, rounded: Literal) -> bool:
  """Whether a number is another one, rounded or cut off."""
  digits = rounded.text.partition(".")[2].split(" ")[0]
  last = Fraction(1, 10 ** len(digits))
  rest = abs(value.value) - abs(rounded.value)
  return -last / 2 <= rest < last and value.value * rounded.value >= 0


def _listed(node: Node, other: Node) -> Node:
  """Returns `[1, 2, 3]` as a list where the other answer is one."""
  if not (isinstance(node, Group) and isinstance(other, Group)):
    return node
  listed = other.kind in ("list", "set") and node.kind == "[]"
  several = listed and len(node.members) > 2
  return Group("list", node.members) if several else node


def _vectors(gold: Node, answer: Node) -> tuple[Node, Node]:
  """Returns a column or row as the tuple that the other answer is."""
  pair = gold, answer
  if not all(isinstance(node, Group) for node in pair):
    return pair
  if not any(isinstance(n, Group) and n.kind in ("()", "[]") for n in pair):
    return pair
  return _tuple(gold), _tuple(answer)


def _tuple(node: Node) -> Node:
  """`(1, 2, 3)` for a column, a row and `[1, 2, 3]`, which is no interval."""
  if not isinstance(node, Group):
    return node
  row = node.kind == "[]" and len(node.members) > 2
  matrix = node.kind.startswith("1x") or node.kind.endswith("x1")
  return Group("()", node.members) if row or matrix else node


def _sole_members(gold: Node, answer: Node) -> tuple[Node, Node]:
  r"""Returns `7` for `\{7\}` where the other answer is no set."""
  if not _is_list(gold):
    answer = _sole_member(answer)
  if not _is_list(answer):
    gold = _sole_member(gold)
  return gold, answer


def _sole_member(node: Node) -> Node:
  """Returns the member of a set of one expression."""
  value = _value(node)
  if not isinstance(value, Group) or value.kind not in ("set", "list"):
    return node
  if value.kind == "list":
    return _repeated(value) or node
  if len(value.members) != 1:
    return node
  member = value.members[0]
  return member if isinstance(member, Leaf) or names.is_point(member) else node


def _repeated(listed: Group) -> Node | None:
  r"""Returns `\frac{1}{2}` for `\frac{1}{2} \text{ or } 0.5`."""
  values = [_literal(member) for member in listed.members]
  spelled = len(set(listed.members)) == len(values)
  same = all(v and values[0] and v.value == values[0].value for v in values)
  return listed.members[0] if spelled and same else None


def _scaled(gold: Equation, answer: Equation, rules: Rules) -> bool:
  """Whether one equation is a multiple of the other: `2x + 4y = 6`."""
  if names.is_name(gold.left.tokens) and names.is_constant(gold.right):
    return False  # `2x = 6` is not solved
  wanted, actual = _sides(gold), _sides(answer)
  if wanted is None or actual is None or has_text(*wanted, *actual):
    return False
  return rules.proportional(wanted, actual)


def _sides(equation: Equation) -> Sides | None:
  """Returns both sides of an equation between two expressions."""
  left, right = equation.left, equation.right
  return (left.tokens, right.tokens) if isinstance(right, Leaf) else None


def _groups(gold: Group, answer: Group, rules: Rules) -> bool:
  if gold.symbol and answer.symbol and gold.symbol != answer.symbol:
    return False
  if rules.strict and names.may_be_point(gold) and answer.inequality:
    return False
  if not rules.strict and "union" in (gold.kind, answer.kind):
    wanted, actual = spans.united(gold), spans.united(answer)
    if wanted and actual:
      return wanted == actual
  if "set" in (gold.kind, answer.kind) and not (gold.ordered or answer.ordered):
    return _sets(gold, answer, rules)
  if len(gold.members) != len(answer.members):
    return False
  if gold.kind == answer.kind == "mod":
    return _congruent(gold, answer, rules)
  by_place = names.names_by_place(gold, answer)
  if gold.ordered or answer.ordered or by_place:
    return gold.kind == answer.kind and all(
      _nodes(g, a, rules) or (gold.kind == "case" and _says_otherwise(a))
      for g, a in zip(gold.members, answer.members, strict=True)
    )
  if "union" in (gold.kind, answer.kind) and gold.kind != answer.kind:
    return False
  left = list(answer.members)
  for member in gold.members:
    match = next((a for a in left if _nodes(member, a, rules)), None)
    if match is None:
      return False
    left.remove(match)
  return True


def _says_otherwise(node: Node) -> bool:
  return isinstance(node, Leaf) and phrase(node.tokens) == "otherwise"


def _sets(gold: Group, answer: Group, rules: Rules) -> bool:
  """Whether two sets have the same members, however often they are written."""
  if "union" in (gold.kind, answer.kind):
    return False
  if names.names_by_place(gold, answer):
    return False
  return all(
    any(_nodes(g, a, rules) for a in answer.members) for g in gold.members
  ) and all(
    any(_nodes(g, a, rules) for g in gold.members) for a in answer.members
  )


def _congruent(gold: Group, answer: Group, rules: Rules) -> bool:
  residue, modulus = gold.members
  answer_residue, answer_modulus = answer.members
  if not _nodes(modulus, answer_modulus, rules):
    return False
  numbers = [_literal(node) for node in (residue, answer_residue, modulus)]
  if not rules.strict and all(numbers):
    wanted, actual, size = (n.value for n in numbers if n)
    return bool(size) and (wanted - actual) % size == 0
  return _nodes(residue, answer_residue, rules)
