"""Names of unknowns: what `x`, `f(x)` or `(x, y)` in front of `=` stand for."""

from jaxrl_entropy.rewards.verifiers.maths.brackets import (
  is_enclosed,
  is_symbol,
  split,
)
from jaxrl_entropy.rewards.verifiers.maths.lexer import Token, Tokens, words
from jaxrl_entropy.rewards.verifiers.maths.nodes import (
  Equation,
  Group,
  Leaf,
  Node,
)

_DENIALS = words("not no never false wrong incorrect minus negative half twice")
_MARKED = words("angle Delta bar overline vec hat triangle")
_VARIABLES = words("x y z a b c")  # before a bracket, factors
_COORDINATES = words("x y z")
_DERIVATIVE = ["frac", "{", "d", "}", "{", "d", "}"]
_INVERSE = words("^ { - 1 }")
_ARGUMENTS = words(", | cap cup < > le ge =")
_HEADS = words("sin cos tan cot sec csc det deg gcd lcm mathbbE mathbbP")
_SIGNS = words("( ) [ ] , angle |")
_INDEX, _POWER = Token("mark", "_"), Token("mark", "^")
_CONSTANTS = words("pi frac sqrt cdot times div ldots cdots")


def is_name(tokens: Tokens) -> bool:
  r"""Returns whether this names one unknown.

  `x`, `x_1`, `AB`, `\angle ABC`, `f(x)`, `f(3)`, `\bar{x}`, `x'` and
  `\text{area of } ABC` do; `xy`, `\sqrt{x}`, `|x|`, `\text{not } x` do not.
  """
  if tokens[0].kind == "command" and tokens[0].value in _MARKED:
    tokens = tuple(t for t in tokens[1:] if t.value not in ("{", "}"))
  while len(tokens) > 1 and tokens[-1].value == "'":
    tokens = tokens[:-1]
  if not tokens:
    return False
  told = [t.value for t in tokens if t.kind != "symbol" or t.value == "d"]
  if told in (_DERIVATIVE, ["max"], ["min"]):
    return len(tokens) in (1, len(_DERIVATIVE) + 2)
  if all(token.is_word for token in tokens[:-1]) and (
    tokens[-1].is_word or (len(tokens) > 1 and is_symbol(tokens[-1:]))
  ):
    return all(token.value.lower() not in _DENIALS for token in tokens)
  return is_symbol(tokens) or _is_function(tokens) or _is_distance(tokens)


def is_unknown(tokens: Tokens) -> bool:
  """Returns whether this is `x` or `f(x)`, which an inequality may bound."""
  return is_symbol(tokens) or (bool(tokens) and _is_function(tokens))


def _is_quantity(tokens: Tokens) -> bool:
  r"""Whether this is `a : b`, `\frac{a}{b}`, `\sin\theta` or `\det A`."""
  terms = split(tokens, lambda token: token.value == ":")
  if len(terms) > 1:
    return all(term and is_name(term) for term in terms)
  head, *rest = (t for t in tokens if t.value not in ("{", "}"))
  named = all(map(_is_part, rest)) and bool(rest)
  quotient = head.value == "frac" and len(rest) == 2
  return named and (head.value in _HEADS or quotient)


def _is_part(token: Token) -> bool:
  """Whether this may stand in what is asked of angles, sets and matrices."""
  if token.value in _COORDINATES:
    return False
  named = token.kind in ("symbol", "word") or is_symbol((token,))
  return named or token.value in _SIGNS


def is_labeled(equation: Equation) -> bool:
  r"""Returns whether this is `A^{-1} = M`, which says what a matrix is."""
  left, right = equation.left.tokens, equation.right
  power = left[0].value.isupper() and left[1:2] == (_POWER,)
  single = len(left) == 3 or is_enclosed(left[2:], "{")
  labeled = left[0].kind == "environment" or (power and single)
  return labeled and isinstance(right, Group) and right.kind[0].isdigit()


def _is_function(tokens: Tokens) -> bool:
  r"""Whether this is a value of a function: `f(x)`, `f'(2)`, `P(A \cap B)`."""
  name, argument = tokens[:1], tokens[1:]
  while argument and argument[0].value in ("'", *_INVERSE):
    argument = argument[1:]
  if not is_symbol(name) or not is_enclosed(argument, "("):
    return False
  inner = argument[1:-1]
  if not all(map(_is_argument, inner)) or name[0] in inner:
    return False
  return is_symbol(inner) or name[0].value not in _VARIABLES


def _is_argument(token: Token) -> bool:
  return (
    token.kind in ("number", "symbol", "word")
    or token.value in _ARGUMENTS
    or is_symbol((token,))
  )


def _is_distance(tokens: Tokens) -> bool:
  """Whether this is `|AB|`, or `|A|` for the size of a set."""
  if len(tokens) < 3 or not tokens[0].value == tokens[-1].value == "|":
    return False
  inner = tokens[1:-1]
  if inner[0].value in _MARKED:
    return is_name(inner)
  return len(inner) == 1 and (inner[0].is_word or inner[0].value.isupper())


def is_constant(node: Node) -> bool:
  """Returns whether this is an expression without an unknown."""
  return isinstance(node, Leaf) and all(
    token.kind in ("number", "mark") or token.value in _CONSTANTS
    for token in node.tokens
  )


