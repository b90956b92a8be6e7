"""Parses matrices and functions by cases."""

from jaxrl_entropy.rewards.verifiers.maths.brackets import (
  is_enclosed,
  matching,
  nesting,
  split,
)
from jaxrl_entropy.rewards.verifiers.maths.lexer import (
  Token,
  Tokens,
  UnreadableError,
  words,
)
from jaxrl_entropy.rewards.verifiers.maths.nodes import (
  Equation,
  Group,
  Node,
  Reader,
  group,
)
from jaxrl_entropy.rewards.verifiers.maths.numbers import literal, written

NAMES = frozenset(
  ["matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array"]
)
BEGINNINGS = frozenset(rf"\begin{{{name}}}".lower() for name in NAMES)
SYSTEMS = words(
  r"\begin{cases} \begin{aligned} \begin{align} \begin{gathered} "
  r"\begin{split} \begin{array}"
)
_MINUS, _EQUALS = Token("mark", "-"), Token("mark", "=")
_AMPERSAND = Token("mark", "&")
_COMMAS = frozenset([",", ";"])
_STOPS = frozenset([",", ";", "."])
_IF = _COMMAS | words("if for when .")


def matrix(tokens: Tokens, read: Reader) -> Node | None:
  """Parses a matrix, or a number times a matrix.

  Args:
    tokens: all of the answer, or of a part of it.
    read: parses the cells.

  Returns:
    The matrix; None for any other notation.

  Raises:
    UnreadableError: its rows have different lengths.
  """
  start = next(
    (i for i, t in enumerate(tokens) if t.kind == "environment"), len(tokens)
  )
  factor, body = tokens[:start], tokens[start:]
  name = body[0].value.removeprefix(r"\begin{")[:-1] if body else ""
  if name not in NAMES or matching(body) != len(body) - 1:
    return None
  if sum(map(nesting, factor)) or Token("command", "det") in factor:
    return None
  rows = [
    split(row, lambda t: t.value == "&")
    for row in split(body[1:-1], lambda t: t.value == r"\\")
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


def rows(members: list[Tokens], read: Reader) -> Node | None:
  """Returns `[[1, 2], [3, 4]]` as a matrix.

  Args:
    members: what stands between the outer brackets.
    read: parses the cells.

  Returns:
    The matrix; None where the members are no rows of one length.
  """
  if not all(is_enclosed(member, "[") for member in members):
    return None
  table = [
    split(member[1:-1], lambda t: t.value in _COMMAS) for member in members
  ]
  if len({len(row) for row in table}) != 1:
    return None
  cells = [cell for row in table for cell in row]
  return group(f"{len(table)}x{len(table[0])}", cells, read)


def transposed(tokens: Tokens, read: Reader) -> Node | None:
  r"""Parses `(1, 2)^T` and the like as a column.

  Args:
    tokens: all of the answer, or of a part of it.
    read: parses the row in front of the sign.

  Returns:
    The column; None for any other notation.
  """
  sign = next((i for i, t in enumerate(tokens) if t.value == "^"), 0)
  power = [t.value for t in tokens[sign + 1 :] if t.value not in ("{", "}")]
  if not sign or power not in (["T"], ["top"], ["intercal"]):
    return None
  row = read(tokens[:sign])
  if not isinstance(row, Group) or not (
    row.kind in ("()", "[]") or row.kind.startswith("1x")
  ):
    return None
  return Group(f"{len(row.members)}x1", row.members)


def system(tokens: Tokens, read: Reader) -> Node | None:
  r"""Parses `\begin{cases} x = 2 \\ y = 3 \end{cases}` as a list of equations.

  Args:
    tokens: all of the answer, or of a part of it.
    read: parses the rows, in which `&` may stand at a relation.

  Returns:
    The list; None where a row is no equation.
  """
  if tokens[0].value not in SYSTEMS or matching(tokens) != len(tokens) - 1:
    return None
  rows = [
    row[:-1] if row[-1].value in _STOPS else row
    for row in split(_unaligned(tokens[1:-1]), lambda t: t.value == r"\\")
    if row
  ]
  if any(_AMPERSAND in row or _EQUALS not in row for row in rows):
    return None
  listed = group("list", rows, read)
  equations = all(isinstance(row, Equation) for row in listed.members)
  return listed if equations else None


def _unaligned(tokens: Tokens) -> Tokens:
  """`x = 2` for `x &= 2` and `x = & 2`."""
  return tuple(
    token
    for before, token, behind in zip(
      (None, *tokens), tokens, (*tokens[1:], None), strict=False
    )
    if token != _AMPERSAND or _EQUALS not in (before, behind)
  )


def cases(tokens: Tokens, read: Reader) -> Node | None:
  r"""`\begin{cases} 1 & x > 0 \\ 0 & x \le 0 \end{cases}` as pairs.

  Args:
    tokens: all of the answer, or of a part of it.
    read: parses the values and the conditions.

  Returns:
    A list of values with their conditions; None for any other notation.
  """
  if tokens[0].value != r"\begin{cases}" or matching(tokens) != len(tokens) - 1:
    return None
  rows = [
    split(row, lambda t: t.value == "&")
    for row in split(tokens[1:-1], lambda t: t.value == r"\\")
    if row
  ]
  if any(len(row) != 2 for row in rows):
    return None
  pairs = [[_without(row[0], _COMMAS), _without(row[1], _IF)] for row in rows]
  return Group("list", tuple(group("case", pair, read) for pair in pairs))


def _without(tokens: Tokens, marks: frozenset[str]) -> Tokens:
  return tuple(token for token in tokens if token.value.lower() not in marks)
