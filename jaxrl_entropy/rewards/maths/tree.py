"""The structure of an answer: lists, sets, tuples, intervals, matrices.

Conventions: a list (`1, 2`; `1 or 2`; `\\pm 1`) and a set have no order, and
equal each other; a tuple, an interval and a matrix have. An inequality in one
symbol is the interval of its solutions.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from jaxrl_entropy.rewards.maths.lexer import (
  GREEK,
  Token,
  UnreadableError,
  tokens,
)

MAX_DEPTH = 20

Tokens = tuple[Token, ...]


@dataclass(frozen=True)
class Leaf:
  """An expression or a text."""

  tokens: Tokens


@dataclass(frozen=True)
class Group:
  """Several answers.

  Attributes:
    kind: "list", "set", "union", or the brackets or shape of what is ordered.
    parts: the members.
    symbol: the unknown of an inequality or a membership; empty for others.
    inequality: whether it is written as one.
  """

  kind: str
  parts: tuple["Node", ...]
  symbol: str = ""
  inequality: bool = False

  @property
  def ordered(self) -> bool:
    return self.kind not in ("list", "set", "union")


@dataclass(frozen=True)
class Equation:
  """`left = right`."""

  left: Leaf
  right: "Node"


Node = Leaf | Group | Equation

_OPENING = frozenset(["(", "[", r"\{", "{"])
_CLOSING = frozenset([")", "]", r"\}", "}"])
_STOPS = frozenset([".", ",", ";"])
_COMMAS = frozenset([",", ";"])
_WORDS = frozenset(["or", "and"])
_OR = frozenset(["or"])
_RELATIONS = {"<": (1, False), "le": (1, True), ">": (-1, False),
              "ge": (-1, True)}  # fmt: skip
_UNKNOWNS = GREEK - {"pi"}
_MATRICES = frozenset(["matrix", "pmatrix", "bmatrix", "Bmatrix"])
_MINUS = Token("mark", "-")
_INFINITY = (Token("command", "infty"),)


def parse(text: str) -> Node:
  """The tree of an answer.

  Raises:
    UnreadableError: it is not in the notation that is understood.
  """
  given = tuple(tokens(text))
  if given and given[-1].value in _STOPS:
    given = given[:-1]
  return _node(given, 0)


def _node(given: Tokens, depth: int) -> Node:
  given = _bare(given)
  if not given or depth > MAX_DEPTH:
    raise UnreadableError("nested too deeply" if given else "empty")
  for rule in _RULES:
    node = rule(given, depth + 1)
    if node is not None:
      return node
  return Leaf(given)


def _list(given: Tokens, depth: int) -> Node | None:
  parts = split(given, lambda t: t.value in _COMMAS or _is_word(t, _WORDS))
  # `1, 2, and 3` has an empty part.
  parts = [part for part in parts if part]
  if len(parts) < 2:
    return None
  group = _group("list", parts, depth)
  alternatives = split(given, lambda t: _is_word(t, _OR))
  return _either(group) if len(alternatives) == len(parts) else group


def _either(group: Group) -> Group:
  """`x < 1 or x > 5` is a union; `x = 1 or x = 5` lists values."""
  intervals = [p for p in group.parts if isinstance(p, Group) and p.inequality]
  if not intervals:
    return group
  symbols = {interval.symbol for interval in intervals}
  if len(intervals) < len(group.parts) or len(symbols) > 1:
    raise UnreadableError("alternatives of different kinds")
  parts = tuple(replace(interval, inequality=False) for interval in intervals)
  return Group("union", parts, symbols.pop(), inequality=True)


def _plus_minus(given: Tokens, depth: int) -> Node | None:
  if sum(token.value == "pm" for token in given) != 1:
    return None
  if given[0].value == r"\{":
    return None  # its members are two more
  signs = {"pm": "+", "mp": "-"}, {"pm": "-", "mp": "+"}
  parts = [
    tuple(Token("mark", sign.get(t.value, t.value)) if t.value in sign else t
          for t in given)
    for sign in signs
  ]  # fmt: skip
  return _group("list", parts, depth)


def _relation(given: Tokens, depth: int) -> Node | None:
  """`a < x < b`, `x < b` or `x > a`, as an interval."""
  marks = [t.value for t in given if t.value in _RELATIONS]
  sides = split(given, lambda t: t.value in _RELATIONS)
  directions = {_RELATIONS[mark][0] for mark in marks}
  if len(sides) != len(marks) + 1 or len(directions) != 1:
    return None
  closed = [_RELATIONS[mark][1] for mark in marks]
  if directions == {-1}:
    sides, closed = sides[::-1], closed[::-1]
  if len(sides) == 2 and is_symbol(sides[0]):
    sides, closed = [(_MINUS, *_INFINITY), *sides], [False, *closed]
  elif len(sides) == 2 and is_symbol(sides[1]):
    sides, closed = [*sides, _INFINITY], [*closed, False]
  if len(sides) != 3 or not is_symbol(sides[1]):
    return None
  kind = "(["[closed[0]] + ")]"[closed[1]]
  interval = _group(kind, [sides[0], sides[2]], depth)
  return Group(kind, interval.parts, _name(sides[1]), inequality=True)


def _membership(given: Tokens, depth: int) -> Node | None:
  """`x \\in S` as S, of x."""
  sides = split(given, lambda t: t == Token("command", "in"))
  if len(sides) != 2 or not is_symbol(sides[0]):
    return None
  node = _node(sides[1], depth)
  if isinstance(node, Group):
    return replace(node, symbol=_name(sides[0]))
  return Equation(Leaf(sides[0]), node)


def _name(symbol: Tokens) -> str:
  return " ".join(token.value for token in symbol)


def _equation(given: Tokens, depth: int) -> Node | None:
  sides = split(given, lambda t: t.value == "=")
  if len(sides) != 2 or not sides[0]:
    return None
  return Equation(Leaf(sides[0]), _node(sides[1], depth))


def _union(given: Tokens, depth: int) -> Node | None:
  parts = split(given, lambda t: t == Token("command", "cup"))
  return _group("union", parts, depth) if len(parts) > 1 else None


def _bracketed(given: Tokens, depth: int) -> Node | None:
  """A set, a tuple or interval, or an expression in parentheses."""
  first, last = given[0].value, given[-1].value
  if first not in ("(", "[", r"\{") or matching(given) != len(given) - 1:
    return None
  inner = given[1:-1]
  parts = split(inner, lambda t: t.value in _COMMAS)
  if first == r"\{":
    return _group("set", parts if inner else [], depth)
  if len(parts) > 1:
    return _group(first + last, parts, depth)
  return _node(inner, depth) if first == "(" else None


def _matrix(given: Tokens, depth: int) -> Node | None:
  name = given[0].value.removeprefix(r"\begin{").removesuffix("}")
  if given[0].kind != "environment" or name not in _MATRICES:
    return None
  if matching(given) != len(given) - 1:
    return None
  rows = [
    split(row, lambda t: t.value == "&")
    for row in split(given[1:-1], lambda t: t.value == r"\\")
    if row
  ]
  if len({len(row) for row in rows}) != 1:
    raise UnreadableError("a matrix with rows of different lengths")
  cells = [cell for row in rows for cell in row]
  return _group(f"{len(rows)}x{len(rows[0])}", cells, depth)


_RULES: tuple[Callable[[Tokens, int], Node | None], ...] = (
  _list, _plus_minus, _relation, _membership, _equation, _union, _bracketed,
  _matrix,
)  # fmt: skip


def _group(kind: str, parts: Iterable[Tokens], depth: int) -> Group:
  nodes = [_node(part, depth) for part in parts]
  if kind in ("list", "set"):
    nodes = [each for node in nodes for each in _members(node)]
  return Group(kind, tuple(nodes))


def _members(node: Node) -> Iterable[Node]:
  """The two of `\\pm 1` in a list or set, else the node itself."""
  if isinstance(node, Group) and node.kind == "list":
    return node.parts
  return (node,)


def split(given: Tokens, separates: Callable[[Token], bool]) -> list[Tokens]:
  """The parts between separators that no bracket encloses."""
  parts: list[list[Token]] = [[]]
  depth = 0
  for token in given:
    depth += _nesting(token)
    if depth == 0 and separates(token):
      parts.append([])
    else:
      parts[-1].append(token)
  return [tuple(part) for part in parts]


def matching(given: Tokens) -> int:
  """Index of the bracket that closes the first token's; -1 if none does."""
  depth = 0
  for index, token in enumerate(given):
    depth += _nesting(token)
    if depth == 0:
      return index
  return -1


