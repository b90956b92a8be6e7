r"""Vectors as sums of unit vectors: `3\mathbf{i} - 4\hat{j}` as `(3, -4)`."""

from jaxrl_entropy.rewards.verifiers.maths.brackets import nesting
from jaxrl_entropy.rewards.verifiers.maths.lexer import (
  UNIT_VECTORS,
  Token,
  Tokens,
)
from jaxrl_entropy.rewards.verifiers.maths.nodes import Group, Node, Reader

_ZERO, _ONE = Token("number", "0"), Token("number", "1")


def components(tokens: Tokens, read: Reader) -> Node | None:
  r"""Parses a sum of multiples of two or three unit vectors as a tuple.

  Args:
    tokens: all of the answer, or of a part of it.
    read: parses the components.

  Returns:
    The tuple, of two members where no term has the third unit vector; None
    for any other notation.
  """
  scales: dict[str, Tokens] = {}
  for term in _terms(tokens):
    *scale, unit = term
    if unit.value not in UNIT_VECTORS or unit.value in scales:
      return None
    if scale in ([], [Token("mark", "-")], [Token("mark", "+")]):
      scale = [*scale, _ONE]
    scales[unit.value] = tuple(scale)
  if len(scales) < 2:
    return None
  names = UNIT_VECTORS[: 3 if UNIT_VECTORS[2] in scales else 2]
  return Group("()", tuple(read(scales.get(name, (_ZERO,))) for name in names))


def _terms(tokens: Tokens) -> list[Tokens]:
  """Splits a sum in front of its signs."""
  terms: list[list[Token]] = [[]]
  depth = 0
  for token in tokens:
    depth += nesting(token)
    if depth == 0 and token.value in ("+", "-") and terms[-1]:
      terms.append([])
    terms[-1].append(token)
  return [tuple(term) for term in terms]
