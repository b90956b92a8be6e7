"""Writes expressions as LaTeX that has one reading only.

Loads no computer algebra, so that references can be checked cheaply.
"""

from fractions import Fraction

from jaxrl_entropy.rewards.verifiers.maths.brackets import (
  CLOSING,
  OPENING,
  matching,
)
from jaxrl_entropy.rewards.verifiers.maths.lexer import (
  FUNCTIONS,
  GREEK,
  LETTER_PAIRS,
  Token,
  Tokens,
  words,
)
from jaxrl_entropy.rewards.verifiers.maths.rewrite import DEGREE

MAX_TOKENS = 200

_CAPITALS = words("Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega hbar ell")
_NAMES = GREEK | _CAPITALS
_COMMANDS = _NAMES | FUNCTIONS | {"frac", "sqrt", "cdot", "times", "degree"}
ROUNDED = words("lfloor rfloor lceil rceil")
UNEVALUATED = ROUNDED | words(
  "binom gcd lcm sum prod int lim infty to max min bmod mod det"
)
_UNEVALUATED_MARKS = words(r"& \\ = , \{ \}")
_OF_SETS = words("max min gcd lcm")
_DERIVATIVE = ["frac", "{", "d", "}", "{", "d"]
_HEADS = FUNCTIONS | words("sum prod int lim max min")
_CLOSING = words("rfloor rceil degree")
_MARKS = frozenset("+-*/^_(){}[]!|")
# Before a parenthesis these are functions, of which nothing is known.
_UNKNOWN_FUNCTIONS = words("f g F G")
_INDEX = Token("mark", "_")
_OPENED, _CLOSED = Token("mark", "("), Token("mark", ")")
_TIMES = words("cdot times *")
# The parser takes these for the constants e and i, whose symbols are small.
_RENAMED = {"E": "Q_{1001}", "I": "Q_{1002}"}
_INDEXED = {"E": r"\Xi", "I": r"\Upsilon"}  # with an index of their own


def to_latex(tokens: Tokens, unevaluated: bool = False) -> str | None:
  """Returns the tokens as LaTeX; None where they have more than one reading.

  Args:
    tokens: an expression.
    unevaluated: whether binomials, sums, integrals and the like may stand in
      it.
  """
  if len(tokens) > MAX_TOKENS:
    return None
  tokens = _grouped_exponents(_bracketed(_with_arguments(tokens)))
  if unevaluated:
    tokens = _with_binomials(tokens)
  texts: list[str] = []
  before = [Token("mark", "("), Token("mark", "("), *tokens]
  applied = _applied(tokens)
  powers = {
    _behind_scripts(tokens, index)
    for index, token in enumerate(tokens)
    if token.value == "^"
    and tokens[index + 1 : index + 2]
    and tokens[index + 1].kind != "number"
  }
  for index, token in enumerate(tokens):
    second, first = before[index], before[index + 1]
    if not _is_plain(token, tokens, unevaluated):
      return None
    if token.value == "[" and first.value != "sqrt":
      return None
    if token.value == "_" and first.kind == "number":
      return None  # a number in another base
    if token.value == first.value == "!":
      return None  # every second factor, and no factorial of a factorial
    if token.value == "(" and first.value in _UNKNOWN_FUNCTIONS:
      return None
    if _ends(first) and second.value != "_" and index not in applied:
      if index not in powers and _is_ambiguous(second, first, token):
        return None
      if token.value in ("(", "frac", "binom") or token.kind == "number":
        texts.append(r"\cdot")
    written = _written(token)
    if tokens[index + 1 : index + 2] == (_INDEX,):
      written = _INDEXED.get(token.value, written)
    # `RC` is one name: all of it stands below in `t/RC`.
    grouped = token.kind == "word" and first.value == "/"
    texts.append(f"({written})" if grouped else written)
  return " ".join(texts)


def _with_arguments(tokens: Tokens) -> Tokens:
  r"""Parentheses around the argument in `\sin x \cdot y`, which a dot ends."""
  out = list(tokens)
  for index in range(len(tokens) - 1, -1, -1):
    if tokens[index].value not in FUNCTIONS:
      continue
    start = end = _behind_scripts(tokens, index + 1)
    while end < len(tokens) and (
      tokens[end].kind == "symbol" or tokens[end].value in _NAMES
    ):
      end += 1
    if end > start and _begins_factor(tokens[end:]):
      out[start:end] = [_OPENED, *tokens[start:end], _CLOSED]
  return tuple(out)


def _behind_scripts(tokens: Tokens, end: int) -> int:
  """Returns the index behind the exponent or index that begins at one."""
  while end + 1 < len(tokens) and tokens[end].value in ("_", "^"):
    end += 1 + max(1, 1 + matching(tokens[end + 1 :]))
  return end


def _begins_factor(tokens: Tokens) -> bool:
  r"""Whether `\cdot` or `(1 - \cos x)` follows, which ends an argument."""
  if not tokens or tokens[0].value in _TIMES:
    return bool(tokens)
  length = matching(tokens) if tokens[0].value == "(" else 0
  return any(token.value in FUNCTIONS for token in tokens[:length])


