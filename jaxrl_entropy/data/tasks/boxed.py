r"""Answers in a `\boxed{}`, of responses and of solutions in files."""

import re

_BOX_TOKEN = re.compile(r"(\\(?:boxed|fbox)\s*\{)|\\.|[{}]", re.DOTALL)


def last_boxed(text: str) -> str | None:
  r"""Returns the content of the `\boxed{}` that closes last, or None.

  A box inside a box belongs to the outer one; escaped braces (`\{`) do not
  count. Takes time linear in the length of the text.
  """
  content: slice | None = None
  opened: list[int | None] = []  # where a box's content begins; None: a brace
  for token in _BOX_TOKEN.finditer(text):
    if token.group(1):
      opened.append(token.end())
    elif token.group() == "{":
      opened.append(None)
    elif token.group() == "}" and opened:
      start = opened.pop()
      if start is not None:
        content = slice(start, token.start())
  return None if content is None else text[content]
