"""Mistakes of users: one line, status 2, and no file is left behind."""

import pytest

from jaxrl_entropy.cli import main
from tests.cli import mistakes


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  folder = tmp_path_factory.mktemp("model")
  mistakes.make_model(folder)
  return folder


@pytest.mark.parametrize(("argv", "words"), mistakes.MISTAKES, ids=str)
def test_a_mistake_is_one_line_and_leaves_no_file(
  tmp_path, monkeypatch, capfd, model, argv, words
):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("HF_HUB_OFFLINE", "1")
  (tmp_path / "model").symlink_to(model)
  for name, text in mistakes.FILES.items():
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
  before = _content(tmp_path)
  status = main.main(argv)
  errors = capfd.readouterr().err
  assert (status, errors.count("\n")) == (2, 1), errors
  assert errors.startswith(f"jaxrl-entropy {argv[0]}: error: ")
  assert words in errors
  assert _content(tmp_path) == before


def _content(folder):
  return {
    path: path.read_bytes() if path.is_file() else None
    for path in folder.rglob("*")
    if not {"__pycache__", ".lease"}.intersection(path.parts)
  }