def names_members(tokens: Tokens, point: Node) -> bool:
  r"""Returns whether this is the `(x, y)` of a point, in alphabetical order.

  Greek letters stand behind Latin ones, as in `(r, \theta)`.

  Args:
    tokens: those in front of `=`, at least one.
    point: what stands behind it.
  """
  if not isinstance(point, Group) or not is_enclosed(tokens, "("):
    return False
  if point.kind == "set":
    return all(names_members(tokens, member) for member in point.members)
  if point.kind != "()":
    return False
  names = split(tokens[1:-1], lambda token: token.value in (",", ";"))
  return (
    all(map(is_symbol, names))
    and names == sorted(set(names), key=_alphabetical)
    and len(names) == len(point.members)
  )


def _alphabetical(name: Tokens) -> tuple[bool, Tokens]:
  return name[0].kind == "command", name


def is_point(node: Node) -> bool:
  """Returns whether this is a tuple in parentheses."""
  return isinstance(node, Group) and node.kind == "()" and not node.inequality


def point(node: Node) -> Node:
  """Returns `x = 1, y = 2` as `(1, 2)`; any other node as it is.

  The names must stand in alphabetical order, as all expect them in a tuple.
  """
  if isinstance(node, Leaf):
    return _labeled_point(node)
  if not isinstance(node, Group) or node.kind not in ("list", "set"):
    return node
  equations = [
    member for member in node.members if isinstance(member, Equation)
  ]
  names = [equation.left.tokens for equation in equations]
  if len(names) < len(node.members) or not all(map(is_symbol, names)):
    return node
  if names != sorted(set(names), key=_alphabetical):
    return node
  return Group("()", tuple(equation.right for equation in equations))


def is_sum(tokens: Tokens) -> bool:
  """Returns whether this is `m + n`, of which the value is asked.

  Sums of x, y or z stand in equations of lines and planes.
  """
  symbols = {token.value for token in tokens if token.kind == "symbol"}
  return (
    len(symbols) > 1
    and symbols.isdisjoint(_COORDINATES)
    and all(t.kind in ("symbol", "number") or t.value == "+" for t in tokens)
    and any(token.value == "+" for token in tokens)
  )


def is_asked(tokens: Tokens) -> bool:
  """Returns whether this is no unknown, but a value may be asked of it."""
  return is_sum(tokens) or _is_quantity(tokens)


def is_graph(gold: Leaf, answer: Leaf) -> bool:
  """Returns whether one is `y` and the other `f(x)`.

  Args:
    gold: the left side of the reference.
    answer: the left side of the answer.
  """
  short, long = sorted((gold.tokens, answer.tokens), key=len)
  variable = (Token("symbol", "x"),)
  return short == (Token("symbol", "y"),) and (
    _is_function(long) and long[-2:-1] == variable
  )


def same_name(gold: Leaf, answer: Leaf) -> bool:
  """Returns whether one is `y` and the other `y(x)` or `y_1`.

  Args:
    gold: the left side of the reference.
    answer: the left side of the answer.
  """
  short, long = sorted((gold.tokens, answer.tokens), key=len)
  if not is_symbol(short) or short != long[: len(short)]:
    return False
  return _is_function(long) or (len(short) == 1 and is_symbol(long))


def with_argument_of(gold: Equation, answer: Equation) -> Equation:
  """Returns `f(x) = 2x` for `f(t) = 2t` where the reference has f(x).

  Args:
    gold: the reference.
    answer: any equation; returned as it is unless it defines that function.
  """
  wanted, actual = gold.left.tokens, answer.left.tokens
  if not (_is_function(wanted) and _is_function(actual)):
    return answer
  if len(wanted) != 4 or len(actual) != 4 or wanted[0] != actual[0]:
    return answer
  old, new = actual[2], wanted[2]
  if not isinstance(answer.right, Leaf) or new in answer.right.tokens:
    return answer
  if not (is_symbol((old,)) and is_symbol((new,))):
    return answer
  renamed = (new if t == old else t for t in answer.right.tokens)
  return Equation(gold.left, Leaf(tuple(renamed)))


def _labeled_point(node: Leaf) -> Node:
  """`(1, 2)` for `P(1, 2)`."""
  name, point = node.tokens[:1], node.tokens[1:]
  if not name[0].value.isupper() or not is_enclosed(point, "("):
    return node
  members = split(point[1:-1], lambda token: token.value == ",")
  return Group("()", tuple(map(Leaf, members)))


def may_be_point(group: Group) -> bool:
  """Returns whether `(3, 4)` may as well be a point as an open interval."""
  return (
    group.kind == "()"
    and not group.symbol
    and not any(
      token.value == "infty"
      for member in group.members
      if isinstance(member, Leaf)
      for token in member.tokens
    )
  )


def names_by_place(gold: Group, answer: Group) -> bool:
  """Returns whether `2, 3` stands for `x = 2, y = 3` by its order alone.

  Args:
    gold: the reference.
    answer: the answer.
  """
  names = [list(map(_unknown, group.members)) for group in (gold, answer)]
  if _counted(names[1]):
    return False  # `x_1 = 2, x_2 = 3` for `2, 3` in any order
  several = any(len(set(unknowns) - {None}) > 1 for unknowns in names)
  return several and any(None in unknowns for unknowns in names)


def _unknown(node: Node) -> Tokens | str | None:
  """Returns the name that a part of a list is about; None without one."""
  if isinstance(node, Equation):
    return node.left.tokens
  return (node.symbol or None) if isinstance(node, Group) else None


def _counted(unknowns: list[Tokens | str | None]) -> bool:
  """Whether these are `x_1` and `x_2`, several values of one unknown."""
  names = [
    u[0] for u in unknowns if isinstance(u, tuple) and u[1:2] == (_INDEX,)
  ]
  return len(names) == len(unknowns) and len(set(names)) < 2
