"""The last complete `\\boxed{}` of a response."""

import re

_TOKEN = re.compile(r"(\\f?boxed\s*\{)|\\.|[{}]", re.DOTALL)


def last_boxed(text: str) -> str | None:
  """Content of the box that closes last; None where no box is complete.

  A box inside a box belongs to the outer one; escaped braces (`\\{`) do not
  count. One pass, linear in the length of the text.
  """
  found: str | None = None
  opened: list[int | None] = []  # where a box's content begins; None: a brace
  for token in _TOKEN.finditer(text):
    if token.group(1):
      opened.append(token.end())
    elif token.group() == "{":
      opened.append(None)
    elif token.group() == "}" and opened:
      start = opened.pop()
      if start is not None:
        found = text[start : token.start()]
  return found
