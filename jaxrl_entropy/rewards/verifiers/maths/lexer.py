"""Reads LaTeX answers as tokens, in one spelling for each notation.

Notation that is not listed here makes an answer unreadable. An unreadable
answer is wrong unless it is the reference's own text.
"""

from collections.abc import Callable, Iterator
import re
from string import ascii_letters
from typing import NamedTuple

from jaxrl_entropy.rewards.verifiers.maths.characters import to_latex

MAX_LENGTH = 2000  # characters: longer than any answer that is one


class UnreadableError(ValueError):
  """A text that is not an answer in the notation that is understood."""


class Token(NamedTuple):
  r"""A token.

  Attributes:
    kind: number, symbol, word, prose (a word in `\text`), command,
      environment or mark.
    value: how it is written.
  """

  kind: str
  value: str

  def __str__(self) -> str:
    return "\\" + self.value if self.kind == "command" else self.value

  @property
  def is_word(self) -> bool:
    return self.kind in ("word", "prose")


Tokens = tuple[Token, ...]


def words(text: str) -> frozenset[str]:
  """Returns the words of a text as a set."""
  return frozenset(text.split())


GREEK = words(
  "alpha beta gamma delta epsilon theta lambda mu phi rho sigma tau omega "
  "varepsilon varphi eta kappa xi zeta psi chi nu pi"
)
FUNCTIONS = words(
  "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp"
)

# Commands that change nothing but looks.
_DROPPED = words(
  "left right big Big bigg Bigg bigl bigr Bigl Bigr displaystyle textstyle "
  "scriptstyle limits nolimits quad qquad hline middle mathbf mathit mathsf "
  "mathtt mathnormal boldsymbol bm pmb ensuremath emph underline "
  "bf it rm sf tt cal bfseries normalfont tiny scriptsize small normalsize "
  "large Large LARGE huge Huge thinspace medspace enspace"
)
UNIT_VECTORS = ("vector-i", "vector-j", "vector-k")
_PLAIN_COMMANDS = (FUNCTIONS - {"sec"}) | words(
  "sqrt pi gcd lcm infty infinity"
)  # that may lack their backslash
_FOREIGN = {"tg": "tan", "ctg": "cot", "arctg": "arctan", "cosec": "csc"}
_SAME = _FOREIGN | {
  "infinity": "infty", "lg": "log",
  "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "leq": "le",
  "leqslant": "le", "leqq": "le", "geq": "ge", "geqslant": "ge", "geqq": "ge",
  "neq": "ne", "varnothing": "emptyset", "ast": "cdot", "dbinom": "binom",
  "tbinom": "binom", "simeq": "approx", "doteq": "approx", "thickapprox":
  "approx", "R": "mathbbR", "reals": "mathbbR", "Re": "mathbbR",
  "backslash": "setminus", "pound": "pounds", "mathellipsis": "ldots",
  "dots": "ldots", "bigcup": "cup", "bigcap": "cap",
}  # fmt: skip
_MARKS = {
  "lt": "<", "gt": ">", "lbrace": r"\{", "rbrace": r"\}", "lbrack": "[",
  "rbrack": "]", "lvert": "|", "rvert": "|", "vert": "|", "mid": "|",
  "colon": ":", "langle": "(", "rangle": ")", "div": "/", "lparen": "(",
  "rparen": ")", "cr": r"\\", "lVert": "|", "rVert": "|", "Vert": "|",
}  # fmt: skip

_CONNECTIVES = {"lor": "or", "vee": "or", "land": "and", "wedge": "and"}

