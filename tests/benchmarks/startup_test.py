import sys

import pytest

from benchmarks import startup

WRITE = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1].partition("=")[2])
folder.mkdir()
(folder / "metrics.jsonl").write_text("{}")
time.sleep(60)
"""


def test_time_ends_with_the_first_record(monkeypatch, tmp_path):
  monkeypatch.setattr(startup, "_TRAIN", (sys.executable, "-c", WRITE))
  assert startup.first_update(tmp_path / "cache", tmp_path / "run") < 30


def test_a_run_that_ends_before_is_an_error(monkeypatch, tmp_path):
  fail = (sys.executable, "-c", "raise SystemExit(3)")
  monkeypatch.setattr(startup, "_TRAIN", fail)
  with pytest.raises(RuntimeError, match="status 3"):
    startup.first_update(tmp_path / "cache", tmp_path / "run")
