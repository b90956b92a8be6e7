"""Literal numbers and units, exactly.

A literal is a number that is written out: an integer, a decimal, a fraction or
mixed number of these, a multiple of a power of ten, each with a sign, a per
cent sign or a word such as "million". `2 + 3` or `\\sqrt{4}` is not.
"""

from collections import Counter
from fractions import Fraction
import re
from typing import NamedTuple

from jaxrl_entropy.rewards.maths.lexer import Token, words

Tokens = tuple[Token, ...]

MAX_EXPONENT = 1000
MAX_UNIT = 16  # tokens

_MULTIPLIERS = {
  "%": Fraction(1, 100), r"\%": Fraction(1, 100), "percent": Fraction(1, 100),
  "hundred": Fraction(100), "thousand": Fraction(1000), "dozen": Fraction(12),
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
_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar){(\d+)}")
_FRACTION = re.compile(rf"frac {{ (- )?{_N} }} {{ (- )?{_N} }}")


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


def literal(given: Tokens) -> Literal | None:
  """The number that these tokens write out; None where they do not."""
  factor, last = Fraction(1), given[-1].value if given else ""
  text = _FRACTION.sub(_slash, " ".join(token.value for token in given))
  number = text
  if last in _MULTIPLIERS:
    factor, number = _MULTIPLIERS[last], text.removesuffix(last).strip()
  if number.startswith("- "):
    factor, number = -factor, number[2:]
  for read in (_plain, _quotient, _mixed, _scientific, _repeating):
    found = read(number)
    if found is not None:
      return Literal(factor * found.value, found.quotient, text)
  return None


def _slash(match: re.Match[str]) -> str:
  minus, above, under, below = match.groups()
  sign = "- " if bool(minus) != bool(under) else ""
  return f"{sign}{above} / {below}"


def _plain(text: str) -> Literal | None:
  return Literal(Fraction(text)) if _NUMBER.fullmatch(text) else None


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


class Unit(NamedTuple):
  """Powers of base units, and how many of them one is."""

  powers: frozenset[tuple[str, int]]
  factor: Fraction


_BASES = {
  "metre": "metre:1 meter:1 m:1 kilometre:1000 kilometer:1000 km:1000 "
  "centimetre:1/100 centimeter:1/100 cm:1/100 millimetre:1/1000 "
  "millimeter:1/1000 mm:1/1000 inch:127/5000 inche:127/5000 in:127/5000 "
  "foot:381/1250 feet:381/1250 ft:381/1250 yard:1143/1250 yd:1143/1250 "
  "mile:201168/125 mi:201168/125",
  "gram": "gram:1 g:1 kilogram:1000 kg:1000 milligram:1/1000 mg:1/1000 "
  "pound:45359237/100000 lb:45359237/100000 ounce:45359237/1600000 "
  "oz:45359237/1600000",
  "second": "second:1 sec:1 s:1 minute:60 min:60 hour:3600 hr:3600 h:3600 "
  "day:86400 week:604800",
  "year": "year:1 month:1/12",
  "litre": "litre:1 liter:1 l:1 L:1 millilitre:1/1000 milliliter:1/1000 "
  "ml:1/1000 mL:1/1000",
  "dollar": "dollar:1 cent:1/100",
  "degree": "degree:1",
  "radian": "radian:1",
  "unit": "unit:1",
}
_UNITS = {
  name: (base, Fraction(factor))
  for base, names in _BASES.items()
  for name, _, factor in (entry.partition(":") for entry in names.split())
} | {
  noun: (noun, Fraction(1))
  for noun in words(
    "euro mph people person point student way gallon quart pint cup ton acre "
    "joule newton watt volt ohm hertz pascal kelvin mole"
  )
}
_ATOM = re.compile(
  r"(?P<per>(?:/|per) )?(?:(?P<shape>square|sq|cubic|cu) )?"
  r"(?P<name>[A-Za-z]+)(?: \^ (?P<power>[1-9]))? "
)
_SHAPES = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}

_DEGREES = frozenset(["^ circ ", "degree ", "^ degree "])
DEGREE = Unit(frozenset({("degree", 1)}), Fraction(1))


def split_unit(given: Tokens) -> tuple[Tokens, Unit | None]:
  """The tokens before a unit, and the unit; None where there is none."""
  if len(given) > 1 and given[0].value == r"\$":
    return given[1:], _unit("dollar ")
  for index in range(max(1, len(given) - MAX_UNIT), len(given)):
    if given[index].value in ("{", "}"):
      continue
    tail = [t for t in given[index:] if t.value not in ("{", "}")]
    text = "".join(f"{_folded(token.value)} " for token in tail)
    if text in _DEGREES:
      text = "degree "
    elif any(token.kind in ("symbol", "command") for token in tail):
      continue  # `5 m` is a product
    unit = _unit(text)
    if unit is not None:
      return given[:index], unit
  return given, None


def _folded(word: str) -> str:
  """In lower case, unless it may be an abbreviation: `mg` is not `Mg`."""
  return word.lower() if len(word) > 2 else word


def _unit(text: str) -> Unit | None:
  """The unit that words write, each with a space behind it."""
  powers: Counter[str] = Counter()
  factor, position = Fraction(1), 0
  while position < len(text):
    atom = _ATOM.match(text, position)
    known = atom and _known(atom["name"])
    if not atom or not known or (atom["per"] and not powers):
      return None
    power = int(atom["power"] or _SHAPES.get(atom["shape"], 1))
    power = -power if atom["per"] else power
    powers[known[0]] += power
    factor *= known[1] ** power
    position = atom.end()
  return Unit(frozenset(powers.items()), factor) if powers else None


def _known(name: str) -> tuple[str, Fraction] | None:
  # `ms` is not the plural of `m`.
  singular = name.removesuffix("s") if len(name) > 2 else name
  return _UNITS.get(name) or _UNITS.get(singular)
