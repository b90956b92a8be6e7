r"""Parses answers: lists, sets, tuples, intervals, matrices, equations.

Conventions: a list (`1, 2`; `1 or 2`; `\pm 1`) and a set have no order, and
equal each other; a tuple, an interval and a matrix have. An inequality in one
symbol is the interval of its solutions.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from jaxrl_entropy.rewards.verifiers.maths import (
  lexer,
  matrices,
  names,
  regions,
  spans,
)
from jaxrl_entropy.rewards.verifiers.maths.brackets import (
  is_enclosed,
  is_symbol,
  matching,
  split,
)
from jaxrl_entropy.rewards.verifiers.maths.lexer import (
  UNIT_VECTORS,
  Token,
  Tokens,
  UnreadableError,
  words,
)
from jaxrl_entropy.rewards.verifiers.maths.measures import added
from jaxrl_entropy.rewards.verifiers.maths.nodes import (
  REALS,
  Approximation,
  Chain,
  Equation,
  Group,
  Leaf,
  Node,
  Reader,
  group,
)
from jaxrl_entropy.rewards.verifiers.maths.notation import bare
from jaxrl_entropy.rewards.verifiers.maths.numbers import literal
from jaxrl_entropy.rewards.verifiers.maths.phrases import rewrite_phrases
from jaxrl_entropy.rewards.verifiers.maths.rewrite import (
  rewrite,
  rewrite_intervals,
)
from jaxrl_entropy.rewards.verifiers.maths.units import split_unit
from jaxrl_entropy.rewards.verifiers.maths.vectors import components

MAX_DEPTH = 20

_STOPS = frozenset([".", ",", ";"])
_COMMAS = frozenset([",", ";"])
_WORDS = frozenset(["or", "and"])
_OR = frozenset(["or"])
_INDICES = frozenset("nkm")  # of a sequence
_LEADS = words("= therefore Rightarrow implies Longrightarrow")
_NEGATIVE = frozenset(["minus", "negative"])
_INTRODUCTIONS = words("option choice either both only exactly just")
_CALLED = words(
  "the point points vector interval set equation line function value values "
  "number numbers curve vertex polynomial matrix"
)
_INTEGERS = Leaf((Token("command", "mathbbZ"),))
_MODULO = frozenset(["pmod", "mod", "bmod"])
_MINUS, _STOP = Token("mark", "-"), Token("mark", ".")
_EQUALS = Token("mark", "=")
_MEMBERSHIPS = [
  (Token("command", "in"), Token("command", field))
  for field in ("mathbbZ", "mathbbR", "mathbbC")
] + [(Token("command", "in"), Token("symbol", field)) for field in "ZR"]


def parse(text: str, grouped: bool = True) -> Node:
  """Returns the tree of an answer.

  Args:
    text: the answer.
    grouped: whether `101,110` is one number, or else a list of two.

  Raises:
    UnreadableError: it is not in the notation that is understood.
  """
  tokens = rewrite(tuple(lexer.tokens(bare(text), grouped)))
  tokens = added(rewrite_phrases(rewrite_intervals(tokens)))
  if tokens and tokens[0].value in _LEADS:
    tokens = tokens[1:]
  if tokens and tokens[-1].value in _STOPS:
    tokens = tokens[:-1]
  return _node(tokens, 0)


def count_words(node: Node) -> int:
  """Returns the number of words in an answer, units and nouns aside."""
  if isinstance(node, Leaf):
    value, _ = split_unit(node.tokens)
    if literal(value):
      return 0
    return sum(token.is_word for token in node.tokens)
  if isinstance(node, Group):
    return sum(map(count_words, node.members))
  if isinstance(node, Equation):
    return count_words(node.left) + count_words(node.right)
  if isinstance(node, Chain):
    return sum(map(count_words, node.sides))
  exact = count_words(node.exact) if node.exact else 0
  return exact + count_words(node.rounded)


def _node(tokens: Tokens, depth: int) -> Node:
  tokens = _bare(tokens)
  if not tokens or depth > MAX_DEPTH:
    raise UnreadableError("nested too deeply" if tokens else "empty")
  read = partial(_node, depth=depth + 1)
  values = {token.value.lower() for token in tokens}
  for rule, marks in _RULES:
    if not marks.isdisjoint(values):
      node = rule(tokens, read)
      if node is not None:
        return node
  return Leaf(tokens)


def _congruence(tokens: Tokens, read: Reader) -> Node | None:
  r"""`x \equiv 3 \pmod 5` and `3 \pmod{5}` as a residue and its modulus."""
  unknown, *congruent = split(tokens, lambda t: t.value == "equiv")
  if len(congruent) > 1 or (congruent and not is_symbol(unknown)):
    return None
  residue, *modulus = split(
    _unbracketed(congruent[0] if congruent else unknown),
    lambda t: t.value in _MODULO and (t.value != "bmod" or bool(congruent)),
  )
  if (
    len(modulus) != 1 or not residue or not (congruent or _has(tokens, "pmod"))
  ):
    return None
  name = regions.name(unknown) if congruent else ""
  size, rest = read(modulus[0]), read(residue)
  if isinstance(rest, Group) and rest.kind == "list":
    classes = (Group("mod", (member, size), name) for member in rest.members)
    return Group("list", tuple(classes))
  return Group("mod", (rest, size), name)


def _unbracketed(tokens: Tokens) -> Tokens:
  """`3 (mod 5)` without its parentheses."""
  for index, token in enumerate(tokens):
    follows = tokens[index + 1 : index + 2]
    if token.value == "(" and follows and follows[0].value == "mod":
      length = matching(tokens[index:])
      if length > 0:
        end = index + length
        return (*tokens[:index], *tokens[index + 1 : end], *tokens[end + 1 :])
  return tokens


def _has(tokens: Tokens, value: str) -> bool:
  return any(token.value == value for token in tokens)


def _parameter(tokens: Tokens, read: Reader) -> Node | None:
  r"""`2k\pi, k \in \mathbb{Z}` and `2k\pi (k \in \mathbb{Z})` as `2k\pi`."""
  bracketed = tokens[-1].value == ")"
  said = tokens[:-1] if bracketed else tokens
  separator = "(" if bracketed else ","
  starts = [i for i, token in enumerate(said) if token.value == separator]
  if not starts or said[-2:] not in _MEMBERSHIPS:
    return None
  formula, symbol = tokens[: starts[-1]], said[starts[-1] + 1 : -2]
  node = read(formula) if is_symbol(symbol) else None
  return None if isinstance(node, Group) and node.symbol else node


def _list(tokens: Tokens, read: Reader) -> Node | None:
  members = split(tokens, lambda t: t.value in _COMMAS or _is_word(t, _WORDS))
  # `1, 2, and 3` has an empty part.
  members = [member for member in members if member]
  if len(members) < 2:
    return None
  if cases := _points(tokens, read):
    return cases
  listed = group("list", members, read)
  unknowns = {p.symbol for p in listed.members if isinstance(p, Group)}
  if len(unknowns) == 1 and "" not in unknowns:
    # `x \in \mathbb{R}, x \ne 2`
    narrower = [p for p in listed.members if not _is_reals(p)]
    if len(narrower) == 1:
      return narrower[0]
    if whole := _integers(narrower):
      return whole
    if common := _common(tokens, narrower):
      return common
  if _is_defined(listed):
    return listed.members[0]
  alternatives = split(tokens, lambda t: _is_word(t, _OR))
  return regions.either(listed) if len(alternatives) == len(members) else listed


def _is_defined(listed: Group) -> bool:
  r"""Whether this is a formula with where it is defined: `1/x, x \ne 0`."""
  formula, *domain = listed.members
  formula = formula.right if isinstance(formula, Equation) else formula
  return isinstance(formula, Leaf) and all(
    isinstance(p, Group)
    and (p.kind == "union" or p.symbol in _INDICES)
    and p.inequality
    and any(token.value == p.symbol for token in formula.tokens)
    for p in domain
  )


def _points(tokens: Tokens, read: Reader) -> Node | None:
  """Parses `x = 0, y = 1 or x = 1, y = 0` as a list of points."""
  texts = split(tokens, lambda t: t.value == ";" or _is_word(t, _OR))
  if len(texts) < 2 or not all(_EQUALS in text for text in texts):
    return None
  points = tuple(names.point(read(text)) for text in texts)
  return Group("list", points) if all(map(names.is_point, points)) else None


def _common(tokens: Tokens, ranges: list[Node]) -> Node | None:
  r"""Returns `x \ge 2, x \ne 5` as what satisfies both."""
  inequalities = [p for p in ranges if isinstance(p, Group) and p.inequality]
  if len(inequalities) < max(2, len(ranges)):
    return None
  if any(_is_word(token, _OR) for token in tokens):
    return None
  return spans.intersection(inequalities)


def _integers(nodes: list[Node]) -> Group | None:
  r"""Returns the set of `3 \le n \le 5, n \in \mathbb{Z}`."""
  if len(nodes) != 2:
    return None
  bounds, member = nodes
  if not (isinstance(bounds, Group) and isinstance(member, Equation)):
    return None
  same = regions.name(member.left.tokens) == bounds.symbol
  return spans.integers(bounds) if same and member.right == _INTEGERS else None


def _is_reals(node: Node) -> bool:
  return isinstance(node, Group) and replace(node, symbol="") == REALS


def _plus_minus(tokens: Tokens, read: Reader) -> Node | None:
  if sum(token.value == "pm" for token in tokens) != 1:
    return None
  if tokens[0].value == r"\{":
    return None  # its members are two more
  signs = {"pm": "+", "mp": "-"}, {"pm": "-", "mp": "+"}
  members = [
    tuple(Token("mark", sign.get(t.value, t.value)) if t.value in sign else t
          for t in tokens)
    for sign in signs
  ]  # fmt: skip
  return group("list", members, read)


def _equation(tokens: Tokens, read: Reader) -> Node | None:
  """`left = right`; `x = 1/2 = 0.5` has a chain on its right."""
  left, *others = split(tokens, lambda t: t.value == "=")
  if not others or not left or not all(others):
    return None
  unknowns = (left, *others[:-1])
  if len(others) > 1 and all(map(is_symbol, unknowns)):
    return group("list", [(*u, _EQUALS, *others[-1]) for u in unknowns], read)
  if len(others) == 1:
    return Equation(Leaf(left), read(others[0]))
  if is_symbol(left) or names.is_sum(left):
    return Equation(Leaf(left), Chain(tuple(map(read, others))))
  return Chain(tuple(map(read, (left, *others))))


def _uses(node: Node, symbol: Token) -> bool:
  return isinstance(node, Leaf) and symbol in node.tokens


def _mapping(tokens: Tokens, read: Reader) -> Node | None:
  r"""`f \colon x \mapsto 2x` as `f(x) = 2x`, `x \mapsto 2x` as `2x`."""
  left, *others = split(tokens, lambda t: t.value == "mapsto")
  named, *argument = split(left, lambda t: t.value == ":")
  variable = argument[0] if argument else named
  if len(others) != 1 or not (is_symbol(named) and is_symbol(variable)):
    return None
  value = read(others[0])
  function = (*named, Token("mark", "("), *variable, Token("mark", ")"))
  if argument:
    return Equation(Leaf(function), value)
  return value if _uses(value, variable[0]) else None


def _approximation(tokens: Tokens, read: Reader) -> Node | None:
  left, *others = split(tokens, lambda t: t.value == "approx")
  if len(others) != 1 or not others[0]:
    return None
  exact = read(left) if left and not is_symbol(left) else None
  return Approximation(exact, read(others[0]))


def _bracketed(tokens: Tokens, read: Reader) -> Node | None:
  """A set, a tuple or interval, or an expression in parentheses."""
  first, last = tokens[0].value, tokens[-1].value
  if first not in ("(", "[", r"\{") or matching(tokens) != len(tokens) - 1:
    return None
  inner = tokens[1:-1]
  members = split(inner, lambda t: t.value in _COMMAS)
  if first == r"\{":
    return _builder(inner, read) or group("set", members if inner else [], read)
  if first + last == "[]" and (matrix := matrices.rows(members, read)):
    return matrix
  if len(members) > 1:
    return group(first + last, members, read)
  is_matrix = inner and inner[0].kind == "environment"
  return read(inner) if first == "(" or is_matrix else None


def _builder(tokens: Tokens, read: Reader) -> Node | None:
  r"""`\{x : x > 3\}` as what its condition says."""
  sides = split(tokens, lambda t: t.value in (":", "|"))
  if len(sides) != 2 or not all(sides):
    return None
  unknown, *_ = split(sides[0], lambda t: t.value == "in")
  node = read(sides[1])
  if not is_symbol(unknown) or not isinstance(node, Group):
    return None
  return node if node.symbol == regions.name(unknown) else None


Rule = Callable[[Tokens, Reader], Node | None]
# Each rule with the tokens without which it does not apply.
_RULES: tuple[tuple[Rule, frozenset[str]], ...] = (
  (_congruence, _MODULO),
  (_parameter, words("in")),
  (regions.difference, words("except excluding")),
  (regions.exclusion, words("ne")),
  (_list, _COMMAS | _WORDS),
  (components, frozenset(UNIT_VECTORS)),
  (_plus_minus, words("pm")),
  (regions.relation, words("< > le ge")),
  (regions.membership, words("in")),
  (_equation, words("=")),
  (_mapping, words("mapsto")),
  (_approximation, words("approx")),
  (regions.union, words("cup")),
  (regions.difference, words("setminus mathbbr")),
  (matrices.transposed, words("^")),
  (_bracketed, words(r"( [ \{")),
  (matrices.system, matrices.SYSTEMS),
  (matrices.cases, words(r"\begin{cases}")),
  (matrices.matrix, matrices.BEGINNINGS),
  (regions.reals, words("mathbbr real reals number numbers values")),
  (regions.empty, words("emptyset empty null")),
)


def _bare(tokens: Tokens) -> Tokens:
  """Without braces around all of it, a plus sign or `option` in front."""
  for _ in range(MAX_DEPTH):
    if tokens and (
      tokens[0].value == "+"
      or (len(tokens) > 1 and _is_word(tokens[0], _INTRODUCTIONS))
    ):
      tokens = tokens[1:]
    elif said := _called(tokens):
      tokens = tokens[said:]
    elif is_enclosed(tokens, "{"):
      tokens = tokens[1:-1]
      tokens = tokens[:-1] if tokens[-1:] == (_STOP,) else tokens
    elif tokens and tokens[0].value == r"\{" and matching(tokens) < 0:
      tokens = tokens[1:]  # that of a system, which nothing closes
    elif len(tokens) > 1 and _is_word(tokens[0], _NEGATIVE):
      return (_MINUS, *tokens[1:])
    else:
      return tokens
  raise UnreadableError("nested too deeply")


def _called(tokens: Tokens) -> int:
  r"""Returns the number of words in front of `\text{the point } (4, 2)`."""
  said = 0
  while said < len(tokens) and _is_word(tokens[said], _CALLED):
    said += 1
  ends = said == len(tokens) or tokens[said].is_word or tokens[said] == _EQUALS
  return 0 if ends else said


def _is_word(token: Token, known: frozenset[str]) -> bool:
  return token.is_word and token.value.lower() in known
