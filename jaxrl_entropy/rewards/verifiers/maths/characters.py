"""Translation of Unicode characters into LaTeX and ASCII."""

from itertools import groupby
import re
import unicodedata

_GREEK = {
  character: unicodedata.name(character).rsplit(" ", 1)[-1]
  for start, end in (("α", "ω"), ("Γ", "Ω"))
  for character in map(chr, range(ord(start), ord(end) + 1))
  if unicodedata.name(character, "").startswith("GREEK")
}
# Capitals that look like Latin letters have no LaTeX command.
_CAPITALS = frozenset("ΓΔΘΛΞΠΣΦΨΩ")
_COMMANDS = {
  character: name.lower() if character.islower() else name.capitalize()
  for character, name in _GREEK.items()
  if character.islower() or character in _CAPITALS
} | {
  "λ": "lambda", "Λ": "Lambda", "ϵ": "epsilon", "ϕ": "phi", "ϑ": "theta",
  "ℏ": "hbar", "ℓ": "ell", "×": "times", "✕": "times", "·": "cdot",
  "⋅": "cdot", "∙": "cdot", "•": "cdot", "∞": "infty", "≤": "le", "⩽": "le",
  "≥": "ge", "⩾": "ge", "≠": "ne", "∪": "cup", "∩": "cap", "∈": "in",
  "∅": "emptyset", "±": "pm", "∓": "mp", "≈": "approx", "≡": "equiv",
  "∠": "angle", "△": "triangle", "∖": "setminus", "⟨": "langle",
  "⟩": "rangle", "→": "to", "£": "pounds", "∘": "circ", "∨": "lor",
  "∧": "land", "⌊": "lfloor", "⌋": "rfloor", "⌈": "lceil", "⌉": "rceil",
  "⋯": "ldots", "∑": "sum", "∏": "prod", "∫": "int",
}  # fmt: skip
_OTHERS = {
  "−": "-", "–": "-", "‐": "-", "‑": "-", "÷": "/", "⁄": "/", "∕": "/",
  "∗": "*", "′": "'", "’": "'", "“": '"', "”": '"', "∣": "|", "∶": ":",
  "、": ",", "。": ".", "∆": r"\Delta ", "‒": "-",
  "¢": r"\text{ cents}", "€": r"\euro ",
  "₹": r"\rupee ", "¥": r"\yen ",
  "√": r"\sqrt ", "∛": r"\sqrt[3] ", "º": r"^\circ ", "°": r"^\circ ",
  "˚": r"^\circ ", "℃": r"^\circ\text{C}", "℉": r"^\circ\text{F}",
  "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}",
  "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "Ω": r"\Omega ", "µ": r"\mu ",
  "Å": r"\AA ",
}  # fmt: skip
# Characters without width that change no meaning; bidirectional overrides do.
_INVISIBLE = dict.fromkeys(
  map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f"
           "\u2061\u2062\u2063\u2064\ufe0e\ufe0f")
)  # fmt: skip
_TABLE = (
  {ord(character): f"\\{name} " for character, name in _COMMANDS.items()}
  | {ord(character): latex for character, latex in _OTHERS.items()}
  | _INVISIBLE
)
_ROOT = re.compile(r"√\s*(\d+(?:\.\d+)?)", re.ASCII)
_OVERLINED = re.compile("((?:[0-9][\u0304\u0305])+)")
_DOTTED = re.compile("([0-9])\u0307")
_SCRIPTS = {"<super>": "^", "<sub>": "_"}


def to_latex(text: str) -> str:
  r"""Rewrites the Unicode characters of a text as LaTeX.

  Superscripts become `^{..}`, vulgar fractions `\frac{..}{..}`, full-width
  and mathematical letters and digits ASCII; characters without width vanish.
  Any other character is left as it is.
  """
  if text.isascii():
    return text
  text = _ROOT.sub(r"\\sqrt{\1}", text)
  text = _OVERLINED.sub(lambda run: rf"\overline{{{run[0][::2]}}}", text)
  text = _DOTTED.sub(r"\\dot{\1}", text)
  return "".join(
    _written(form, "".join(run)) for form, run in groupby(text, _form)
  )


def _form(character: str) -> str:
  """Returns `<super>`, `<sub>` or `<fraction>`, or nothing for the others."""
  if character.isascii() or ord(character) in _TABLE:
    return ""
  form = unicodedata.decomposition(character).partition(" ")[0]
  return form if form in (*_SCRIPTS, "<fraction>") else ""


def _written(form: str, run: str) -> str:
  """Returns a run of characters of one form as LaTeX."""
  if not form:
    plain = unicodedata.normalize("NFKC", run.translate(_TABLE))
    return plain.translate(_TABLE)
  plain = unicodedata.normalize("NFKC", run).replace("−", "-")
  if form == "<fraction>":
    above, _, below = plain.partition("⁄")
    return f"\\frac{{{above}}}{{{below}}}"
  return f"{_SCRIPTS[form]}{{{plain}}}"
