r"""Reads literal numbers exactly.

A literal is a number that is written out: an integer, a decimal, a fraction or
mixed number of these, a multiple of a power of ten, each with a sign, a per
cent sign or a word such as "million". `2 + 3` or `\sqrt{4}` is not.
"""

from fractions import Fraction
import re
from typing import NamedTuple

from jaxrl_entropy.rewards.verifiers.maths.brackets import CLOSING, OPENING
from jaxrl_entropy.rewards.verifiers.maths.lexer import Token, Tokens
from jaxrl_entropy.rewards.verifiers.maths.number_words import number_in_words

MAX_EXPONENT = 1000

MULTIPLIERS = {
  "%": Fraction(1, 100), r"\%": Fraction(1, 100), "percent": Fraction(1, 100),
  "per cent": Fraction(1, 100), "hundred": Fraction(100),
  "thousand": Fraction(1000), "dozen": Fraction(12),
  "million": Fraction(10**6), "billion": Fraction(10**9),
  "trillion": Fraction(10**12),
}  # fmt: skip
_N = r"(\d+(?:\.\d+)?|\.\d+)"
_NUMBER = re.compile(_N)
_QUOTIENT = re.compile(rf"{_N} / {_N}")
_MIXED = re.compile(r"(\d+) (\d+) / (\d+)")
_SCIENTIFIC = re.compile(
  rf"{_N} (?:times|cdot|\*) 10 \^ (?:{{ )?(- )?(\d+)(?: }})?"
)
_REPEATING = re.compile(r"(\d*)\.(\d*)\\overline{(\d+)}")
_FRACTION = re.compile(rf"frac {{ (- )?{_N} }} {{ (- )?{_N} }}")
_BRACKETED = re.compile(r"[({] (.+) [)}]")


class Literal(NamedTuple):
  """A number that is written out.

  Attributes:
    value: the number.
    quotient: whether it is written as a quotient.
    text: its tokens, quotients with a slash.
  """

  value: Fraction
  quotient: bool = False
  text: str = ""

  @property
  def plain(self) -> bool:
    """Whether it is an integer or a decimal."""
    return " " not in self.text.removeprefix("- ")

  @property
  def is_decimal(self) -> bool:
    """Whether it is written with a decimal point, so that it may be rounded."""
    return "." in self.text


def literal(tokens: Tokens) -> Literal | None:
  """Returns the number that these tokens write out; None where they do not."""
  text = _FRACTION.sub(_slash, " ".join(token.value for token in tokens))
  factor, number = Fraction(1), text
  if number_in_words(text) is None:
    factor, number = _multiplier(text)
  if number.startswith("- "):
    factor, number = -factor, number[2:]
    match = _BRACKETED.fullmatch(number)
    number = match[1] if match else number
  for read in (_plain, _words, _quotient, _mixed, _scientific, _repeating):
    parsed = read(number)
    if parsed is not None:
      return Literal(factor * parsed.value, parsed.quotient, text)
  return None


def written(value: Fraction) -> Tokens:
  r"""Returns the tokens of a number: an integer or a `\frac`."""
  above: Tokens = (Token("number", str(abs(value.numerator))),)
  if value.denominator > 1:
    below = Token("number", str(value.denominator))
    fraction = Token("command", "frac")
    above = (fraction, OPENING, *above, CLOSING, OPENING, below, CLOSING)
  return (Token("mark", "-"), *above) if value < 0 else above


def _multiplier(text: str) -> tuple[Fraction, str]:
  """Returns the factor of the last word, and the text without it."""
  for length in (1, 2):
    last = " ".join(text.split(" ")[-length:])
    if last.lower() in MULTIPLIERS:
      return MULTIPLIERS[last.lower()], text.removesuffix(last).strip()
  return Fraction(1), text


def _slash(match: re.Match[str]) -> str:
  minus, above, under, below = match.groups()
  sign = "- " if bool(minus) != bool(under) else ""
  return f"{sign}{above} / {below}"


def _plain(text: str) -> Literal | None:
  return Literal(Fraction(text)) if _NUMBER.fullmatch(text) else None


def _words(text: str) -> Literal | None:
  value = number_in_words(text)
  return None if value is None else Literal(value)


def _quotient(text: str) -> Literal | None:
  match = _QUOTIENT.fullmatch(text)
  if match is None or not Fraction(match.group(2)):
    return None
  return Literal(Fraction(match.group(1)) / Fraction(match.group(2)), True)


def _mixed(text: str) -> Literal | None:
  match = _MIXED.fullmatch(text)
  if match is None:
    return None
  whole, above, below = map(int, match.groups())
  return Literal(whole + Fraction(above, below)) if above < below else None


def _scientific(text: str) -> Literal | None:
  match = _SCIENTIFIC.fullmatch(text)
  if match is None or len(match.group(3)) > len(str(MAX_EXPONENT)):
    return None
  power = Fraction(10) ** int(match.group(3))
  scale = Fraction(match.group(1))
  return Literal(scale / power if match.group(2) else scale * power)


def _repeating(text: str) -> Literal | None:
  match = _REPEATING.fullmatch(text)
  if match is None:
    return None
  whole, fixed, repeated = match.groups()
  start = Fraction(int(whole + fixed or "0"), 10 ** len(fixed))
  cycle = Fraction(int(repeated), 10 ** len(repeated) - 1)
  return Literal(start + cycle / 10 ** len(fixed))
