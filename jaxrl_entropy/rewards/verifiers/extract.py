"""Extracts the answer of a response. All functions run in linear time."""

import re
from typing import NamedTuple

THINK = "<think>"

_PYTHON = re.compile(r"(?:py|python)[\d.]*|pypy3?")
_LANGUAGE = re.compile(r"\s*\{?\s*\.?([\w+#.-]*)")
_LIST_MARKER = re.compile(r"\s*(?:(?:[-*+]|\d{1,9}[.)])\s+)*")
_NESTED = 4  # a fence indented by so much more belongs to the block's content


def last_tagged(text: str) -> str | None:
  """Returns the content of the last complete `<answer>...</answer>`."""
  before, closed, _ = text.rpartition("</answer>")
  _, opened, content = before.rpartition("<answer>")
  return content.strip() if opened and closed else None


def after_thinking(text: str) -> str:
  """Returns what follows the last `</think>`; "" while thinking goes on."""
  _, closed, after = text.rpartition("</think>")
  if THINK in after:
    return ""
  return after if closed else text


def opened_thinking(prompt: str) -> str:
  """Returns the `<think>` that a prompt ends with, as some templates do, or "".

  With it in front, a response has its thinking part between two tags again.
  """
  return THINK if prompt.rstrip().endswith(THINK) else ""


def last_code_block(text: str) -> str | None:
  """Returns the last complete fenced block of Python, or None.

  A block marked as Python is preferred over later ones without a language,
  which may be sample output. Fences are those of CommonMark, which may stand in
  list items, and may follow text on their line (before) or code (after).
  Blocks in the thinking part, blocks of other languages and blocks that never
  close do not count.
  """
  blocks: dict[str, str] = {}
  fence: _Fence | None = None
  lines: list[str] = []
  for line in after_thinking(text).splitlines(keepends=True):
    if fence is None:
      fence, lines = _opening(line), []
      continue
    code = _before_closing(line, fence)
    if code is None:
      lines.append(line)
      continue
    blocks[fence.language] = _unindented([*lines, code], fence.indent)
    fence = None
  return blocks.get("python", blocks.get(""))


class _Fence(NamedTuple):
  """The opening line of a block: "python", "other" or "" is its language."""

  indent: int
  mark: str
  language: str


def _opening(line: str) -> _Fence | None:
  """The fence that a line opens, if it does."""
  for mark in "```", "~~~":
    before, fence, info = line.rstrip().rpartition(mark)
    lead = before.rstrip(mark[0])
    if not fence or mark[0] in lead:
      continue
    language = _language(info)
    if _LIST_MARKER.fullmatch(lead):
      return _Fence(len(lead), mark + before[len(lead) :], language)
    if language == "python":  # after prose
      return _Fence(0, mark + before[len(lead) :], language)
  return None


def _language(info: str) -> str:
  match = _LANGUAGE.match(info)
  name = match.group(1).lower() if match else ""
  return "python" if _PYTHON.fullmatch(name) else "other" if name else ""


def _before_closing(line: str, fence: _Fence) -> str | None:
  """The code in front of a closing fence; None for any other line."""
  bare = line.rstrip()
  code = bare.rstrip(fence.mark[0])
  if len(bare) - len(code) < len(fence.mark):
    return None
  if not code.strip():
    return None if len(code) >= fence.indent + _NESTED else ""
  return code + "\n"


def _unindented(lines: list[str], indent: int) -> str:
  """The code of a block whose fence has `indent` spaces in front.

  The first line of a program has no indent of its own.
  """
  first = next(filter(str.strip, lines), "")
  indent = min(indent, _spaces(first))
  return "".join(line[min(indent, _spaces(line)) :] for line in lines)


def _spaces(line: str) -> int:
  return len(line) - len(line.lstrip(" \t"))