def _nesting(token: Token) -> int:
  if token.kind == "environment":
    return 1 if token.value.startswith(r"\begin") else -1
  return (token.value in _OPENING) - (token.value in _CLOSING)


def _bare(given: Tokens) -> Tokens:
  """Without braces around all of it, or a plus sign in front."""
  for _ in range(MAX_DEPTH):
    if given and given[0].value == "+":
      given = given[1:]
    elif _is_braced(given):
      given = given[1:-1]
    else:
      return given
  raise UnreadableError("nested too deeply")


def _is_braced(given: Tokens) -> bool:
  return (
    bool(given) and given[0].value == "{" and matching(given) == len(given) - 1
  )


def _is_word(token: Token, words: frozenset[str]) -> bool:
  return token.is_word and token.value.lower() in words


def is_symbol(given: Tokens) -> bool:
  """Whether this is the name of one unknown: `x`, `x_1`, `\\theta`."""
  if not given:
    return False
  first, subscript = given[0], given[1:]
  if first.kind != "symbol" and first.value not in _UNKNOWNS:
    return False
  return not subscript or (
    subscript[0].value == "_" and _is_subscript(subscript[1:])
  )


def _is_subscript(given: Tokens) -> bool:
  inner = given[1:-1] if _is_braced(given) else given[:1]
  return (
    bool(inner)
    and (_is_braced(given) or len(given) == 1)
    and all(
      token.kind in ("number", "symbol", "word", "prose") for token in inner
    )
  )
