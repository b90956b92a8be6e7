"""LaTeX answers as tokens, in one spelling for what LaTeX spells many ways.

Only what is listed here can be part of an answer. Anything else makes it
unreadable, and an unreadable answer is wrong unless it is the reference's own
text.
"""

from collections.abc import Iterator
import re
from typing import NamedTuple

MAX_LENGTH = 2000  # characters: longer than any answer that is one


class UnreadableError(ValueError):
  """A text that is not an answer in the notation that is understood."""


class Token(NamedTuple):
  """A token.

  Attributes:
    kind: number, symbol, word, prose (a word in `\\text`), command or mark.
    value: how it is written.
  """

  kind: str
  value: str

  def __str__(self) -> str:
    return "\\" + self.value if self.kind == "command" else self.value

  @property
  def is_word(self) -> bool:
    return self.kind in ("word", "prose")


def words(text: str) -> frozenset[str]:
  """The words of a text, as a set."""
  return frozenset(text.split())


GREEK = words(
  "alpha beta gamma delta epsilon theta lambda mu phi rho sigma tau omega "
  "varepsilon varphi eta kappa xi zeta psi chi nu pi"
)
FUNCTIONS = words(
  "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp"
)

_CHARACTERS = str.maketrans({
  "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "÷": "/",
  "π": r"\pi ", "∞": r"\infty ", "√": r"\sqrt ", "≤": r"\le ", "≥": r"\ge ",
  "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ",
  "±": r"\pm ", "°": r"^\circ ", "²": "^2 ", "³": "^3 ", "½": r"\frac{1}{2}",
  "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u3000": " ",
})  # fmt: skip

# Commands that change nothing but looks.
_DROPPED = words(
  "left right big Big bigg Bigg bigl bigr Bigl Bigr displaystyle textstyle "
  "limits nolimits quad qquad hline middle mathbf mathit mathsf boldsymbol bm "
  "ensuremath emph"
)
_SAME = {
  "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "leq": "le",
  "leqslant": "le", "geq": "ge", "geqslant": "ge", "neq": "ne",
  "varnothing": "emptyset", "ast": "cdot",
}  # fmt: skip
_MARKS = {
  "lt": "<", "gt": ">", "lbrace": r"\{", "rbrace": r"\}", "lbrack": "[",
  "rbrack": "]", "lvert": "|", "rvert": "|", "vert": "|", "mid": "|",
}  # fmt: skip

_DIGITS = r"\d+(?:\.\d+)?|\.\d+"
_PATTERN = re.compile(
  rf"""
  (?P<space>\s+|\\[,;:!>\ ]|~|\$)
  |(?P<text>\\(?:text(?:bf|it|rm|normal)?|mathrm|mbox|hbox|operatorname)
    \*?\s*\{{(?P<content>[^{{}}]*)\}})
  |(?P<repeating>\d*\.\d*\\(?:overline|bar)\s*\{{\d+\}})
  |(?P<grouped>[1-9]\d{{0,2}}
    (?:(?:,(?:\\!)?|\{{,\}}|\\,)\d{{3}}(?!\d))+(?:\.\d+)?)
  |(?P<scientific>\d+\.\d+[eE][-+]?\d+|\d+[eE]\d+)
  |(?P<number>{_DIGITS})
  |(?P<environment>\\(?:begin|end)\s*\{{[a-z]+\}})
  |(?P<command>\\[A-Za-z]+)
  |(?P<mark>\\[{{}}%$\\]|[-+*/^_=<>()\[\]{{}}|!,;:&'.%])
  |(?P<letters>[A-Za-z]+)
  """,
  re.VERBOSE | re.ASCII,
)
# TeX takes one digit where an argument has no braces.
_BARE = re.compile(
  r"\\(?:d|t|c)?frac\s*(\d|\{[^{}]*\})\s*(\d|(?=\{))", re.ASCII
)
_BARE_ROOT = re.compile(r"\\sqrt\s*(\d)", re.ASCII)
_NESTING = {"(": 1, "[": 1, r"\{": 1, ")": -1, "]": -1, r"\}": -1}

# Runs of two letters that are not a product of two symbols.
_SHORT_WORDS = words("cm mm km kg mg ft yd lb oz hr mi ml or no in")


def tokens(text: str) -> list[Token]:
  """Tokens of an answer.

  Raises:
    UnreadableError: the text is too long, or has a sign that no answer has.
  """
  if len(text) > MAX_LENGTH:
    raise UnreadableError("too long")
  text = _BARE.sub(_braced, text.translate(_CHARACTERS))
  return list(_scan(_BARE_ROOT.sub(r"\\sqrt{\1}", text)))


def _braced(match: re.Match[str]) -> str:
  """`\\frac12` as `\\frac{1}{2}`."""
  arguments = (f"{{{arg.strip('{}')}}}" for arg in match.groups() if arg)
  return r"\frac" + "".join(arguments)


def _scan(text: str, letters: str = "letters") -> Iterator[Token]:
  """Tokens of a text; runs of letters are read as `letters` says."""
  position = depth = 0
  while position < len(text):
    match = _PATTERN.match(text, position)
    if match is None:
      raise UnreadableError(f"cannot read {text[position]!r}")
    kind, value, position = str(match.lastgroup), match.group(), match.end()
    kind = letters if kind == "letters" else kind
    if kind == "grouped" and depth:
      # Inside brackets a comma separates members instead.
      value = value.partition(",")[0].partition("{")[0].partition("\\")[0]
      kind, position = "number", match.start() + len(value)
    for token in _read(kind, value, match.group("content") or ""):
      depth += _NESTING.get(token.value, 0)
      yield token


def _read(kind: str, value: str, content: str) -> Iterator[Token]:
  if kind == "text":
    yield from _scan(content, letters="prose")
  elif kind == "grouped":
    yield Token("number", re.sub(r"[^\d.]", "", value))
  elif kind == "scientific":
    scale, power = re.split("[eE][+]?", value)
    yield from _scan(rf"{scale}\times 10^{{{power}}}")
  elif kind == "command":
    name = value[1:]
    if name in _MARKS:
      yield Token("mark", _MARKS[name])
    elif name not in _DROPPED:
      yield Token("command", _SAME.get(name, name))
  elif kind == "letters":
    yield from _read_letters(value)
  elif kind != "space":
    yield Token(kind, re.sub(r"\s", "", value))


def _read_letters(letters: str) -> Iterator[Token]:
  # `AB` names something, a side or a choice; `ab` is a product.
  name = len(letters) == 2 and letters.isupper()
  if name or len(letters) > 2 or letters in _SHORT_WORDS:
    yield Token("word", letters)
  else:
    yield from (Token("symbol", letter) for letter in letters)
