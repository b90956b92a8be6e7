r"""Rewrites what words say around a value: `there are 12`, `for all x`.

Only what changes no value: `there are no 12` and `12 \text{ or so}` stay.
"""

from jaxrl_entropy.rewards.verifiers.maths.brackets import is_symbol, nesting
from jaxrl_entropy.rewards.verifiers.maths.lexer import Token, Tokens, words
from jaxrl_entropy.rewards.verifiers.maths.number_words import number_in_words
from jaxrl_entropy.rewards.verifiers.maths.numbers import literal, written
from jaxrl_entropy.rewards.verifiers.maths.units import CHANGING

_IS = words("is are equals has have was")
_QUANTIFIERS = words("all any every each some real arbitrary constant integer")
_ABOUT = words("approx approximately about roughly around")
_KINDS = words("integer integers constant constants arbitrary real")
_SOME, _FROM = words("some integer integers"), words("ge > 0 1")
_RELATIONS = words("< > le ge in")
_BOUNDS = words("< > le ge ne")
_SO = words("therefore thus hence so finally")
_SIGNS = {
  "greater than or equal to": Token("command", "ge"),
  "less than or equal to": Token("command", "le"),
  "greater than": Token("mark", ">"), "less than": Token("mark", "<"),
  "at least": Token("command", "ge"), "at most": Token("command", "le"),
  "not equal to": Token("command", "ne"),
}  # fmt: skip
_EVERY = words(
  "the set of all any every real reals number numbers value values"
)
_SUCH = words("such that with where satisfying for which")
_SETS = words("mathbbR mathbbZ mathbbN mathbbQ mathbbC")
_ENDINGS = """
in simplest form|in simplified form|in lowest terms|in reduced form|
in interval notation|in total|respectively|only
"""
_BECAUSE = words("since because")
_SAID_LAST = [ending.split() for ending in _ENDINGS.split("|")]
_SYNONYMS = {
  "does not exist": "DNE", "limit does not exist": "DNE",
  "the limit does not exist": "DNE",
  "infinitely many solutions": "infinitely-many",
  "infinitely many": "infinitely-many", "infinite solutions":
  "infinitely-many", "there are infinitely many solutions": "infinitely-many",
}  # fmt: skip
_FIELDS = {
  f"{name} numbers": (Token("command", f"mathbb{letter}"),)
  for name, letter in (("natural", "N"), ("rational", "Q"), ("complex", "C"))
} | {
  "integers": (Token("command", "mathbbZ"),),
  "the origin": tuple(Token("mark" if t in "(,)" else "number", t)
                      for t in "(0,0)"),
}  # fmt: skip
_PRAISE = words(
  "the a only smallest largest least greatest minimum maximum final correct "
  "required possible positive answer solution value number integer one"
)
_VERDICTS = words("yes no true false")
_EQUALS, _COMMA = Token("mark", "="), Token("mark", ",")
_MONTHS = """
january february march april may june july august september october november
december
"""


def rewrite_phrases(tokens: Tokens) -> Tokens:
  """Returns the tokens with `=` for `is`, and without clauses and notes.

  Args:
    tokens: all of a whole answer.
  """
  said = " ".join(token.value.lower() for token in tokens if token.is_word)
  if not said:
    return _without_note(_without_clause(tokens))
  if all(token.is_word or token.value == "-" for token in tokens):
    if said in _SYNONYMS:
      return (Token("prose", _SYNONYMS[said]),)
    if field := _FIELDS.get(
      said.removeprefix("the set of ").removeprefix("all ")
    ):
      return field
    number = number_in_words(said)
    if number is not None and tokens[0].is_word and "and" in said.split():
      return written(number)
  if tokens[0].value.lower() in _VERDICTS and tokens[1:2] == (_COMMA,):
    reason = _is_any(tokens[2], _BECAUSE) if tokens[2:] else False
    rest = (t for t in tokens[2:] if t.value != ".")
    return tokens[:1] if reason or all(t.is_word for t in rest) else tokens
  if len(tokens) > 1 and tokens[0].value.lower() in _ABOUT:
    dotted = tokens[1].value == "."
    return (Token("command", "approx"), *tokens[1 + dotted :])
  if date := _date(tokens):
    return date
  while len(tokens) > 1 and _is_any(tokens[0], _SO):
    tokens = tokens[1 + (tokens[1] == _COMMA) :]
  tokens = _as_condition(_with_signs(tokens))
  return _without_note(_without_clause(_without_ending(_as_equation(tokens))))


def _with_signs(tokens: Tokens) -> Tokens:
  r"""`x \ge 2` for `x \text{ is at least } 2`, where something precedes it."""
  for index, token in enumerate(tokens):
    if not (token.is_word or is_symbol((token,))):
      return tokens
    said = [t.value.lower() for t in tokens[index : index + 5]]
    for phrase, sign in _SIGNS.items():
      length = len(phrase.split())
      if index and said[:length] == phrase.split():
        before = tokens[: index - _is_any(tokens[index - 1], _IS)]
        return (*before, sign, *tokens[index + length :])
  return tokens


def _as_condition(tokens: Tokens) -> Tokens:
  r"""`x > 2` for `\text{all real numbers } x \text{ such that } x > 2`."""
  start = 0
  while start < len(tokens) and _is_any(tokens[start], _EVERY):
    start += 1
  if not start:
    return tokens
  end = start + is_symbol(tokens[start : start + 1])
  while end < len(tokens) and (
    _is_any(tokens[end], _SUCH) or tokens[end].value in (",", ":", "|")
  ):
    end += 1
  rest = tokens[end:] if end > start + 1 else tokens[start:]
  if rest and rest[0].value in _BOUNDS:
    rest = (Token("symbol", "x"), *rest)
  related = is_symbol(rest[:1]) and rest[1:2] and rest[1].value in _BOUNDS
  return rest if related else tokens


