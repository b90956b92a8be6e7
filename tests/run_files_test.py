"""Every metric that the code names is on docs/metrics.md."""

from pathlib import Path
import re

import pytest

from jaxrl_entropy import run_files

PAGE = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text()
NAMES = {
  name: value
  for name, value in vars(run_files).items()
  if name.isupper() and isinstance(value, str)
}


def documented():
  """Patterns of the keys in the first column of the page's tables."""
  cells = re.findall(r"^\| (`[^|]+`) \|", PAGE, re.M)
  keys = [key for cell in cells for key in re.findall(r"`([^`]+)`", cell)]
  return [re.compile(_pattern(key)) for key in keys]


def _pattern(key):
  """`a/{b,c}` has alternatives, `a/{name}` stands for any name."""
  parts = re.split(r"\{([^}]*)\}", key)
  return "".join(
    re.escape(part)
    if index % 2 == 0
    else f"({'|'.join(map(re.escape, part.split(',')))})"
    if "," in part
    else "[^ ]*"
    for index, part in enumerate(parts)
  )


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_documented(name):
  value = NAMES[name]
  if value.endswith(("/", "@")):
    keys = [value + tail for tail in ("x", "1", "accuracy")]
    patterns = documented()
    assert any(p.match(k) for p in patterns for k in keys) or value in PAGE
    return
  folder = value in ("checkpoints", "best", "tensorboard", "report", "sft")
  pattern = f"{value}/" if folder else value
  assert (
    any(p.fullmatch(value) for p in documented()) or f"`{pattern}" in PAGE
  ), value


def test_no_two_names_have_one_value():
  assert len(set(NAMES.values())) == len(NAMES)
