"""Imports point down the layers, never up (see docs/guide.md)."""

import ast
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jaxrl_entropy"

# Each layer, and what it may import besides itself and the leaves.
LAYERS = {
  "ops": (),
  "advantages": ("ops",),
  "losses": ("advantages", "ops"),
  "objectives": ("losses",),
  "models": ("ops",),
  "data": ("models",),
  "rewards": ("data",),
  "sampling": ("models", "ops"),
  "evaluation": ("sampling", "data", "rewards", "models", "ops"),
  "analysis": (),
  "report": ("analysis",),
  "training": (
    *("evaluation", "sampling", "data", "rewards", "models", "ops"),
    *("objectives", "losses", "advantages"),
  ),
}
# Anyone may import a leaf; a leaf imports other leaves only.
LEAVES = {
  *("types", "sharding", "text", "distributed", "errors", "registry"),
  *("arguments", "config", "hub", "paths", "run_files"),
}


def _modules() -> list[tuple[str, Path]]:
  paths = sorted(PACKAGE.rglob("*.py"))
  return [(path.relative_to(PACKAGE).parts[0], path) for path in paths]


def _imported_rooms(path: Path) -> set[str]:
  """The rooms of the package that a file imports."""
  names = []
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}: relative import"
      names += [f"{node.module}.{alias.name}" for alias in node.names]
  parts = [name.split(".") for name in names]
  return {p[1] for p in parts if p[0] == "jaxrl_entropy" and len(p) > 1}


@pytest.mark.parametrize(
  ("room", "path"),
  [pytest.param(*m, id=str(m[1].relative_to(PACKAGE))) for m in _modules()],
)
def test_imports_point_down(room, path):
  room = room.removesuffix(".py")
  imported = _imported_rooms(path) - {room} - LEAVES
  if room in LEAVES:
    assert not imported
  elif room in LAYERS:
    assert imported <= set(LAYERS[room])


def test_the_rules_name_rooms_that_exist():
  rooms = {room.removesuffix(".py") for room, _ in _modules()}
  assert set(LAYERS) <= rooms


def test_an_upward_import_is_seen(tmp_path):
  file = tmp_path / "kl.py"
  file.write_text(
    "import jaxrl_entropy.losses.base\n"
    "def lazy():\n  from jaxrl_entropy import training\n"
  )
  assert _imported_rooms(file) == {"losses", "training"}


@pytest.mark.parametrize("room", ["analysis", "report", "rewards"])
def test_rooms_that_never_load_jax(room):
  """Reports need no accelerator library, and neither do reward workers."""
  names = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for other, path in _modules()
    if other == room and path.name != "__init__.py"
  ]
  code = (
    f"import sys, {', '.join(names) or 'os'}; sys.exit('jax' in sys.modules)"
  )
  assert subprocess.run((sys.executable, "-c", code)).returncode == 0
