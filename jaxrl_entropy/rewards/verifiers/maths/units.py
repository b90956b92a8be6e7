"""Reads units and nouns behind a number, and currencies in front of it."""

from collections import Counter
from fractions import Fraction
from itertools import accumulate
from typing import NamedTuple

from jaxrl_entropy.rewards.verifiers.maths.brackets import matching, nesting
from jaxrl_entropy.rewards.verifiers.maths.lexer import (
  FUNCTIONS,
  Token,
  Tokens,
  words,
)
from jaxrl_entropy.rewards.verifiers.maths.number_words import SMALL
from jaxrl_entropy.rewards.verifiers.maths.numbers import MULTIPLIERS
from jaxrl_entropy.rewards.verifiers.maths.rewrite import DEGREE as DEGREE_SIGN

MAX_UNIT = 16  # tokens


class Unit(NamedTuple):
  """A product of powers of base units.

  Attributes:
    powers: the base units with their powers.
    factor: how many of that product the unit is.
  """

  powers: frozenset[tuple[str, int]]
  factor: Fraction = Fraction(1)


# Names, then what one of them is: a factor and powers of base units.
_DEFINITIONS = """
metre meter m = 1 metre | inch inche in = 127/5000 metre
foot feet ft = 381/1250 metre | yard yd = 1143/1250 metre
mile mi = 201168/125 metre | angstrom AA = 1/10000000000 metre
gram g = 1 gram | pound lb lbs = 45359237/100000 gram
ounce oz = 45359237/1600000 gram | tonne = 1000000 gram
second sec s = 1 second | minute min = 60 second
hour hr h = 3600 second | day = 86400 second | week = 604800 second
year yr = 1 year | month = 1/12 year
litre liter l L = 1/1000 metre:3
dollar USD = 1 dollar | cent = 1/100 dollar | penny pennies = 1/100 dollar
pounds-sterling GBP = 1 pound-sterling | pence = 1/100 pound-sterling
euro EUR = 1 euro | rupee INR Rs = 1 rupee | yen JPY = 1 yen
yuan CNY RMB = 1 yuan | decibel dB = 1 decibel | hectare = 10000 metre:2
byte = 1 byte | KB = 1000 byte | MB = 1000000 byte | GB = 1000000000 byte
degree deg = 1 degree | radian rad = 1 radian | unit = 1 unit
celsius degree-C = 1 celsius | fahrenheit degree-F = 1 fahrenheit
kelvin = 1 kelvin | mole mol = 1 mole | ampere amp A = 1 ampere
newton N = 1000 gram metre second:-2 | dyne = 1/100 gram metre second:-2
joule J = 1000 gram metre:2 second:-2
erg = 1/10000 gram metre:2 second:-2
eV = 1602176634/10000000000000000000000000 gram metre:2 second:-2
calorie cal = 4184 gram metre:2 second:-2
watt W = 1000 gram metre:2 second:-3
atmosphere atm = 101325000 gram metre:-1 second:-2
pascal Pa = 1000 gram metre:-1 second:-2
volt V = 1000 gram metre:2 second:-3 ampere:-1
ohm Omega = 1000 gram metre:2 second:-3 ampere:-2
coulomb C = 1 ampere second | hertz Hz = 1 second:-1
tesla T = 1000 gram second:-2 ampere:-1
farad F = 1/1000 gram:-1 metre:-2 second:4 ampere:2
mph = 1397/3125 metre second:-1 | kph kmh = 5/18 metre second:-1
parsec pc = 1 parsec | AU = 1 AU | lightyear ly = 1 lightyear
"""
_PREFIXES = {
  "n": Fraction(1, 10**9), "µ": Fraction(1, 10**6),
  "m": Fraction(1, 1000), "c": Fraction(1, 100),
  "k": Fraction(1000), "M": Fraction(10**6), "G": Fraction(10**9),
  "nano": Fraction(1, 10**9), "micro": Fraction(1, 10**6),
  "milli": Fraction(1, 1000), "centi": Fraction(1, 100),
  "kilo": Fraction(1000), "mega": Fraction(10**6), "giga": Fraction(10**9),
}  # fmt: skip
_PREFIXED = words(
  "m g s L l N J W V A C Pa Hz eV mol pc cal T F metre meter gram litre liter "
  "newton joule watt volt ampere pascal hertz second calorie ohm Omega"
)


def _defined() -> dict[str, Unit]:
  units: dict[str, Unit] = {}
  for definition in _DEFINITIONS.replace("|", "\n").strip().splitlines():
    names, _, meaning = definition.partition("=")
    factor, *bases = meaning.split()
    powers = (base.partition(":") for base in bases)
    unit = Unit(
      frozenset((base, int(power or 1)) for base, _, power in powers),
      Fraction(factor),
    )
    units |= dict.fromkeys(names.split(), unit)
  for prefix, scale in _PREFIXES.items():
    for name in _PREFIXED:
      if name in units and (len(prefix) > 1) == (
        name.islower() and len(name) > 3
      ):
        unit = units[name]
        units.setdefault(prefix + name, Unit(unit.powers, scale * unit.factor))
  return units


