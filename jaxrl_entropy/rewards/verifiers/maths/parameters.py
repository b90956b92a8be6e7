r"""One name for a free parameter or constant: `2k\pi` for `2n\pi`."""

import re

from jaxrl_entropy.rewards.verifiers.maths.lexer import Token, Tokens, words

_INTEGERS = words("k n m l j t")
_ARBITRARY = words("a c k A C K")
_PROGRESSION = re.compile(r"\d+ [a-z](?: [+-] \d+)?|\d+ \+ \d+ [a-z]")
_PI = Token("command", "pi")
_CONSTANTS = (Token("symbol", "C"), Token("symbol", "c"))


def aligned(
  gold: Tokens, answer: Tokens, free: bool = False, constants: bool = False
) -> Tokens:
  r"""Returns the answer with the reference's name of a parameter.

  The integer of `2k\pi` and `5k + 2`, and a constant of integration, mean the
  same by any name.

  Args:
    gold: tokens of the reference.
    answer: tokens of the answer.
    free: whether a single symbol must be a parameter, as in `n = 2^k`.
    constants: whether it may be a constant too, as in `f(x) = cx`.
  """
  if _adds_constant(gold) and _adds_constant(answer):
    return (*answer[:-1], gold[-1])
  wanted, actual = _symbols(gold), _symbols(answer)
  olds, news = actual - wanted, wanted - actual
  if (
    len(olds) != 1 or len(news) != 1 or not (free or _are_series(gold, answer))
  ):
    return answer
  old, new = olds.pop(), news.pop()
  names = {old.value, new.value}
  if not (names <= _INTEGERS or (constants and names <= _ARBITRARY)):
    return answer
  return tuple(new if token == old else token for token in answer)


def _adds_constant(tokens: Tokens) -> bool:
  """Whether this is an integral with its constant: `x^2 + C`."""
  return (
    tokens[-2:-1] == (Token("mark", "+"),)
    and tokens[-1] in _CONSTANTS
    and tokens[-1] not in tokens[:-1]
  )


def _symbols(tokens: Tokens) -> set[Token]:
  return {token for token in tokens if token.kind == "symbol"}


def _are_series(*formulas: Tokens) -> bool:
  texts = (" ".join(token.value for token in tokens) for tokens in formulas)
  return all(_PI in tokens for tokens in formulas) or all(
    _PROGRESSION.fullmatch(text) for text in texts
  )