def _bracketed(tokens: Tokens) -> Tokens:
  r"""Parentheses for the brackets of `2[x+1]` and `\max\{1, 2\}`."""
  out = list(tokens)
  for index, token in enumerate(tokens):
    before = tokens[index - 1].value if index else "sqrt"
    if (token.value == "[" and before != "sqrt") or (
      token.value == r"\{" and before in _OF_SETS
    ):
      end = index + matching(tokens[index:])
      if end > index:
        out[index], out[end] = Token("mark", "("), Token("mark", ")")
  return tuple(out)


def _grouped_exponents(tokens: Tokens) -> Tokens:
  """`2^(n-1)` with braces for the parentheses, as LaTeX has it."""
  for index in range(len(tokens) - 1):
    if tokens[index].value == "^" and tokens[index + 1].value == "(":
      end = index + 1 + matching(tokens[index + 1 :])
      if end > index:
        inner = _grouped_exponents(tokens[index + 2 : end])
        tail = _grouped_exponents(tokens[end + 1 :])
        return (*tokens[: index + 1], OPENING, *inner, CLOSING, *tail)
  return tokens


def _with_binomials(tokens: Tokens) -> Tokens:
  r"""`\binom{10}{3}` for `C_{10}^{3}`, `C_{10}^3` and `C(10, 3)`.

  The `A_5^3` of permutations is six times that of `C_5^3`.
  """
  values = [token.value for token in tokens]
  index = next((i for i, value in enumerate(values) if value in "CA"), -1)
  if index < 0:
    return tokens
  ordered = values[index] == "A"
  rest = [v for v in values[index + 1 : index + 9] if v not in ("{", "}")]
  if rest[:1] == ["_"] and rest[2:3] == ["^"] and len(rest) > 3:
    n, k = rest[1], rest[3]
    length = 1 + _length(tokens[index + 1 :])
  elif rest[:1] == ["("] and rest[2:3] == [","] and rest[4:5] == [")"]:
    n, k, length = rest[1], rest[3], 6
  else:
    return tokens
  if ordered and not (n.isdigit() and k.isdigit()):
    return tokens
  orders = (Token("number", k), Token("mark", "!")) if ordered else ()
  binomial = [*orders, Token("command", "binom")]
  for value in (n, k):
    kind = "number" if value.isdigit() else "symbol"
    binomial += [OPENING, Token(kind, value), CLOSING]
  tail = _with_binomials(tokens[index + length :])
  return (*tokens[:index], *binomial, *tail)


def _length(tokens: Tokens) -> int:
  """The number of tokens of `_{10}^{3}`."""
  length = 0
  for _ in range(2):
    braced = tokens[length + 1] == OPENING
    length += 4 if braced else 2
  return length


def _applied(tokens: Tokens) -> set[int]:
  """Where the arguments begin of functions and sums with scripts and `d/dx`."""
  starts = set()
  for index, token in enumerate(tokens):
    end = _behind_scripts(tokens, index + 1) if token.value in _HEADS else 0
    if end > index + 1:
      starts.add(end)
    if [t.value for t in tokens[index : index + 6]] == _DERIVATIVE:
      starts.add(index + 8)
  return starts


def _is_ambiguous(second: Token, first: Token, token: Token) -> bool:
  r"""`x 2` and `2 3`; `2 \frac{1}{2}x`; `1/2x`, of which x is which part?"""
  return (
    (token.kind == "number" and first.value != "!")
    or (first.kind == "number" and token.value == "frac")
    or (second.value == "/" and _begins(token))
  )


def _begins(token: Token) -> bool:
  """Whether a factor may begin with this token."""
  return token.value == "(" or (
    token.kind in ("symbol", "command") and token.value not in _CLOSING
  )


def is_product(word: Token, tokens: Tokens) -> bool:
  """Returns whether a word is a product of symbols: `mg`, `RC` in `2RC`.

  Letters that stand alone, as `AB`, are a name.

  Args:
    word: one of the tokens of the expression.
    tokens: all of the expression.
  """
  within = len(word.value) <= 3 and len(tokens) > 1
  return word.kind == "word" and (word.value in LETTER_PAIRS or within)


def _is_plain(token: Token, tokens: Tokens, unevaluated: bool) -> bool:
  if token.is_word:
    return is_product(token, tokens)
  if token.kind in ("number", "symbol"):
    return "overline" not in token.value
  if unevaluated and (
    token.value in UNEVALUATED
    or token.kind == "environment"
    or token.value in _UNEVALUATED_MARKS
  ):
    return True
  return token.value in (_COMMANDS if token.kind == "command" else _MARKS)


def _ends(token: Token) -> bool:
  """Whether a factor may end with this token."""
  return (
    token.kind in ("number", "symbol")
    or token.value in (")", "}", "]", "!")
    or token.value in _NAMES
  )


def _written(token: Token) -> str:
  if token == DEGREE:
    return r"\cdot \frac{\pi}{180}"
  if token.kind == "word":
    return " ".join(token.value)
  if token.kind == "symbol":
    return _RENAMED.get(token.value, token.value)
  if token.kind == "number" and "." in token.value:
    value = Fraction(token.value)  # decimals are exact here
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
  return {"bmod": r"\mod"}.get(token.value, str(token))