_UNITS = _defined()
_SHAPES = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_CURRENCIES = {
  Token("mark", r"\$"): "dollar", Token("command", "pounds"): "pounds-sterling",
  Token("command", "euro"): "euro", Token("command", "rupee"): "rupee",
  Token("command", "yen"): "yen",
}  # fmt: skip
_CODES = words("USD GBP EUR INR Rs JPY CNY RMB")
_US_DOLLAR = (Token("word", "US"), Token("mark", r"\$"))
_POWER = Token("mark", "^")
_MICRO = Token("command", "mu")
_SIGNS = words("Omega AA")  # commands that stand for a unit

DEGREE, RADIAN = _UNITS["degree"], _UNITS["radian"]
_RAISED = {"squared": 2, "cubed": 3}

# Nouns that may be counted in the singular too.
_NOUNS = words(
  "people person point student way gallon quart pint cup ton acre solution "
  "root side edge vertex apple egg integer digit triangle number child man "
  "woman boy girl men women children mice geese teeth dice fish sheep deer "
  "radii coin marble card ball book car game mile-per-hour"
)
# Words that change a number, so that no noun phrase may contain them.
CHANGING = (
  words(
    "or and not no less fewer least most than about approximately nearly "
    "almost roughly over under between plus minus half halves third thirds "
    "quarter quarters fourths fifths sixths sevenths eighths ninths tenths "
    "hundredths thousandths tens hundreds thousands millions billions "
    "trillions dozens scores pairs couples twice thrice squared cubed "
    "factorial percentage percentages percents base mod modulo never always "
    "false wrong per is this was has does yes perhaps versus "
    "radians degrees"
  )
  | MULTIPLIERS.keys()
  | SMALL.keys()
)
_BEHIND = words(
  "old tall long wide high deep away left total apart ago later each remaining "
  "altogether"
)


def split_unit(tokens: Tokens) -> tuple[Tokens, Unit | None]:
  """Returns the tokens before a unit, and the unit; None where there is none.

  A degree sign that belongs to the argument of a function is no unit.
  """
  sign = tokens[:1] if tokens[0].value == "-" else ()
  currency, amount = _currency(tokens[len(sign) :])
  if currency and amount:
    rest = (*sign, *amount)
    per = (i for i, token in enumerate(rest) if token.value == "per")
    price = next(per, len(rest))
    unit = _unit((Token("prose", currency), *rest[price:]))
    return rest[:price], unit or _UNITS[currency]
  for index in range(max(1, len(tokens) - MAX_UNIT), len(tokens)):
    if tokens[index].value in ("{", "}") or tokens[index - 1].value == "per":
      continue
    if tokens[index] == DEGREE_SIGN and _has_function(tokens[:index]):
      break
    tail = _unbraced(tokens[index:])
    unit = _unit(tail) or _counted(tail)
    if unit is not None:
      return tokens[:index], unit
  return tokens, None


def _currency(tokens: Tokens) -> tuple[str, Tokens]:
  r"""Returns the currency in front of an amount, as in `\$7`, and the rest."""
  if tokens[:2] == _US_DOLLAR:
    return "dollar", tokens[2:]
  if tokens and tokens[0].is_word and tokens[0].value in _CODES:
    dotted = tokens[1:2] == (Token("mark", "."),)
    return tokens[0].value, tokens[1 + dotted :]
  return _CURRENCIES.get(tokens[0], "") if tokens else "", tokens[1:]


def _unbraced(tail: Tokens) -> Tokens:
  r"""Without braces; `\frac{\text{m}}{\text{s}}` as `m / (s)`."""
  if tail[0] == Token("command", "frac"):
    above = 2 + matching(tail[1:])
    slash, *brackets = (Token("mark", mark) for mark in "/()")
    tail = (*tail[1:above], slash, brackets[0], *tail[above:], brackets[1])
  tail = tuple(token for token in tail if token.value not in ("{", "}"))
  behind = (*tail[1:], None)
  return tuple(
    token
    for token, following in zip(tail, behind, strict=True)
    if not (token.value == "." and following == _POWER)
  )


def _has_function(tokens: Tokens) -> bool:
  r"""Whether a function's argument may reach to the end: `\cos 20`."""
  depths = accumulate(map(nesting, tokens))
  return any(
    depth == 0 and token.value in FUNCTIONS
    for token, depth in zip(tokens, depths, strict=True)
  )