_GAP = r"\\[,;:!>\ ]|~|\ "
_DOT = r"\\dot\s*(?:\{\d\}|\d)"
_ORDINAL = r"(?:st|nd|rd|th)(?![A-Za-z])"
# Digits that begin again before the dots: `0.1666...`, `0.4545\ldots`.
_CYCLE = r"(?:(?P<digit>\d)(?P=digit){2,}|(?P<cycle>\d{2,16}?)(?P=cycle)+)"
_PATTERN = re.compile(
  rf"""
  (?P<kelvin>(?:\s|~|\\[,;:\ ])+\\(?:text|mathrm)\s*\{{\s*K\s*\}}
    |\\(?:text|mathrm)\s*\{{(?:\s|~|\\[,;\ ])+K\s*\}})
  |(?P<space>\s+|\\(?:left|right)\s*\.|\\[,;:!>\ ()\[\]]|~|\$
    |\\hspace\*?\{{[^{{}}]*\}}
    |\\(?:text)?color\s*(?:\[[^\]]*\])?\s*\{{[^{{}}]*\}})
  |(?P<text>\\(?:text(?:bf|it|rm|normal|tt|sf|sc|up)?|mathrm|mbox|hbox
    |operatorname)\*?\s*\{{(?P<content>(?:[^{{}}]|\{{[^{{}}]*\}})*)\}})
  |(?P<roman>\{{\s*\\(?:rm|sf|bf|tt)\s+(?P<upright>(?:[A-Za-z~\s]|\\[,\ ])+)\}})
  |(?P<vector>(?:\\(?:mathbf|boldsymbol|bm|hat|vec|widehat)\s*\{{\s*){{1,2}}
    \\?(?P<axis>[ijk])(?:math)?\s*\}}{{1,2}})
  |(?P<bold>\\(?:mathbf|boldsymbol|bm|mathit)\s*\{{\s*(?P<letter>[A-Za-z])\s*\}})
  |(?P<field>\\(?:mathbb|Bbb|mathds)\s*(?:\{{\s*[A-Z]\s*\}}|[A-Z]))
  |(?P<repeating>\d*\.\d*(?:\\(?:overline|bar)\s*(?:\{{\d+\}}|\d)
    |{_DOT}(?:\d*{_DOT})?|(?<=\d)\(\d+\)|(?<=\d\.)\(\d+\)))
  |(?P<continued>\d{{0,16}}\.\d{{0,16}}?{_CYCLE}\s*(?:\\[lc]?dots(?![A-Za-z])|\.\.\.))
  |(?P<ordinal>\d+(?:\s*\^?\s*(?:{_ORDINAL}|\{{\s*(?:{_ORDINAL}|\\(?:text|mathrm|rm)
    \s*\{{?\s*{_ORDINAL}\s*\}}?)\s*\}}|\\(?:text|mathrm)\s*\{{\s*{_ORDINAL}\s*\}})))
  |(?P<grouped>(?<![_^])[1-9]\d{{0,2}}
    (?:(?:(?:\\!)?,(?:\\!\s*)?|\{{(?:,|{_GAP})\}}|{_GAP})\d{{3}}(?!\d))+
    (?!\s*/)(?:\.\d+)?)
  |(?P<scientific>\d+(?:\.\d+)?\s*\\(?:text|mathrm)\{{[eE]-?\}}\s*[-+]?\d+|\d+\.\d+[eE][-+]?\d+|\d+[eE]\d+|\d+e-0\d
    |\d+e\+(?:1[6-9]|[2-9]\d|\d{{3}}))
  |(?P<comma>\d+\{{,\}}\d+)
  |(?P<number>\d+(?:\.\d+)?|\.\d+)
  |(?P<environment>\\begin\s*\{{array\}}\s*(?:\{{[^{{}}]*\}})?
    |\\(?:begin|end)\s*\{{[A-Za-z]+\}})
  |(?P<command>\\[A-Za-z]+)
  |(?P<row>\\\\(?:\s*\[\s*-?[\d.]+\s*[a-z]+\s*\])?)
  |(?P<colon>\{{:\}})
  |(?P<power>\*\*)
  |(?P<norm>\\\|)
  |(?P<mark>\\[{{}}%$]|[-+*/^_=<>()\[\]{{}}|!,;:&'.%])
  |(?P<letters>[A-Za-z]+)
  """,
  re.VERBOSE | re.ASCII,
)
_EXPONENT = re.compile(r"\s*(?:\\[a-z]+\{[eE](-?)\}|[eE])\s*\+?")
_COMMA = re.compile(r"(?<=\d),")
_NESTING = {"(": 1, "[": 1, r"\{": 1, ")": -1, "]": -1, r"\}": -1}

# Runs of two letters that are not a product of two symbols.
LETTER_PAIRS = words("cm mm km kg mg ft yd lb oz hr mi ml")  # may be products
_SHORT_WORDS = LETTER_PAIRS | words("or no No in is of to Rs sq")
_SENTENCE = frozenset(f"{ascii_letters} ,.")


def tokens(text: str, grouped: bool = True) -> list[Token]:
  """Splits an answer into tokens.

  Args:
    text: the answer.
    grouped: whether `101,110` is one number, or else a list of two.

  Raises:
    UnreadableError: the text is too long, or has a sign that no answer has.
  """
  if len(text) > MAX_LENGTH:
    raise UnreadableError("too long")
  letters = "word" if _is_sentence(text) else "letters"
  return list(_scan(to_latex(text), letters, grouped))


