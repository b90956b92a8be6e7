"""What of a response counts as its answer. All linear in its length."""

_FENCE = "```"
_PYTHON = ("", "python", "python3", "py")


def last_tagged(text: str) -> str | None:
  """What the last complete `<answer>...</answer>` holds."""
  before, closed, _ = text.rpartition("</answer>")
  _, opened, content = before.rpartition("<answer>")
  return content.strip() if opened and closed else None


def after_thinking(text: str) -> str:
  """What follows the last `</think>`; nothing while thinking goes on."""
  _, closed, after = text.rpartition("</think>")
  if "<think>" in after:
    return ""
  return after if closed else text


def last_code_block(text: str) -> str | None:
  """The last complete fenced block of Python (or of no language).

  Blocks in the thinking part and blocks that never close do not count.
  """
  found: str | None = None
  opened: list[str] | None = None
  language = ""
  for line in after_thinking(text).splitlines(keepends=True):
    mark = line.strip()
    fence = mark.startswith(_FENCE)
    if opened is None:
      if fence and "`" not in mark.lstrip("`"):
        opened, language = [], mark.lstrip("`").strip().lower()
    elif not fence or mark.strip("`"):
      opened.append(line)
    else:
      if language in _PYTHON:
        found = "".join(opened)
      opened = None
  return found
