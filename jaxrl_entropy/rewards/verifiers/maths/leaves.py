"""Compares two expressions or texts: numbers, units, algebra, spelling."""

from collections.abc import Callable, Iterable
from fractions import Fraction
import re
from typing import NamedTuple

from jaxrl_entropy.rewards.verifiers.maths.expression import is_product
from jaxrl_entropy.rewards.verifiers.maths.lexer import Token, Tokens, words
from jaxrl_entropy.rewards.verifiers.maths.nodes import Leaf
from jaxrl_entropy.rewards.verifiers.maths.numbers import (
  Literal,
  literal,
  written,
)
from jaxrl_entropy.rewards.verifiers.maths.parameters import aligned
from jaxrl_entropy.rewards.verifiers.maths.units import (
  DEGREE,
  RADIAN,
  Unit,
  split_unit,
)

Symbolic = Callable[[Tokens, Tokens], bool]
"""Equality of two expressions, (reference, answer), that are no literals."""

Sides = tuple[Tokens, Tokens]
"""The left and the right side of an equation."""

Proportional = Callable[[Sides, Sides], bool]
"""Whether `left - right` of two equations are equal but for a number."""


class Rules(NamedTuple):
  """The rules by which two answers are compared.

  Attributes:
    symbolic: decides on two expressions that are no literal numbers.
    proportional: decides on two equations, (reference, answer).
    restates: whether the question has an expression itself; that is no answer
      to it, unless the reference is spelled like it.
    strict: whether the answer must be worked out as far as the reference is.
  """

  symbolic: Symbolic
  proportional: Proportional = lambda gold, answer: False
  restates: Callable[[Tokens], bool] = lambda tokens: False
  strict: bool = True


_PLAIN_WORDS = words("yes no true false none even odd")  # no names, in any case
_FORMS = {"solutions": "solution"}
_ARTICLES = words("a an the")
_FILLERS = words("all the of integer integers number numbers is are")
_TIME = re.compile(r"(1?\d|2[0-4]):[0-5]\d", re.ASCII)
_PI = Token("command", "pi")
_LIMITS = frozenset(Token("command", name) for name in ("lim", "sum", "int"))
_SLASH = Token("mark", "/")
_RATIO = (Token("mark", ":"), Token("prose", "to"), Token("word", "to"))


def leaves_equal(gold: Leaf, answer: Leaf, rules: Rules) -> bool:
  """Returns whether two expressions or texts are equal under the rules.

  Args:
    gold: the reference.
    answer: the answer, whose unit may be another of the same dimension.
    rules: of the comparison; they decide where spelling and numbers do not.
  """
  if _spelled_alike(gold.tokens, answer.tokens):
    return True
  gold_value, gold_unit = split_unit(gold.tokens)
  answer_value, answer_unit = split_unit(answer.tokens)
  if not rules.strict and gold_unit and not answer_unit:
    answer_value, answer_unit = _measure(answer_value, gold_unit)
  if not rules.strict and answer_unit and not gold_unit:
    gold_value, gold_unit = _measure(gold_value, answer_unit)
  if gold_unit == DEGREE and answer_unit == RADIAN and _PI in answer_value:
    answer, answer_unit = Leaf(answer_value), None
  if answer_unit == DEGREE and gold_unit == RADIAN and _PI in gold_value:
    gold, gold_unit = Leaf(gold_value), None
  scale = Fraction(1)
  if gold_unit and answer_unit:
    if gold_unit.powers != answer_unit.powers:
      return False
    scale = answer_unit.factor / gold_unit.factor
  if not (rules.strict or _is_time(gold_value)):
    gold_value, answer_value = _divided(gold_value), _divided(answer_value)
  wanted, actual = literal(gold_value), literal(answer_value)
  if wanted and actual:
    return wanted.value == scale * actual.value and _is_answer(
      wanted, actual, answer_value, rules
    )
  if not rules.strict:
    answer_value = aligned(gold_value, answer_value)
  if len(gold_value) == 1 or len(answer_value) == 1:
    gold_value, answer_value = _letters(gold_value, answer_value)
  if wanted and rules.strict:
    return False
  if scale != 1:
    answer_value = _times(scale, answer_value)
  elif actual:
    answer_value = written(actual.value)
  if wanted:
    gold_value = written(wanted.value)
  if has_text(gold_value, answer_value):
    return False
  if (gold_unit == DEGREE) != (answer_unit == DEGREE) and (
    not wanted or _PI in answer_value
  ):
    # A formula may as well be in radians.
    return not rules.strict and rules.symbolic(gold.tokens, answer.tokens)
  return _spelled_alike(gold_value, answer_value) or (
    not rules.restates(answer_value)
    and rules.symbolic(gold_value, answer_value)
  )


