"""Public functions describe their arguments, and containers their fields.

A function of two or more arguments has a section `Args:`. A method without any
docstring is fine where it implements one that a class of the package describes.
A dataclass with two or more fields has a section `Attributes:`.
"""

import ast
from collections.abc import Iterator
import functools
from pathlib import Path
import re

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jaxrl_entropy"
FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({path.relative_to(PACKAGE).parts[0] for path in FILES})

CONTAINER = re.compile(r"\b(dataclass|PyTreeNode|NamedTuple|nn\.Module)\b")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def _public(tree: ast.AST) -> Iterator[tuple[str, Function | ast.ClassDef]]:
  """Yields public functions and classes of a module by qualified name."""
  for node in ast.iter_child_nodes(tree):
    if isinstance(node, Function | ast.ClassDef) and node.name[0] != "_":
      yield node.name, node
      if isinstance(node, ast.ClassDef):
        for name, member in _public(node):
          yield f"{node.name}.{name}", member


def _arguments(function: Function) -> list[str]:
  given = function.args
  stars = [each for each in (given.vararg, given.kwarg) if each]
  every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *stars]
  return [each.arg for each in every if each.arg not in ("self", "cls")]


def _fields(node: ast.ClassDef) -> list[str]:
  """Returns the fields of a dataclass, a Linen module or a named tuple."""
  made_by = map(ast.unparse, [*node.decorator_list, *node.bases])
  if not any(CONTAINER.search(each) for each in made_by):
    return []
  return [
    each.target.id
    for each in node.body
    if isinstance(each, ast.AnnAssign)
    and isinstance(each.target, ast.Name)
    and each.target.id[0] != "_"
    and "ClassVar" not in ast.unparse(each.annotation)
  ]


def _has(section: str, node: Function | ast.ClassDef) -> bool:
  return f"\n{section}:\n" in (ast.get_docstring(node) or "")


def _sections(source: str, interface: frozenset[str]) -> Iterator[str]:
  """Yields "line: name lacks section" for whatever a module leaves out."""
  for name, node in _public(ast.parse(source)):
    if isinstance(node, ast.ClassDef):
      wanted = "Attributes" if len(_fields(node)) > 1 else None
    else:
      inherited = "." in name and node.name in interface
      plain = inherited and ast.get_docstring(node) is None
      many = len(_arguments(node)) > 1
      wanted = "Args" if many and not plain else None
    if wanted and not _has(wanted, node):
      yield f"{node.lineno}: {name} lacks {wanted}"


@functools.cache
def _interface() -> frozenset[str]:
  """Returns the names of methods whose arguments some class describes."""
  return frozenset(
    node.name
    for path in FILES
    for name, node in _public(ast.parse(path.read_text()))
    if "." in name and not isinstance(node, ast.ClassDef) and _has("Args", node)
  )


@pytest.mark.parametrize("folder", FOLDERS)
def test_arguments_and_fields_are_described(folder):
  found = [
    f"{path.relative_to(ROOT)}:{lack}"
    for path in FILES
    if path.relative_to(PACKAGE).parts[0] == folder
    for lack in _sections(path.read_text(), _interface())
  ]
  assert not found, "\n" + "\n".join(found)


LACKING = '''
def two(x, y):
  """Adds."""

def stars(x, **options):
  """Adds."""

def _private(x, y):
  pass

def one(x):
  """Negates x."""

def full(x, y):
  """Adds.

  Args:
    x: a number.
    y: another.
  """

class Bare:
  left: int
  right: int

@dataclasses.dataclass(frozen=True)
class Pair:
  """Two."""

  KIND: ClassVar[int] = 1
  left: int
  right: int

  def read(self, name, index):
    return name, index

  def write(self, name, index):
    return name, index

  def copy(self, name):
    return name
'''


def test_what_is_left_out_is_found():
  assert list(_sections(LACKING, frozenset({"read"}))) == [
    "2: two lacks Args",
    "5: stars lacks Args",
    "27: Pair lacks Attributes",
    "37: Pair.write lacks Args",
  ]