def _is_sentence(text: str) -> bool:
  """Whether this is text such as `cannot be found`, and no product `be`."""
  said = set(re.findall(r"[A-Za-z]+", text))
  return (
    _SENTENCE.issuperset(text)
    and len(said) > 1
    and any(len(word) > 2 for word in said - {"and"})
    and all(len(word) > 1 or word in "aA" for word in said)
  )


def _scan(
  text: str, letters: str = "letters", grouped: bool = True
) -> Iterator[Token]:
  """Yields the tokens of a text; runs of letters are of the kind `letters`."""
  position = depth = 0
  while position < len(text):
    match = _PATTERN.match(text, position)
    if match is None:
      raise UnreadableError(f"cannot read {text[position : position + 20]!r}")
    kind, value, position = str(match.lastgroup), match.group(), match.end()
    if kind == "letters" and value in _FOREIGN and letters == "prose":
      kind, value = "command", "\\" + value
    if kind == "letters" and value not in _PLAIN_COMMANDS:
      kind = letters
    if kind == "grouped" and (depth or not grouped) and _COMMA.search(value):
      # Inside brackets a comma separates members instead.
      value = re.split(r"[^\d]", value, maxsplit=1)[0]
      kind, position = "number", match.start() + len(value)
    for token in _read(kind, value, match):
      depth += _NESTING.get(token.value, 0)
      yield token


def _read(kind: str, value: str, match: re.Match[str]) -> Iterator[Token]:
  if kind == "text":
    yield from _scan(match["content"], letters="prose")
  elif kind == "roman":
    yield from _scan(match["upright"], letters="prose")
  elif kind in _NUMBERS:
    yield Token("number", _NUMBERS[kind](value))
  elif kind == "scientific":
    scale, minus, power = _EXPONENT.split(value)
    yield from _scan(rf"{scale}\times 10^{{{minus or ''}{power}}}")
  elif kind == "command":
    yield from _read_command(value[1:])
  elif kind == "letters":
    yield from _read_letters(value)
  elif kind == "vector":
    yield Token("symbol", "vector-" + match["axis"])
  elif kind == "bold":
    yield Token("symbol", match["letter"])
  elif kind == "field":
    yield Token("command", "mathbb" + value.rstrip(" }")[-1])
  elif kind == "kelvin":
    yield Token("prose", kind)  # `12\text{K}` may be twelve thousand
  elif kind in _SIGNS:
    yield Token("mark", _SIGNS[kind])
  elif kind == "environment":
    yield Token(kind, re.sub(r"\s", "", value.partition("}")[0]) + "}")
  elif kind != "space":
    yield Token(kind, value)


def _overlined(value: str) -> str:
  r"""Returns a repeating decimal as `0.1\overline{6}`."""
  start, cycle = re.split(r"(?=\\|\()", value, maxsplit=1)
  return rf"{start}\overline{{{re.sub(r'[^0-9]', '', cycle)}}}"


def _continued(value: str) -> str:
  r"""Returns `0.1666...` as `0.1\overline{6}`."""
  digits = re.split(r"\s|\\|\.\.\.", value, maxsplit=1)[0]
  return re.sub(r"(\d+?)\1+$", r"\\overline{\1}", digits)


_NUMBERS: dict[str, Callable[[str], str]] = {
  "grouped": lambda value: re.sub(r"[^\d.]", "", value),
  "ordinal": lambda value: re.split(r"\D", value, maxsplit=1)[0],
  "comma": lambda value: value.replace("{,}", "."),
  "continued": _continued,
  "repeating": _overlined,
}
_SIGNS = {"norm": "|", "colon": ":", "row": r"\\", "power": "^"}


def _read_command(name: str) -> Iterator[Token]:
  if name in _CONNECTIVES:
    yield Token("word", _CONNECTIVES[name])
  elif name in _MARKS:
    yield Token("mark", _MARKS[name])
  elif name not in _DROPPED:
    yield Token("command", _SAME.get(name, name))


def _read_letters(letters: str) -> Iterator[Token]:
  if letters in _PLAIN_COMMANDS:
    yield Token("command", _SAME.get(letters, letters))
    return
  # `AB` names something, a side or a choice; `ab` is a product.
  name = len(letters) == 2 and letters.isupper()
  if name or len(letters) > 2 or letters in _SHORT_WORDS:
    yield Token("word", letters)
  else:
    yield from (Token("symbol", letter) for letter in letters)
