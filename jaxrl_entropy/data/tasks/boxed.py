"""Answers in a `\\boxed{}`, of models and of solutions in files."""

import re

_BOX_TOKEN = re.compile(r"(\\(?:boxed|fbox)\s*\{)|\\.|[{}]", re.DOTALL)


def last_boxed(text: str) -> str | None:
  """Content of the `\\boxed{}` that closes last; None where none is complete.

  A box inside a box belongs to the outer one; escaped braces (`\\{`) do not
  count. Linear in the text's length.
  """
  found: slice | None = None
  opened: list[int | None] = []  # where a box's content begins; None: a brace
  for token in _BOX_TOKEN.finditer(text):
    if token.group(1):
      opened.append(token.end())
    elif token.group() == "{":
      opened.append(None)
    elif token.group() == "}" and opened:
      start = opened.pop()
      if start is not None:
        found = slice(start, token.start())
  return None if found is None else text[found]