def _unit(tail: Tokens) -> Unit | None:
  """Returns the unit that tokens write, as `kg m^2 / (s^2 K)`."""
  if len(tail) == 1 and tail[0] in _CURRENCIES:
    return _UNITS[_CURRENCIES[tail[0]]]
  atoms = _atoms(tail)
  powers: Counter[str] = Counter()
  factor = Fraction(1)
  for name, power in atoms or ():
    known = _known(name, power < 0)
    if known is None:
      return None
    for base, exponent in known.powers:
      powers[base] += exponent * power
    factor *= known.factor**power
  if not atoms or tail[0].value in ("/", "per"):
    return None
  return Unit(frozenset((b, p) for b, p in powers.items() if p), factor)


def _atoms(tail: Tokens) -> list[tuple[str, int]] | None:
  """Returns the names of units with their powers."""
  atoms: list[tuple[str, int]] = []
  sign = shape = 1
  index, grouped = 0, False
  while index < len(tail):
    token = tail[index]
    index += 1
    if token.value in ("/", "per"):
      sign = -1
    elif token.value in ("(", ")"):
      grouped = token.value == "("
      if grouped and sign > 0:
        return None
    elif token.value in ("cdot", "*", "."):
      continue
    elif token.is_word and token.value in _SHAPES:
      shape = _SHAPES[token.value]
    else:
      name, index = _name(tail, index - 1)
      power, index = _power(tail, index)
      if name is None or power is None:
        return None
      atoms.append((name, sign * shape * power))
      sign, shape = (sign if grouped else 1), 1
  return atoms


def _name(tail: Tokens, index: int) -> tuple[str | None, int]:
  """Returns the name of a unit at an index, and the index behind it."""
  token = tail[index]
  if token == DEGREE_SIGN:
    scale = tail[index + 1].value if len(tail) > index + 1 else ""
    if scale in ("C", "F"):
      return f"degree-{scale}", index + 2
    return "degree", index + 1
  following = tail[index + 1].value if len(tail) > index + 1 else ""
  if token.value.lower() in ("degree", "degrees") and following[1:]:
    return f"degree-{following[0].upper()}", index + 2  # Celsius, Fahrenheit
  if token.value in _PREFIXES and following in _SIGNS:
    return token.value + following, index + 2
  if token == _MICRO and len(tail) > index + 1:
    return "µ" + tail[index + 1].value, index + 2
  if token.is_word or (token.kind == "command" and token.value in _SIGNS):
    return token.value, index + 1
  return None, index + 1  # `5 m` is a product


def _power(tail: Tokens, index: int) -> tuple[int | None, int]:
  """Returns the power at an index, 1 without one, and the index behind it."""
  if index < len(tail) and tail[index].value in _RAISED:
    return _RAISED[tail[index].value], index + 1
  if index == len(tail) or tail[index].value != "^":
    return 1, index
  negative = tail[index + 1 : index + 2] == (Token("mark", "-"),)
  digits = tail[index + 1 + negative : index + 2 + negative]
  if not digits or digits[0].value not in "123456789":
    return None, index
  power = int(digits[0].value)
  return -power if negative else power, index + 2 + negative


def _known(name: str, inverse: bool) -> Unit | None:
  """Returns a unit by its name; abbreviations are told apart by their case."""
  if inverse and name == "K":
    return _UNITS["kelvin"]  # elsewhere it may be a thousand
  exact = _UNITS.get(name)
  name = name.lower() if len(name) > 2 else name
  # `ms` is not the plural of `m`.
  singular = name.removesuffix("s") if len(name) > 2 else name
  unit = exact or _UNITS.get(name) or _UNITS.get(singular)
  if unit is None and (is_noun(name) or (inverse and len(name) > 2)):
    return Unit(frozenset({(singular, 1)}))
  return unit


def _counted(tail: Tokens) -> Unit | None:
  """Returns the last noun of a phrase such as `different ways`."""
  if not all(token.is_word for token in tail):
    return None
  said = [token.value.lower() for token in tail]
  while len(said) > 1 and said[-1] in _BEHIND:
    said.pop()
  if "of" in said[1:]:
    said = said[: said.index("of")]
  if said[:2] == ["of", "the"] and len(said) > 2:
    said = [*said[2:-1], said[-1].removesuffix("s") + "s"]
  if said[-2:] == ["ordered", "pairs"]:
    return Unit(frozenset({("pair", 1)}))
  if not CHANGING.isdisjoint(said) or len(said) > 4 or len(said[-1]) < 3:
    return None
  return _known(said[-1], inverse=False)


def is_noun(word: str) -> bool:
  """Returns whether a word can be counted: a plural, or a common noun."""
  if word in _NOUNS or word.removesuffix("s") in _NOUNS:
    return True
  return (
    len(word) > 3
    and word.isalpha()
    and word.islower()
    and word.endswith("s")
    and not word.endswith(("ss", "us", "is"))
    and word not in CHANGING
  )
