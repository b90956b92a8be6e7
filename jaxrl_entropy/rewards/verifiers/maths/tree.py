r"""Parses answers: lists, sets, tuples, intervals, matrices, equations.

Conventions: a list (`1, 2`; `1 or 2`; `\pm 1`) and a set have no order, and
equal each other; a tuple, an interval and a matrix have. An inequality in one
symbol is the interval of its solutions.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from jaxrl_entropy.rewards.verifiers.maths import regions
from jaxrl_entropy.rewards.verifiers.maths.brackets import (
  is_enclosed,
  is_symbol,
  matching,
  nesting,
  split,
)
from jaxrl_entropy.rewards.verifiers.maths.lexer import (
  Token,
  Tokens,
  UnreadableError,
  tokens,
  words,
)
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
from jaxrl_entropy.rewards.verifiers.maths.numbers import literal, written
from jaxrl_entropy.rewards.verifiers.maths.rewrite import rewrite
from jaxrl_entropy.rewards.verifiers.maths.units import split_unit

MAX_DEPTH = 20

_STOPS = frozenset([".", ",", ";"])
_COMMAS = frozenset([",", ";"])
_WORDS = frozenset(["or", "and"])
_OR = frozenset(["or"])
_NEGATIVE = frozenset(["minus", "negative"])
_INTRODUCTIONS = frozenset(["option", "choice", "either", "both"])
_MATRICES = frozenset(
  ["matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array"]
)
_MODULO = frozenset(["pmod", "mod", "bmod"])
_MINUS = Token("mark", "-")


def parse(text: str, grouped: bool = True) -> Node:
  """Returns the tree of an answer.

  Args:
    text: the answer.
    grouped: whether `101,110` is one number, or else a list of two.

  Raises:
    UnreadableError: it is not in the notation that is understood.
  """
  given = rewrite(tuple(tokens(bare(text), grouped)))
  if given and given[0].value == "=":
    given = given[1:]
  if given and given[-1].value in _STOPS:
    given = given[:-1]
  return _node(given, 0)


def count_words(node: Node) -> int:
  """Returns the number of words in an answer, units and nouns aside."""
  if isinstance(node, Leaf):
    value, _ = split_unit(node.tokens)
    if literal(value):
      return 0
    return sum(token.is_word for token in node.tokens)
  if isinstance(node, Group):
    return sum(map(count_words, node.parts))
  if isinstance(node, Equation):
    return count_words(node.left) + count_words(node.right)
  if isinstance(node, Chain):
    return sum(map(count_words, node.sides))
  exact = count_words(node.exact) if node.exact else 0
  return exact + count_words(node.rounded)


def _node(given: Tokens, depth: int) -> Node:
  given = _bare(given)
  if not given or depth > MAX_DEPTH:
    raise UnreadableError("nested too deeply" if given else "empty")
  read = partial(_node, depth=depth + 1)
  values = {token.value.lower() for token in given}
  for rule, marks in _RULES:
    if not marks.isdisjoint(values):
      node = rule(given, read)
      if node is not None:
        return node
  return Leaf(given)


def _congruence(given: Tokens, read: Reader) -> Node | None:
  r"""`x \equiv 3 \pmod 5` and `3 \pmod{5}` as a residue and its modulus."""
  unknown, *congruent = split(given, lambda t: t.value == "equiv")
  if len(congruent) > 1 or (congruent and not is_symbol(unknown)):
    return None
  residue, *modulus = split(
    _unbracketed(congruent[0] if congruent else unknown),
    lambda t: t.value in _MODULO and (t.value != "bmod" or bool(congruent)),
  )
  if len(modulus) != 1 or not residue or not (congruent or _has(given, "pmod")):
    return None
  name = regions.name(unknown) if congruent else ""
  return Group("mod", (read(residue), read(modulus[0])), name)


def _unbracketed(given: Tokens) -> Tokens:
  """`3 (mod 5)` without its parentheses."""
  for index, token in enumerate(given):
    follows = given[index + 1 : index + 2]
    if token.value == "(" and follows and follows[0].value == "mod":
      length = matching(given[index:])
      if length > 0:
        end = index + length
        return (*given[:index], *given[index + 1 : end], *given[end + 1 :])
  return given


def _has(given: Tokens, value: str) -> bool:
  return any(token.value == value for token in given)


def _list(given: Tokens, read: Reader) -> Node | None:
  parts = split(given, lambda t: t.value in _COMMAS or _is_word(t, _WORDS))
  # `1, 2, and 3` has an empty part.
  parts = [part for part in parts if part]
  if len(parts) < 2:
    return None
  listed = group("list", parts, read)
  unknowns = {p.symbol for p in listed.parts if isinstance(p, Group)}
  if len(unknowns) == 1 and "" not in unknowns:
    # `x \in \mathbb{R}, x \ne 2`
    narrower = [p for p in listed.parts if not _is_reals(p)]
    if len(narrower) == 1:
      return narrower[0]
  alternatives = split(given, lambda t: _is_word(t, _OR))
  return regions.either(listed) if len(alternatives) == len(parts) else listed


def _is_reals(node: Node) -> bool:
  return isinstance(node, Group) and replace(node, symbol="") == REALS


def _plus_minus(given: Tokens, read: Reader) -> Node | None:
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
  return group("list", parts, read)


def _equation(given: Tokens, read: Reader) -> Node | None:
  """`left = right`; `x = 1/2 = 0.5` has a chain on its right."""
  left, *others = split(given, lambda t: t.value == "=")
  if not others or not left or not all(others):
    return None
  if len(others) == 1:
    return Equation(Leaf(left), read(others[0]))
  if is_symbol(left):
    return Equation(Leaf(left), Chain(tuple(map(read, others))))
  return Chain(tuple(map(read, (left, *others))))


def _approximation(given: Tokens, read: Reader) -> Node | None:
  left, *others = split(given, lambda t: t.value == "approx")
  if len(others) != 1 or not others[0]:
    return None
  exact = read(left) if left and not is_symbol(left) else None
  return Approximation(exact, read(others[0]))


def _bracketed(given: Tokens, read: Reader) -> Node | None:
  """A set, a tuple or interval, or an expression in parentheses."""
  first, last = given[0].value, given[-1].value
  if first not in ("(", "[", r"\{") or matching(given) != len(given) - 1:
    return None
  inner = given[1:-1]
  parts = split(inner, lambda t: t.value in _COMMAS)
  if first == r"\{":
    return _builder(inner, read) or group("set", parts if inner else [], read)
  if len(parts) > 1:
    return group(first + last, parts, read)
  is_matrix = inner and inner[0].kind == "environment"
  return read(inner) if first == "(" or is_matrix else None


def _builder(given: Tokens, read: Reader) -> Node | None:
  r"""`\{x : x > 3\}` as what its condition says."""
  sides = split(given, lambda t: t.value in (":", "|"))
  if len(sides) != 2 or not all(sides):
    return None
  unknown, *_ = split(sides[0], lambda t: t.value == "in")
  node = read(sides[1])
  if not is_symbol(unknown) or not isinstance(node, Group):
    return None
  return node if node.symbol == regions.name(unknown) else None


def _matrix(given: Tokens, read: Reader) -> Node | None:
  """A matrix, or a number times a matrix."""
  start = next(
    (i for i, t in enumerate(given) if t.kind == "environment"), len(given)
  )
  factor, matrix = given[:start], given[start:]
  name = matrix[0].value.removeprefix(r"\begin{")[:-1] if matrix else ""
  if name not in _MATRICES or matching(matrix) != len(matrix) - 1:
    return None
  if sum(map(nesting, factor)) or _has(factor, "det"):
    return None
  rows = [
    split(row, lambda t: t.value == "&")
    for row in split(matrix[1:-1], lambda t: t.value == r"\\")
    if row
  ]
  if len({len(row) for row in rows}) != 1:
    raise UnreadableError("a matrix with rows of different lengths")
  cells = [_scaled(factor, cell) for row in rows for cell in row]
  return group(f"{len(rows)}x{len(rows[0])}", cells, read)


def _scaled(factor: Tokens, cell: Tokens) -> Tokens:
  """A cell of a matrix times the factor in front of the matrix."""
  if not factor or not cell:
    return cell
  if factor[-1].value in ("cdot", "times"):
    factor = factor[:-1]
  if factor == (_MINUS,):
    factor = (_MINUS, Token("number", "1"))
  scale, value = literal(factor), literal(cell)
  if scale and value:
    return written(scale.value * value.value)
  if value and value.value in (0, 1):
    return factor if value.value else cell
  opening, closing = Token("mark", "("), Token("mark", ")")
  return (opening, *factor, closing, opening, *cell, closing)


Rule = Callable[[Tokens, Reader], Node | None]
# Each rule with the tokens without which it does not apply.
_RULES: tuple[tuple[Rule, frozenset[str]], ...] = (
  (_congruence, _MODULO),
  (_list, _COMMAS | _WORDS),
  (regions.exclusion, words("ne")),
  (_plus_minus, words("pm")),
  (regions.relation, words("< > le ge")),
  (regions.membership, words("in")),
  (_equation, words("=")),
  (_approximation, words("approx")),
  (regions.union, words("cup")),
  (regions.difference, words("setminus except mathbbr")),
  (_bracketed, words(r"( [ \{")),
  (_matrix, frozenset(rf"\begin{{{name}}}".lower() for name in _MATRICES)),
  (regions.reals, words("mathbbr real reals number numbers values")),
  (regions.empty, words("emptyset empty null")),
)


def _bare(given: Tokens) -> Tokens:
  """Without braces around all of it, a plus sign or `option` in front."""
  for _ in range(MAX_DEPTH):
    if given and (
      given[0].value == "+"
      or (len(given) > 1 and _is_word(given[0], _INTRODUCTIONS))
    ):
      given = given[1:]
    elif is_enclosed(given, "{"):
      given = given[1:-1]
    elif len(given) > 1 and _is_word(given[0], _NEGATIVE):
      return (_MINUS, *given[1:])
    else:
      return given
  raise UnreadableError("nested too deeply")


def _is_word(token: Token, known: frozenset[str]) -> bool:
  return token.is_word and token.value.lower() in known
