"""Numbers in words: `twenty-seven`, `one hundred and five`, `two thirds`."""

from fractions import Fraction

_NAMES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen
fourteen fifteen sixteen seventeen eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SMALL = {word: number for number, word in enumerate(_NAMES.split())} | {
  word: 20 + 10 * index for index, word in enumerate(_TENS.split())
}
_LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_ORDINALS = """
zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh
twelfth
"""
_NTH = {word: number for number, word in enumerate(_ORDINALS.split())}
_PARTS = {
  "half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5,
  "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
}  # fmt: skip


def number_in_words(text: str) -> Fraction | None:
  """Returns the number that words say; None for any other text.

  Args:
    text: words with spaces between them; hyphens may be words of their own.
  """
  said = [word for word in text.lower().split() if word != "-"]
  if len(said) == 1 and said[0] in _NTH:
    return Fraction(_NTH[said[0]])
  if said[-1:] and _singular(said[-1]) in _PARTS:
    start = len(said) - said[::-1].index("and") if "and" in said else 0
    whole = _integer(said[: start - 1]) if start else 0
    fraction = _part(said[start:])
    return None if whole is None or fraction is None else whole + fraction
  whole = _integer(said)
  return None if whole is None else Fraction(whole)


def _part(said: list[str]) -> Fraction | None:
  """Returns a fraction: `three quarters`, `a half`."""
  *above, below = said
  number = 1 if above in (["a"], ["an"]) else _integer(above)
  return None if number is None else Fraction(number, _PARTS[_singular(below)])


def _singular(word: str) -> str:
  return word if word in _PARTS else word.removesuffix("s")


def _integer(said: list[str]) -> int | None:
  """Adds up groups of three digits."""
  total = group = 0
  last = 100  # a word of this size or more may not follow
  if not said or said[0] not in SMALL:
    return None
  for word in said:
    if word in SMALL and SMALL[word] < last:
      group += SMALL[word]
      last = 10 if SMALL[word] >= 20 else 0
    elif word == "hundred" and 0 < group < 10:
      group, last = 100 * group, 100
    elif word in _LARGE and group:
      total, group, last = total + group * _LARGE[word], 0, 100
    elif word == "and" and last == 100:
      continue  # `one hundred and five`
    else:
      return None
  return total + group
