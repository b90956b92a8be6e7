r"""Rewrites tokens so that each notation is left with one form.

`\frac1x` gets its braces, `a \over b` becomes a fraction, `^{\circ}` one
token, `(25)_8` becomes `25_{8}`, `\log_e` becomes `\ln`.
"""

from itertools import accumulate, zip_longest

from jaxrl_entropy.rewards.verifiers.maths.brackets import (
  CLOSING,
  OPENING,
  matching,
  nesting,
)
from jaxrl_entropy.rewards.verifiers.maths.lexer import (
  Token,
  Tokens,
  UnreadableError,
)

MAX_NESTING = 50
DEGREE = Token("command", "degree")

_SUBSCRIPT, _IN = Token("mark", "_"), Token("prose", "in")
_INTERVALS = frozenset("()[]")
_INFIXES = {
  "over": Token("command", "frac"),
  "choose": Token("command", "binom"),
}
_ARGUMENTS = {"frac": 2, "sqrt": 1, "binom": 2}
_BASES = {
  "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7",
  "eight": "8", "nine": "9", "ten": "10", "eleven": "11", "twelve": "12",
  "sixteen": "16",
}  # fmt: skip


def rewrite(tokens: Tokens) -> Tokens:
  """Returns the tokens in their one form.

  Args:
    tokens: all of a whole answer, as the lexer gives them.

  Raises:
    UnreadableError: if brackets or infixes are nested too deeply.
  """
  values = {token.value for token in tokens}
  deepest = max(accumulate(map(nesting, tokens)), default=0)
  if deepest > MAX_NESTING or (
    sum(token.value in _INFIXES for token in tokens) > MAX_NESTING
  ):
    raise UnreadableError("nested too deeply")
  if not values.isdisjoint(("circ", "degree", "o")):
    tokens = _with_degrees(tokens)
  if not values.isdisjoint(_ARGUMENTS):
    tokens = tuple(_with_arguments(list(tokens)))
  if not values.isdisjoint(_INFIXES):
    tokens = _without_infixes(tokens)
  if "equiv" in values and values.isdisjoint(("pmod", "mod", "bmod")):
    equals = Token("mark", "=")
    tokens = tuple(equals if t.value == "equiv" else t for t in tokens)
  if "cis" in values:
    tokens = _without_cis(tokens)
  if "_" in values or "base" in values:
    tokens = _without_natural_logarithm(_with_bare_base(tokens))
  return tokens


def _with_degrees(tokens: Tokens) -> Tokens:
  r"""`^\circ`, `^{\circ}`, `\degree` and `^\degree` as one token."""
  out: list[Token] = []
  index = 0
  while index < len(tokens):
    values = [token.value for token in tokens[index : index + 4]]
    if values[0] == "^" and values[1:2] in (["circ"], ["degree"], ["o"]):
      length = 2
    elif (
      values[:2] == ["^", "{"]
      and values[3:] == ["}"]
      and values[2] in ("circ", "degree", "o")
    ):
      length = 4
    else:
      length = 1 if values[0] == "degree" else 0
    out.append(DEGREE if length else tokens[index])
    index += length or 1
  return tuple(out)


def _with_arguments(rest: list[Token]) -> list[Token]:
  """Puts braces around the arguments of macros, as TeX reads them."""
  out: list[Token] = []
  rest.reverse()
  while rest:
    token = rest.pop()
    out.append(token)
    if token.kind != "command" or token.value not in _ARGUMENTS:
      continue
    if token.value == "sqrt" and rest and rest[-1].value == "[":
      out += _taken_group(rest)
    for _ in range(_ARGUMENTS[token.value]):
      out += _taken_argument(rest, token.value)
  return out


def _taken_argument(rest: list[Token], macro: str) -> list[Token]:
  """Takes one argument from the end of the reversed tokens."""
  if not rest or nesting(rest[-1]) < 0:
    raise UnreadableError(f"\\{macro} lacks an argument")
  if rest[-1].value == "{" or (macro == "sqrt" and rest[-1].value == "("):
    group = _taken_group(rest)
    inner = _with_arguments(group[1:-1])
    return [OPENING, *inner, CLOSING]
  token = rest.pop()
  if len(token.value) > 1 and (token.kind == "number" or token.is_word):
    rest.append(Token(token.kind, token.value[1:]))
    token = Token(token.kind, token.value[0])
  if token.value in _ARGUMENTS:
    inner = _taken_argument(rest, token.value)
    return [OPENING, token, *inner, CLOSING]
  return [OPENING, token, CLOSING]


def _taken_group(rest: list[Token]) -> list[Token]:
  """Takes a bracket with its content from the end of the reversed tokens."""
  group, depth = [], 0
  while rest:
    group.append(rest.pop())
    depth += nesting(group[-1])
    if depth == 0:
      return group
  raise UnreadableError("a bracket is not closed")


