"""The fields of the configuration as text, for `--help` and docs/config.md."""

from collections.abc import Iterator
import textwrap

from jaxrl_entropy.config.defaults import FIELDS
from jaxrl_entropy.config.fields import Field, walk
from jaxrl_entropy.config.recipes import RECIPES


def help_text(width: int = 80) -> str:
  """Returns one paragraph per field: name, default, allowed values, meaning.

  Args:
    width: columns after which the meaning is wrapped.
  """
  lines: list[str] = []
  for name, field in walk(FIELDS):
    if isinstance(field, Field):
      allowed = field.allowed()
      lines.append(
        f"  {name} = {field.default!r}" + (f"  [{allowed}]" if allowed else "")
      )
    else:
      lines.append(f"  {name}.KEY")
    lines += textwrap.wrap(
      field.doc, width, initial_indent=" " * 6, subsequent_indent=" " * 6
    )
  return "\n".join(lines)


def markdown() -> str:
  """Returns a table of the fields for each section of the config."""
  sections: dict[str, list[str]] = {}
  for name, field in walk(FIELDS):
    section = name.rpartition(".")[0]
    sections.setdefault(section, []).append(_row(name, field))
  return "\n\n".join(_tables(sections))


def _tables(sections: dict[str, list[str]]) -> Iterator[str]:
  for section, rows in sections.items():
    title = f"## {section}" if section else "## The run"
    head = "| field | default | allowed | meaning |\n|---|---|---|---|"
    yield "\n\n".join([title, "\n".join([head, *rows])])


def _row(name: str, field: object) -> str:
  if isinstance(field, Field):
    cells = [f"`{name}`", f"`{field.default!r}`", field.allowed(), field.doc]
  else:
    cells = [f"`{name}`", "", "any", getattr(field, "doc", "")]
  escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
  return f"| {' | '.join(escaped)} |"


def recipes_markdown() -> str:
  """Returns a table of the recipes and their parts."""
  rows = [
    "| recipe | loss | advantage | groups | source |",
    "|---|---|---|---|---|",
  ]
  for name, recipe in RECIPES.items():
    rows.append(
      f"| `{name}` | {_call(recipe.loss, recipe.loss_args)} | "
      f"{_call(recipe.advantage, recipe.advantage_args)} | "
      f"{recipe.group_filter} | {recipe.reference} |"
    )
  return "\n".join(rows)


def _call(name: str, args: object) -> str:
  pairs = dict(args).items() if isinstance(args, dict) else ()
  inside = ", ".join(f"{key}={value!r}" for key, value in pairs)
  return f"`{name}({inside})`" if inside else f"`{name}`"
