"""Token sequences and their brackets."""

from collections.abc import Callable

from jaxrl_entropy.rewards.verifiers.maths.lexer import GREEK, Token, Tokens

OPENING, CLOSING = Token("mark", "{"), Token("mark", "}")

_OPENING = frozenset(["(", "[", r"\{", "{"])
_CLOSING = frozenset([")", "]", r"\}", "}"])
_UNKNOWNS = GREEK - {"pi"}


def split(tokens: Tokens, separates: Callable[[Token], bool]) -> list[Tokens]:
  """Returns the parts between separators that no bracket encloses.

  Args:
    tokens: an expression.
    separates: whether a token is a separator; these stand in no part.

  Returns:
    The parts in order, empty ones included: one more than separators.
  """
  sections: list[list[Token]] = [[]]
  depth = 0
  for token in tokens:
    depth += nesting(token)
    if depth == 0 and separates(token):
      sections.append([])
    else:
      sections[-1].append(token)
  return [tuple(section) for section in sections]


def matching(tokens: Tokens) -> int:
  """Returns the index of the bracket that closes the first token's, or -1."""
  depth = 0
  for index, token in enumerate(tokens):
    depth += nesting(token)
    if depth == 0:
      return index
  return -1


def nesting(token: Token) -> int:
  """Returns 1 for a token that opens a bracket, -1 for one that closes it."""
  if token.kind == "environment":
    return 1 if token.value.startswith(r"\begin") else -1
  return (token.value in _OPENING) - (token.value in _CLOSING)


def is_enclosed(tokens: Tokens, bracket: str) -> bool:
  """Returns whether one pair of brackets encloses all of the tokens.

  Args:
    tokens: an expression; without tokens nothing is enclosed.
    bracket: the opening one, such as "(" or "{".
  """
  return (
    bool(tokens)
    and tokens[0].value == bracket
    and matching(tokens) == len(tokens) - 1
  )


def is_symbol(tokens: Tokens) -> bool:
  r"""Returns whether this is one unknown: `x`, `x_1`, `\theta`, `x'`."""
  if not tokens:
    return False
  first, subscript = tokens[0], tokens[1:]
  if first.kind != "symbol" and first.value not in _UNKNOWNS:
    return False
  return not subscript or (
    subscript[0].value == "_" and _is_subscript(subscript[1:])
  )


def _is_subscript(tokens: Tokens) -> bool:
  braced = is_enclosed(tokens, "{")
  inner = tokens[1:-1] if braced else tokens[:1]
  return (
    bool(inner)
    and (braced or len(tokens) == 1)
    and all(
      token.kind in ("number", "symbol", "word", "prose")
      or token.value in ("max", "min")
      for token in inner
    )
  )