def _without_infixes(tokens: Tokens) -> Tokens:
  r"""`{a \over b}` as `\frac{a}{b}`, `{n \choose k}` as `\binom{n}{k}`."""
  for index, token in enumerate(tokens):
    if token.kind == "command" and token.value in _INFIXES:
      start, end = _group_around(tokens, index)
      above, below = tokens[start:index], tokens[index + 1 : end]
      macro = _INFIXES[token.value]
      arguments = (OPENING, *above, CLOSING, OPENING, *below, CLOSING)
      return _without_infixes(
        (*tokens[:start], macro, *arguments, *tokens[end:])
      )
  return tokens


def _group_around(tokens: Tokens, index: int) -> tuple[int, int]:
  """The bounds of the bracket, or side of a relation, that an index is in."""
  start, depth = index, 0
  while start:
    depth -= nesting(tokens[start - 1])
    if depth < 0 or (depth == 0 and _bounds(tokens[start - 1])):
      break
    start -= 1
  end, depth = index + 1, 0
  while end < len(tokens):
    depth += nesting(tokens[end])
    if depth < 0 or (depth == 0 and _bounds(tokens[end])):
      break
    end += 1
  return start, end


def _bounds(token: Token) -> bool:
  return token.value in ("=", ",", "<", ">", "&", r"\\")


def _without_cis(tokens: Tokens) -> Tokens:
  r"""`e^{i(\theta)}` for `\operatorname{cis} \theta` and `cis(\theta)`."""
  index = next((i for i, t in enumerate(tokens) if t.value == "cis"), -1)
  if index < 0 or index + 1 == len(tokens):
    return tokens
  angle = tokens[index + 1 :]
  enclosed = angle[0].value in ("(", "{")
  length = 1 + (matching(angle) if enclosed else _term(angle))
  power = [Token("symbol", "e"), Token("mark", "^"), OPENING]
  power += [Token("symbol", "i"), Token("mark", "("), *angle[:length]]
  power += [Token("mark", ")"), CLOSING]
  return (*tokens[:index], *power, *_without_cis(angle[length:]))


def _term(tokens: Tokens) -> int:
  """Returns the index of the last token before a comma or a sum's sign."""
  depth = 0
  for index, token in enumerate(tokens):
    depth += nesting(token)
    if depth < 0 or (depth == 0 and token.value in ("+", "-", ",", "=")):
      return index - 1
  return len(tokens) - 1


def rewrite_intervals(tokens: Tokens) -> Tokens:
  """Returns `(a, b]` for the interval `]a, b]`, `[a, b)` for `[a, b[`.

  Args:
    tokens: all of a whole answer.
  """
  out: list[Token] = []
  depth = 0
  for token, following in zip_longest(tokens, tokens[1:]):
    if token.value == "]" and depth == 0:
      token = Token("mark", "(")
    elif token.value == "[" and depth == 1 and _follows_set(following):
      token = Token("mark", ")")
    if token.value in _INTERVALS:
      depth += nesting(token)
    out.append(token)
  return tuple(out)


def _follows_set(token: Token | None) -> bool:
  return token is None or token.value in ("cup", ",", "or", "and")


def _with_bare_base(tokens: Tokens) -> Tokens:
  r"""`(25)_8`, `25_{(8)}`, `25_{\text{eight}}`, `25 (base 8)` as `25_{8}`."""
  end = matching(tokens) if tokens[0].value == "(" else 0
  subscripted = end > 1 and tokens[end + 1 : end + 2] == (_SUBSCRIPT,)
  if subscripted and tokens[1].kind == "number":
    tokens = (*tokens[1:end], *tokens[end + 1 :])
  tokens = (*tokens[:1], *tokens[1 + (tokens[1:2] == (_IN,)) :])
  if len(tokens) > 2 and "base" in (tokens[1].value, tokens[2].value):
    tokens = (tokens[0], _SUBSCRIPT, *tokens[1:])
  if len(tokens) < 3 or tokens[1].value != "_":
    return tokens
  number, mark, *base = tokens
  digits = [t for t in base if t.value not in ("{", "}", "(", ")", "base")]
  if number.kind != "number" or len(digits) != 1:
    return tokens
  value = _BASES.get(digits[0].value, digits[0].value)
  if value == "10":
    return (number,)
  return (number, mark, OPENING, Token("number", value), CLOSING)


def _without_natural_logarithm(tokens: Tokens) -> Tokens:
  r"""`\log_e` as `\ln`, `\log_{10}` as `\log`."""
  out: list[Token] = []
  index = 0
  while index < len(tokens):
    out.append(tokens[index])
    index += 1
    if tokens[index - 1].value != "log" or tokens[index : index + 1] != (
      Token("mark", "_"),
    ):
      continue
    braced = tokens[index + 1 : index + 2] == (OPENING,)
    base = tokens[index + 1 + braced : index + 2 + braced]
    if base and base[0].value in ("e", "10"):
      out[-1] = Token("command", "ln" if base[0].value == "e" else "log")
      index += 4 if braced else 2
  return tuple(out)