def _measure(tokens: Tokens, unit: Unit) -> tuple[Tokens, Unit | None]:
  """Splits `5 L`, elsewhere a product, where the other answer is a volume."""
  named = (Token("word", t.value) if t.kind == "symbol" else t for t in tokens)
  value, own = split_unit(tuple(named))
  same = own and own.powers == unit.powers and literal(value)
  return (value, own) if same else (tokens, None)


def _letters(gold: Tokens, answer: Tokens) -> tuple[Tokens, Tokens]:
  """`mgh`, which stands alone, as a product where the other is a formula."""
  if len(gold) == len(answer):
    return gold, answer
  return _spelled(gold), _spelled(answer)


def _spelled(tokens: Tokens) -> Tokens:
  if len(tokens) > 1 or not is_product(tokens[0], (*tokens, *tokens)):
    return tokens
  return tuple(Token("symbol", letter) for letter in tokens[0].value)


def _divided(tokens: Tokens) -> Tokens:
  """`1 / 2` for the ratio `1:2`, `1 to 2`, `1 in 2` or `1 out of 2`."""
  values = [token.value for token in tokens]
  if values[1:3] == ["out", "of"]:
    return (tokens[0], _SLASH, *tokens[3:])
  if len(tokens) == 3 and values[1] == "in":
    return (tokens[0], _SLASH, tokens[2])
  if sum(token in _RATIO for token in tokens) != 1:
    return tokens
  return tuple(_SLASH if token in _RATIO else token for token in tokens)


def _is_time(tokens: Tokens) -> bool:
  """Whether this may be a time of day, such as `10:30`."""
  text = "".join(token.value for token in tokens)
  return _TIME.fullmatch(text) is not None


def _is_answer(
  wanted: Literal, actual: Literal, value: Tokens, rules: Rules
) -> bool:
  """Whether a literal of the right value is worked out, and no restatement."""
  if not rules.strict:
    return True
  # `8/2` is a problem, and 4 its answer.
  finished = wanted.value != actual.value or (
    wanted.value.denominator > 1 or not actual.quotient
  )
  return finished and (
    wanted.text == actual.text
    or (wanted.plain and actual.plain)
    or not rules.restates(value)
  )


def _times(scale: Fraction, value: Tokens) -> Tokens:
  opening, closing = Token("mark", "("), Token("mark", ")")
  return (*written(scale), Token("command", "cdot"), opening, *value, closing)


def has_text(*expressions: Tokens) -> bool:
  """Returns whether no algebra could show these expressions equal."""
  return any(
    token.kind == "prose"
    or (token.kind == "word" and not is_product(token, tokens))
    or (token.value == "infty" and _LIMITS.isdisjoint(tokens))
    for tokens in expressions
    for token in tokens
  )


def _spelled_alike(gold: Tokens, answer: Tokens) -> bool:
  gold, answer = _unbraced(gold), _unbraced(answer)
  return len(gold) == len(answer) and all(map(_same, gold, answer))


def _unbraced(tokens: Tokens) -> Tokens:
  """`101_2` for `101_{2}`; `ellipse` for `an ellipse`."""
  if len(tokens) > 1 and (
    tokens[0].is_word and tokens[0].value.lower() in _ARTICLES
  ):
    tokens = tokens[1:]
  braced = {
    index
    for index in range(len(tokens) - 3)
    if tokens[index].value in ("_", "^")
    and (tokens[index + 1].value, tokens[index + 3].value) == ("{", "}")
  }
  dropped = braced | {index + 2 for index in braced}
  return _telling(t for i, t in enumerate(tokens) if i - 1 not in dropped)


def _telling(tokens: Iterable[Token]) -> Tokens:
  """`odd n` for `all odd integers n`."""
  every = tuple(tokens)
  told = tuple(
    t for t in every if not (t.is_word and t.value.lower() in _FILLERS)
  )
  return told if any(token.is_word for token in told) else every


def _same(gold: Token, answer: Token) -> bool:
  """Whether two tokens are equal as text: prose in any case, names not."""
  if gold.value == answer.value:
    return True
  folded = _FORMS.get(gold.value.casefold(), gold.value.casefold())
  prose = len(folded) > 2 and "prose" in (gold.kind, answer.kind)
  return (prose or folded in _PLAIN_WORDS) and (
    folded == _FORMS.get(answer.value.casefold(), answer.value.casefold())
  )
