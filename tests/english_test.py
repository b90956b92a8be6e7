"""Rules for the prose: openings of docstrings, old words, American spelling.

A docstring opens with a verb, or with a noun phrase for classes, modules and
constants. Each idea has one word; the words below are those it had before.
"""

import ast
import io
from pathlib import Path
import re
import tokenize

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "jaxrl_entropy").rglob("*.py"))

OPENING = re.compile(r"(What|Of|Or|Those|Nothing|As)\b")
OLD_WORDS = re.compile(
  r"\b(warm[ -]start|pretrain(?:s|ing)?|lessons?|trunks?|heat|patience|"
  r"weights_first|importance_cap|async_rollouts)\b"
)
BRITISH = re.compile(
  r"\w*(?:normal|general|minim|maxim|real|quant|optim|initial|random|recogn|"
  r"summar|serial|material|organ|parallel|vector|token|regular|standard)"
  r"is(?:e[drs]?|ing|ation)s?\b|"
  r"\b(?:neighbo|behavio|colo|favo|hono)ur\w*|\bcentr(?:e[ds]?|ing)\b|"
  r"\b(?:label|model|signal)l(?:ed|ing)\b|\b(?:grey|towards|artefacts?)\b",
  re.IGNORECASE,
)
# Folders of text that is all ours; a test's wrong name is meant to be wrong.
TEXTS = [
  *ROOT.glob("*.md"),
  *(
    path
    for folder in ("jaxrl_entropy", "docs", "tests", "benchmarks", "configs")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".md")
    and path not in (Path(__file__), ROOT / "tests/config/files_test.py")
  ),
]
OLD_NAMES = {
  *("Held", "Piece", "carry_on", "lesson", "heat", "trunk", "_teach"),
  *("patience", "weights_first", "importance_cap", "async_rollouts"),
  *("TELLING", "PAPERS_EARLY", "ALONE", "FEW", "max_batches"),
}
# Names that say nothing of the value. A loss is made of parts: there they stay.
EMPTY_NAMES = {"found", "each", "given", "part", "parts"}
OF_A_LOSS = {
  ROOT / "jaxrl_entropy/losses" / f for f in ("parts.py", "order.py")
}


def _docstrings(source: str) -> list[tuple[int, str]]:
  """Returns line and text of each docstring, those of constants included."""
  return [
    (node.lineno, node.value.value.strip())
    for node in ast.walk(ast.parse(source))
    if isinstance(node, ast.Expr)
    and isinstance(node.value, ast.Constant)
    and isinstance(node.value.value, str)
  ]


def _comments(source: str) -> list[tuple[int, str]]:
  """Returns line and text of each comment; lines that follow are part of it."""
  comments: list[tuple[int, str]] = []
  last = -1
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    if token.type == tokenize.COMMENT:
      line, text = token.start[0], token.string.lstrip("# ")
      if line == last + 1:
        start, before = comments.pop()
        comments.append((start, f"{before} {text}"))
      else:
        comments.append((line, text))
      last = line
  return comments


def _old_words(source: str) -> list[str]:
  prose = [*_docstrings(source), *_comments(source)]
  return OLD_WORDS.findall("\n".join(text for _, text in prose))


def _wrong_whether(source: str) -> list[tuple[int, str]]:
  """Returns the functions that open with Whether and return no bool."""
  return [
    (node.lineno, node.name)
    for node in ast.walk(ast.parse(source))
    if isinstance(node, ast.FunctionDef)
    and (ast.get_docstring(node) or "").startswith("Whether")
    and "ool" not in ast.unparse(node.returns or ast.Constant(""))
  ]


def _bad_openings(source: str) -> list[tuple[int, str]]:
  """Returns line and text of docstrings and comments that open badly."""
  prose = [*_docstrings(source), *_comments(source)]
  bad = [(line, text) for line, text in prose if OPENING.match(text)]
  return bad + _wrong_whether(source)


def _old_names(source: str) -> set[str]:
  names = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Name):
      names.add(node.id)
    elif isinstance(node, ast.arg):
      names.add(node.arg)
    elif isinstance(node, ast.Attribute):
      names.add(node.attr)
    elif isinstance(node, ast.ClassDef | ast.FunctionDef):
      names.add(node.name)
  return names & OLD_NAMES


def _empty_names(source: str) -> list[tuple[int, str]]:
  """Returns line and name of each definition whose name says nothing."""
  names = []
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
      names.append((node.lineno, node.id))
    elif isinstance(node, ast.arg):
      names.append((node.lineno, node.arg))
    elif isinstance(node, ast.ClassDef | ast.FunctionDef):
      names.append((node.lineno, node.name))
  return sorted(name for name in names if name[1] in EMPTY_NAMES)


def test_names_say_what_the_value_is():
  empty = [
    f"{path.relative_to(ROOT)}:{line}: {name}"
    for path in FILES
    if path not in OF_A_LOSS
    for line, name in _empty_names(path.read_text(encoding="utf-8"))
  ]
  assert empty == []


def test_empty_names_are_recognized():
  source = "def part(given):\n  each = [found for found in given.parts]"
  assert _empty_names(source) == [
    *((1, "given"), (1, "part")),
    *((2, "each"), (2, "found")),
  ]


@pytest.mark.parametrize(
  "path", FILES, ids=lambda path: str(path.relative_to(ROOT))
)
def test_prose_and_names(path):
  source = path.read_text(encoding="utf-8")
  assert _bad_openings(source) == []
  assert _old_words(source) == []
  assert _old_names(source) == set()


def test_spelling_is_american():
  found = {
    str(path.relative_to(ROOT)): words
    for path in TEXTS
    if (words := BRITISH.findall(path.read_text(encoding="utf-8")))
  }
  assert found == {}


def test_british_spellings_are_recognized():
  text = "Normalised over neighbours, towards the centre; revised, realistic."
  words = ["Normalised", "neighbours", "towards", "centre"]
  assert BRITISH.findall(text) == words


@pytest.mark.parametrize(
  ("source", "lines"),
  [
    ('"""What a run is."""', [1]),
    ('X = 1\n"""Of a run."""', [2]),
    ('def f() -> int:\n  """Whether it runs."""', [1]),
    ('def f() -> bool:\n  """Whether it runs."""', []),
    ("x = 1  # Nothing of it.", [1]),
    ("# It reads none of\n# What follows.", []),
    ('"""Assigns rows."""', []),
  ],
)
def test_openings_are_recognized(source, lines):
  assert [line for line, _ in _bad_openings(source)] == lines


def test_old_words_are_recognized():
  source = '"""Reads a trunk."""\nx = 1  # A lesson.'
  assert _old_words(source) == ["trunk", "lesson"]
  assert _old_words('x = "trunk"') == []


def test_old_names_are_recognized():
  assert _old_names("def f(heat): return Held(heat.trunk)") == {
    *("heat", "Held", "trunk"),
  }
