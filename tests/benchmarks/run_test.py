import json
import sys

import pytest

from benchmarks import run

ANSWER = {
  "name": "sampler",
  "results": [
    {
      "case": "B=1",
      "metric": "tokens/s",
      "ours": 27.3,
      "peer": "transformers",
      "peer_value": 19.1,
      "ratio": 1.43,
      "spread": 0.05,
    }
  ],
}


def test_every_module_but_the_shared_ones_is_a_benchmark():
  assert not {"run", "common", "__init__"} & set(run.names())


def test_a_benchmark_that_fails_is_named_and_gives_nothing(capfd):
  assert run.measure("no_such_benchmark", "quick", 60) is None
  assert "failed: no_such_benchmark" in capfd.readouterr().err


def test_table_has_a_line_for_each_comparison():
  lines = run.table([ANSWER]).splitlines()
  assert lines[0].split() == [
    *("benchmark", "case", "metric", "ours", "peer", "theirs", "ratio")
  ]
  assert "1.43 (±5%)" in lines[1]


@pytest.mark.parametrize(("found", "status"), [(ANSWER, 0), (None, 1)])
def test_results_of_all_go_to_one_file(monkeypatch, tmp_path, found, status):
  monkeypatch.setattr(run, "names", lambda: ["sampler"])
  monkeypatch.setattr(run, "measure", lambda *args: found)
  file = tmp_path / "out.json"
  monkeypatch.setattr(sys, "argv", ["run", "--quick", "--json", str(file)])
  assert run.main() == status
  content = json.loads(file.read_text())
  assert content["benchmarks"] == ([found] if found else [])
  assert content["machine"]["cores"] >= 1
