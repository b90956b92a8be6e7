"""Sets of real numbers: intervals, inequalities, unions, the empty set."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain, pairwise

from jaxrl_entropy.rewards.verifiers.maths import names, spans
from jaxrl_entropy.rewards.verifiers.maths.brackets import (
  is_enclosed,
  is_symbol,
  split,
)
from jaxrl_entropy.rewards.verifiers.maths.lexer import (
  Token,
  Tokens,
  UnreadableError,
  words,
)
from jaxrl_entropy.rewards.verifiers.maths.nodes import (
  EMPTY,
  INFINITY,
  MINUS_INFINITY,
  REALS,
  Equation,
  Group,
  Leaf,
  Node,
  Reader,
  group,
)
from jaxrl_entropy.rewards.verifiers.maths.numbers import (
  Literal,
  literal,
  written,
)

_INTERVALS = frozenset(["()", "[)", "(]", "[]", "union"])
_BAR, _PLUS, _MINUS = (Token("mark", mark) for mark in "|+-")
_BRACKETS = (Token("mark", "("), Token("mark", ")"))
_ZERO = Literal(Fraction(0))
_SETMINUS = Token("command", "setminus")
_RELATIONS = {"<": (1, False), "le": (1, True), ">": (-1, False),
              "ge": (-1, True)}  # fmt: skip
_REAL_PHRASES = frozenset([
  "all real numbers", "all reals", "all real", "all real values", "reals",
  "set of all real numbers", "set of real numbers", "real numbers",
  "any real number", "every real number", "all numbers",
])  # fmt: skip
_SIGNED = frozenset(["numbers", "reals", "real numbers", "real values"])
_NULL = Leaf((Token("number", "0"),))
_HALVES = {
  "positive": Group("()", (_NULL, INFINITY)),
  "nonnegative": Group("[)", (_NULL, INFINITY)),
  "negative": Group("()", (MINUS_INFINITY, _NULL)),
  "nonpositive": Group("(]", (MINUS_INFINITY, _NULL)),
  "nonzero": Group("union", (
    Group("()", (MINUS_INFINITY, _NULL)), Group("()", (_NULL, INFINITY)))),
}  # fmt: skip
_SCRIPTS = {
  "^ +": "positive", "_ > 0": "positive", "_ ge 0": "nonnegative",
  "^ -": "negative", "_ < 0": "negative", "_ le 0": "nonpositive",
  "_ ne 0": "nonzero",
}  # fmt: skip
_EMPTY_PHRASES = frozenset(["empty set", "null set"])
_NOTHING = words(
  "no none there are is exist exists such real integer positive of for"
)
_KINDS = words("real integer integers positive")
_SOUGHT = words(
  "solution solutions value values root roots number numbers integers pair "
  "pairs x n"
)


def relation(tokens: Tokens, read: Reader) -> Node | None:
  """Parses `a < x < b`, `x < b`, `x > a` or `|x| < a` as an interval.

  Args:
    tokens: all of the answer, or of a part of it.
    read: parses the bounds.

  Returns:
    The interval, which knows its unknown; None for any other notation.
  """
  marks = [t.value for t in tokens if t.value in _RELATIONS]
  sides = split(tokens, lambda t: t.value in _RELATIONS)
  directions = {_RELATIONS[mark][0] for mark in marks}
  if len(sides) != len(marks) + 1 or len(directions) != 1:
    return None
  closed = [_RELATIONS[mark][1] for mark in marks]
  if directions == {-1}:
    sides, closed = sides[::-1], closed[::-1]
  if len(sides) == 2 and names.is_unknown(sides[0]):
    sides, closed = [MINUS_INFINITY.tokens, *sides], [False, *closed]
  elif len(sides) == 2 and names.is_unknown(sides[1]):
    sides, closed = [*sides, INFINITY.tokens], [*closed, False]
  elif len(sides) == 2 and sides[0][:1] == sides[0][-1:] == (_BAR,):
    return _near(sides[0][1:-1], sides[1], closed[0])
  elif len(sides) == 2 and sides[1][:1] == sides[1][-1:] == (_BAR,):
    near = _near(sides[1][1:-1], sides[0], not closed[0])
    return near and _beyond(near)
  if len(sides) != 3 or not names.is_unknown(sides[1]):
    return None
  kind = "(["[closed[0]] + ")]"[closed[1]]
  interval = group(kind, [sides[0], sides[2]], read)
  return Group(kind, interval.members, name(sides[1]), inequality=True)


def _near(shifted: Tokens, size: Tokens, closed: bool) -> Group | None:
  """Returns the interval of `|x - 2| < 3`, where the shift may be missing.

  Args:
    shifted: what stands between the bars.
    size: of half the interval.
    closed: whether its ends belong to it.
  """
  start = next(
    (i for i, token in enumerate(shifted) if token.value in ("+", "-")), None
  )
  unknown, shift = shifted[:start], shifted[start:] if start else ()
  center = literal(shift[shift[:1] == (_PLUS,) :]) if shift else _ZERO
  radius = literal(size)
  if not (size and center and unknown and is_symbol(unknown)):
    return None
  if radius:
    bounds = (-center.value - radius.value, -center.value + radius.value)
    members = tuple(Leaf(written(bound)) for bound in bounds)
  elif shift or size[0].value in ("+", "-"):
    return None
  else:
    members = (
      Leaf((_MINUS, *_BRACKETS[:1], *size, *_BRACKETS[1:])),
      Leaf(size),
    )
  return Group("[]" if closed else "()", members, name(unknown), True)


def _beyond(near: Group) -> Group:
  """Returns all numbers but those of an interval."""
  low, high = near.members
  outer = near.kind == "()"
  below = Group("(]" if outer else "()", (MINUS_INFINITY, low))
  above = Group("[)" if outer else "()", (high, INFINITY))
  return Group("union", (below, above), near.symbol, inequality=True)


def exclusion(tokens: Tokens, read: Reader) -> Node | None:
  r"""Parses `x \ne a` as the two intervals around a.

  Args:
    tokens: all of the answer, or of a part of it.
    read: parses what the unknown may not be, one point or several.

  Returns:
    Their union; None for any other notation.
  """
  sides = split(tokens, lambda t: t == Token("command", "ne"))
  if len(sides) != 2 or not is_symbol(sides[0]):
    return None
  union = _without_points(read(sides[1]))
  return union and replace(union, symbol=name(sides[0]), inequality=True)


def difference(tokens: Tokens, read: Reader) -> Node | None:
  r"""Parses `\mathbb{R} \setminus \{a, b\}` as the intervals around them.

  Args:
    tokens: all of the answer, or of a part of it.
    read: parses both sides.

  Returns:
    Their union; None for any other notation.
  """
  values = {token.value.lower() for token in tokens}
  signs = (s for s in ("except", "excluding", "setminus") if s in values)
  sign = next(signs, "-")
  sides = split(tokens, lambda t: t.value.lower() == sign)
  if len(sides) != 2 or not all(sides):
    return None
  if _SETMINUS in tokens:
    known = spans.difference(*map(read, sides))
    if known:
      return known
  if reals(sides[0], read) is None and (
    _SETMINUS not in tokens or read(sides[0]) != REALS
  ):
    return None
  return _without_points(read(sides[1]))


def _without_points(points: Node) -> Group | None:
  """Returns the real numbers but for some points, `x = 2` or `2`."""
  if isinstance(points, Group) and points.kind in ("set", "list"):
    listed = list(points.members)
  else:
    listed = [points]
  ordered = _sorted([p.right if isinstance(p, Equation) else p for p in listed])
  if not ordered:
    return None
  bounds = [MINUS_INFINITY, *ordered, INFINITY]
  intervals = pairwise(bounds)
  return Group("union", tuple(Group("()", ends) for ends in intervals))


def _sorted(points: Sequence[Node]) -> list[Node]:
  """Returns points by size; none where their sizes are not known."""
  values = [literal(p.tokens) if isinstance(p, Leaf) else None for p in points]
  known = [v.value for v in values if v]
  if len(known) < len(points):
    single = len(points) == 1 and isinstance(points[0], Leaf)
    return list(points) if single else []
  return [points[i] for i in sorted(range(len(points)), key=known.__getitem__)]


def membership(tokens: Tokens, read: Reader) -> Node | None:
  r"""Parses `x \in S` as S, of x.

  Args:
    tokens: all of the answer, or of a part of it.
    read: parses the set.

  Returns:
    The set, which knows its unknown; an equation where the right side is no
    group; None for any other notation.
  """
  sides = split(tokens, lambda t: t == Token("command", "in"))
  if len(sides) == 2 and is_enclosed(sides[0], "("):
    node = read(sides[1])
    is_set = isinstance(node, Group) and node.kind == "set"
    return Equation(Leaf(sides[0]), node) if is_set else None
  if len(sides) != 2 or not is_symbol(sides[0]):
    return None
  node = read(sides[1])
  if isinstance(node, Group):
    return replace(node, symbol=name(sides[0]))
  return Equation(Leaf(sides[0]), node)


def union(tokens: Tokens, read: Reader) -> Node | None:
  r"""Parses `A \cup B`.

  Args:
    tokens: all of the answer, or of a part of it.
    read: parses each of the sets.

  Returns:
    The union; None for any other notation.
  """
  texts = split(tokens, lambda t: t == Token("command", "cup"))
  if len(texts) < 2:
    return None
  sets = [read(text) for text in texts]
  listed = [s.members for s in sets if isinstance(s, Group) and s.kind == "set"]
  if len(listed) == len(sets):
    return Group("set", tuple(chain.from_iterable(listed)))
  return Group("union", tuple(sets))


def reals(tokens: Tokens, read: Reader) -> Node | None:
  r"""Parses `\mathbb{R}` and `all real numbers`; these may name the unknown.

  Args:
    tokens: all of the answer, or of a part of it.
    read: is not needed.

  Returns:
    All real numbers; None for any other notation.
  """
  if tokens[0] == Token("command", "mathbbR"):
    script = " ".join(t.value for t in tokens[1:] if t.value not in ("{", "}"))
    return _HALVES.get(_SCRIPTS.get(script, "")) if script else REALS
  if len(tokens) > 1 and is_symbol(tokens[-1:]):
    tokens = tokens[:-1]
    if tokens[-1].value in ("of", "for"):
      tokens = tokens[:-1]
  said = phrase(tokens)
  sign, _, numbers = said.removeprefix("all ").partition(" ")
  if sign in _HALVES and numbers in _SIGNED:
    return _HALVES[sign]
  return REALS if said in _REAL_PHRASES else None


def empty(tokens: Tokens, read: Reader) -> Node | None:
  r"""Parses `\emptyset` and `empty set` as the set of nothing.

  Args:
    tokens: all of the answer, or of a part of it.
    read: is not needed.

  Returns:
    The empty set; None for any other notation.
  """
  if tokens == (Token("command", "emptyset"),):
    return EMPTY
  return EMPTY if phrase(tokens) in _EMPTY_PHRASES else None


def says_no_solution(node: Node) -> bool:
  """Returns whether a text says that there is no solution."""
  if not isinstance(node, Leaf):
    return False
  named = len(node.tokens) > 1 and is_symbol(node.tokens[-1:])
  said = phrase(node.tokens[:-1] if named else node.tokens).split()
  if said == ["none"]:
    return True
  known = _NOTHING.union(_SOUGHT).issuperset(said)
  return known and "no" in said and not _SOUGHT.isdisjoint(said)


def both_empty(gold: Node, answer: Node) -> bool:
  """Returns whether there is nothing that either answer allows.

  `no real solutions` is the empty set, and not `no solutions`.

  Args:
    gold: the reference.
    answer: the answer.
  """
  said = [n for n in (gold, answer) if says_no_solution(n)]
  kinds = [
    _KINDS.intersection(phrase(node.tokens).split())
    for node in said
    if isinstance(node, Leaf)
  ]
  return len(said) + (gold == EMPTY) + (answer == EMPTY) == 2 and (
    len(said) < 2 or kinds[0] == kinds[1]
  )


def phrase(tokens: Tokens) -> str:
  """Returns words in lower case without an article; else nothing."""
  said = [token.value.lower() for token in tokens]
  if not tokens or not all(t.is_word or t.value == "-" for t in tokens):
    return ""
  said = said[said[0] in ("a", "an", "the") :]
  return " ".join(said).replace("non - ", "non")


def either(listed: Group) -> Group:
  r"""Returns `x < 1 or x > 5`, `x < 1 or x = 5` as a union.

  Args:
    listed: the alternatives, which are returned as they are where none of them
      is an interval of an unknown.

  Raises:
    UnreadableError: the alternatives are of different kinds.
  """
  sets = [_alternative(member) for member in listed.members]
  if not any(s and s.kind in _INTERVALS for s in sets):
    return listed
  symbols = {s.symbol for s in sets if s} - {""}
  closed = None not in sets and any(s.kind != "()" for s in sets if s)
  if not (symbols or closed):
    return listed  # these may be points
  if None in sets or len(symbols) > 1:
    raise UnreadableError("alternatives of different kinds")
  members = (replace(s, symbol="", inequality=False) for s in sets if s)
  symbol = symbols.pop() if symbols else ""
  return Group("union", tuple(members), symbol, inequality=bool(symbol))


def _alternative(node: Node) -> Group | None:
  """Returns an interval of an unknown; `x = 5` as the set of 5."""
  if isinstance(node, Group) and (node.symbol or node.kind in _INTERVALS):
    return node if node.kind != "mod" else None
  if isinstance(node, Equation) and is_symbol(node.left.tokens):
    return Group("set", (node.right,), name(node.left.tokens))
  return None


def name(symbol: Tokens) -> str:
  """Returns the name of an unknown."""
  return " ".join(token.value for token in symbol)
