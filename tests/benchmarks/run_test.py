import json
import sys
import time

import pytest

from benchmarks import run

RESULT = {
  "case": "B=1",
  "metric": "tokens/s",
  "ours": 27.3,
  "peer": "transformers",
  "peer_value": 19.1,
  "ratio": 1.43,
  "spread": 0.05,
  "quartiles": [1.4, 1.5],
}
ANSWER = {"name": "sampler", "results": [RESULT]}

# A benchmark that writes its answer, and one that leaves a child behind.
ANSWERS = f"""
import pathlib, sys
pathlib.Path(sys.argv[-1]).write_text('''{json.dumps(ANSWER)}''')
"""
HANGS = """
import pathlib, subprocess, sys
child = subprocess.Popen((sys.executable, "-c", "import time; time.sleep(99)"))
pathlib.Path("child").write_text(str(child.pid))
child.wait()
"""


@pytest.fixture
def fake(monkeypatch, tmp_path):
  """Makes one module the only benchmark, in a folder of its own."""
  folder = tmp_path / "benchmarks"
  folder.mkdir()
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(run, "names", lambda: ["fake"])
  monkeypatch.setenv("PYTHONPATH", "")

  def write(code):
    (folder / "fake.py").write_text(code)

  return write


def run_all(monkeypatch, *flags):
  monkeypatch.setattr(sys, "argv", ["run", "--json", "out", *flags])
  return run.main()


def test_every_module_but_the_shared_ones_is_a_benchmark():
  assert not {"run", "common", "__init__"} & set(run.names())
  assert {"rl_step", "startup", "growth"} <= set(run.names())


def test_table_has_a_line_for_each_comparison():
  lines = run.table([ANSWER]).splitlines()
  assert lines[0].split() == [
    *("benchmark", "case", "metric", "ours", "peer", "theirs", "ratio")
  ]
  assert "1.43 (1.40-1.50)" in lines[1]


def test_results_go_to_a_file_each_with_the_size(
  fake, monkeypatch, tmp_path, capfd
):
  fake(ANSWERS)
  assert run_all(monkeypatch, "--quick") == 0
  content = json.loads((tmp_path / "out" / "sampler.json").read_text())
  assert content == ANSWER | {"size": "quick"}
  assert "[1/1] fake" in capfd.readouterr().out


@pytest.mark.parametrize(
  ("code", "reason"),
  [("raise SystemExit(3)", "exit status 3"), ("", "wrote no results")],
)
def test_a_benchmark_that_fails_is_named_and_gives_nothing(
  fake, monkeypatch, tmp_path, capfd, code, reason
):
  fake(code)
  assert run_all(monkeypatch) == 1
  error = capfd.readouterr().err
  assert "failed: fake" in error
  assert reason in error
  assert not (tmp_path / "out").exists()


def test_one_that_takes_too_long_ends_with_its_children(fake, tmp_path, capfd):
  fake(HANGS)
  assert run.measure("fake", "quick", 3.0) is None
  assert "failed: fake: stopped after 3 s" in capfd.readouterr().err
  child = int((tmp_path / "child").read_text())
  deadline = time.monotonic() + 10
  while _runs(child):
    assert time.monotonic() < deadline
    time.sleep(0.05)


def _runs(pid):
  """Whether a process is there and is not a zombie."""
  try:
    with open(f"/proc/{pid}/stat") as file:
      return file.read().rpartition(")")[2].split()[0] != "Z"
  except FileNotFoundError:
    return False


def test_a_missing_peer_leaves_the_earlier_file_alone(tmp_path):
  run.save(ANSWER, tmp_path)
  run.save(ANSWER | {"results": []}, tmp_path)
  assert json.loads((tmp_path / "sampler.json").read_text()) == ANSWER
