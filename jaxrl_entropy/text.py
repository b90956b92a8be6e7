"""Text of models and data sets, made safe to show."""

import html
import unicodedata

# Categories of characters that move the cursor, recolor the terminal, or
# reverse the direction of what follows; and halves of surrogate pairs.
_HIDDEN = frozenset(["Cc", "Cf", "Cs", "Co", "Zl", "Zp"])
_KEPT = frozenset("\n\t")


def printable(text: str) -> str:
  """Returns the text without control characters, for a terminal or a log.

  Each is replaced by U+FFFD; new lines and tabs stay.
  """
  return "".join(
    char
    if char in _KEPT or unicodedata.category(char) not in _HIDDEN
    else "\ufffd"
    for char in text
  )


def to_html(text: str) -> str:
  """Returns HTML that shows the text, in an element or a quoted attribute."""
  return html.escape(printable(text), quote=True)
