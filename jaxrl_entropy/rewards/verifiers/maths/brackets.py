"""Token sequences and their brackets."""

from collections.abc import Callable

from jaxrl_entropy.rewards.verifiers.maths.lexer import GREEK, Token, Tokens

OPENING, CLOSING = Token("mark", "{"), Token("mark", "}")

_OPENING = frozenset(["(", "[", r"\{", "{"])
_CLOSING = frozenset([")", "]", r"\}", "}"])
_UNKNOWNS = GREEK - {"pi"}


def split(given: Tokens, separates: Callable[[Token], bool]) -> list[Tokens]:
  """Returns the parts between separators that no bracket encloses.

  Args:
    given: an expression.
    separates: whether a token is a separator; these stand in no part.

  Returns:
    The parts in order, empty ones included: one more than separators.
  """
  parts: list[list[Token]] = [[]]
  depth = 0
  for token in given:
    depth += nesting(token)
    if depth == 0 and separates(token):
      parts.append([])
    else:
      parts[-1].append(token)
  return [tuple(part) for part in parts]


def matching(given: Tokens) -> int:
  """Returns the index of the bracket that closes the first token's, or -1."""
  depth = 0
  for index, token in enumerate(given):
    depth += nesting(token)
    if depth == 0:
      return index
  return -1


def nesting(token: Token) -> int:
  """Returns 1 for a token that opens a bracket, -1 for one that closes it."""
  if token.kind == "environment":
    return 1 if token.value.startswith(r"\begin") else -1
  return (token.value in _OPENING) - (token.value in _CLOSING)


def is_enclosed(given: Tokens, bracket: str) -> bool:
  """Returns whether one pair of brackets encloses all of the tokens.

  Args:
    given: an expression; without tokens nothing is enclosed.
    bracket: the opening one, such as "(" or "{".
  """
  return (
    bool(given)
    and given[0].value == bracket
    and matching(given) == len(given) - 1
  )


def is_symbol(given: Tokens) -> bool:
  r"""Returns whether this is one unknown: `x`, `x_1`, `\theta`, `x'`."""
  if not given:
    return False
  first, subscript = given[0], given[1:]
  if first.kind != "symbol" and first.value not in _UNKNOWNS:
    return False
  return not subscript or (
    subscript[0].value == "_" and _is_subscript(subscript[1:])
  )


def _is_subscript(given: Tokens) -> bool:
  braced = is_enclosed(given, "{")
  inner = given[1:-1] if braced else given[:1]
  return (
    bool(inner)
    and (braced or len(given) == 1)
    and all(
      token.kind in ("number", "symbol", "word", "prose") for token in inner
    )
  )
