"""Mistakes of users: one line, status 2, and no file is left behind."""

import sys

import pytest

from jaxrl_entropy.cli import main
from tests.cli import mistakes


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  folder = tmp_path_factory.mktemp("model")
  mistakes.make_model(folder)
  return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """A folder that later tests import nothing from."""
  known = set(sys.modules)
  monkeypatch.setattr(sys, "path", sys.path[:])
  yield tmp_path
  for name in set(sys.modules) - known:
    file = getattr(sys.modules[name], "__file__", None) or ""
    if file.startswith(str(tmp_path)):
      del sys.modules[name]


@pytest.mark.parametrize(("argv", "words"), mistakes.MISTAKES, ids=str)
def test_a_mistake_is_one_line_and_leaves_no_file(
  folder, monkeypatch, capfd, model, argv, words
):
  monkeypatch.chdir(folder)
  monkeypatch.setenv("HF_HUB_OFFLINE", "1")
  (folder / "model").symlink_to(model)
  for name, text in mistakes.FILES.items():
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
  before = _content(folder)
  status = main.main(argv)
  errors = capfd.readouterr().err
  assert (status, errors.count("\n")) == (2, 1), errors
  assert errors.startswith(f"jaxrl-entropy {argv[0]}: error: ")
  assert words in errors
  assert _content(folder) == before


def _content(folder):
  return {
    path: path.read_bytes() if path.is_file() else None
    for path in folder.rglob("*")
    if not {"__pycache__", ".lease"}.intersection(path.parts)
  }