def _is_any(token: Token, known: frozenset[str]) -> bool:
  return token.is_word and token.value.lower() in known


def _as_equation(tokens: Tokens) -> Tokens:
  r"""`\text{least} = 7` for `\text{least is } 7` and `\text{least: } 7`."""
  for index, token in enumerate(tokens[:-1]):
    if index and (
      _is_any(token, _IS) or (token.value == ":" and _is_title(tokens[0]))
    ):
      rest = tokens[index + 1 :]
      if _EQUALS in rest and all(t.is_word for t in tokens[:index]):
        return rest
      value = not all(t.is_word for t in rest)
      return (*tokens[:index], _EQUALS, *rest) if value else tokens
    if not token.is_word and token.kind != "symbol":
      return tokens
  return tokens


def _is_title(token: Token) -> bool:
  """Whether this is a word and no name of points: `area`, not `AB`."""
  return token.is_word and token.value[1:].islower()


def _without_ending(tokens: Tokens) -> Tokens:
  said = [token.value.lower() if token.is_word else "" for token in tokens]
  last = next((i for i, word in enumerate(said) if word == "is"), 0)
  if last and _PRAISE.issuperset(said[last + 1 :]) and last + 1 < len(said):
    return tokens[:last]  # `7 is the smallest`
  for ending in _SAID_LAST:
    length = len(ending)
    if said[-length:] == ending and length < len(tokens):
      return _without_comma(tokens[:-length])
  return tokens


def _without_comma(tokens: Tokens) -> Tokens:
  return tokens[:-1] if tokens[-1:] == (_COMMA,) else tokens


def _without_clause(tokens: Tokens) -> Tokens:
  r"""`f(x) = cx` for `f(x) = cx \text{ for all real } x` or `where ...`."""
  depth = 0
  for index, token in enumerate(tokens):
    depth += nesting(token)
    clause = tokens[index:]
    if depth or not index or not _begins_clause(clause):
      continue
    value = _without_comma(tokens[:index])
    if _is_any(token, _BECAUSE):
      return value
    some = any(t.value.lower() in _SOME for t in clause)
    vague = all(_is_vague(t) or (some and t.value in _FROM) for t in clause[1:])
    if vague and _may_drop_clause(value):
      return value
  return tokens


def _may_drop_clause(value: Tokens) -> bool:
  """Whether a clause behind it says nothing: not so of `x > 3`."""
  related = any(token.value in _RELATIONS for token in value)
  return not (related or all(token.is_word for token in value))


def _begins_clause(tokens: Tokens) -> bool:
  if tokens[0].value == "forall":
    return True
  if tokens[0].value == ",":
    return _is_parameter(tokens[1:])
  if not tokens[0].is_word or len(tokens) < 2:
    return False
  first, second = tokens[0].value.lower(), tokens[1].value.lower()
  if first == "where" or first in _BECAUSE:
    return True
  member = len(tokens) > 2 and tokens[2].value == "in"
  return first in ("for", "with") and (second in _QUANTIFIERS or member)


def _is_parameter(tokens: Tokens) -> bool:
  r"""Whether this is `k \text{ is an integer}`."""
  return (
    len(tokens) > 1
    and tokens[0].kind == "symbol"
    and all(token.is_word for token in tokens[1:])
    and tokens[-1].value.lower() in _KINDS
  )


def _is_vague(token: Token) -> bool:
  """Whether a clause of such tokens bounds nothing: no number, no relation."""
  return (
    (token.is_word and token.value.lower() not in ("not", "except", "but"))
    or token.kind == "symbol"
    or token.value in ("in", ",", ".")
    or token.value in _SETS
  )


def _without_note(tokens: Tokens) -> Tokens:
  r"""`7` for `7 (simplified)`, `x \approx 1.4` for `x (\approx 1.4)`."""
  start = max((i for i, t in enumerate(tokens) if t.value == "("), default=0)
  before, note = tokens[:start], tokens[start + 1 : -1]
  if not (before and note) or tokens[-1].value != ")":
    return tokens
  if note[0].value == "or":
    return (*before, *note)
  value, said = literal(before), literal(note)
  if value and said and note[0].is_word and value.value == said.value:
    return before  # `5 (five)`
  if note[0].value.lower() in _ABOUT:
    return (*before, Token("command", "approx"), *note[1:])
  ends = before[-1].kind == "number" or before[-1].value in (")", "]", "}")
  plain = all(t.is_word and t.value.lower() not in CHANGING for t in note)
  if _is_parameter(note) and _may_drop_clause(before):
    return before
  named = all(token.value.lower() in _KINDS for token in note)
  return before if (ends and plain) or named else tokens


def _date(tokens: Tokens) -> Tokens | None:
  """`june 20 2024` for `20 June, 2024` and `Jun. 20, 2024`."""
  said = [t for t in tokens if t.value not in (",", ".") and t.value != "of"]
  months = [t for t in said if t.is_word and _month(t)]
  numbers = [t for t in said if t.kind == "number"]
  if len(months) != 1 or len(numbers) not in (1, 2) or len(said) > 3:
    return None
  if len(months) + len(numbers) < len(said):
    return None
  return (Token("prose", _month(months[0])), *numbers)


def _month(token: Token) -> str:
  """Returns the name of a month that is written out or abbreviated."""
  short = token.value.lower()
  known = [month for month in _MONTHS.split() if month.startswith(short)]
  return known[0] if len(short) > 2 and len(known) == 1 else ""
