import itertools
import sys

import pytest

from benchmarks import common


def test_contestants_take_turns_back_and_forth():
  order = []
  measured = common.alternate(
    {name: lambda name=name: order.append(name) or 1.0 for name in "ab"}, 3
  )
  assert "".join(order) == "baabbaab"[: len(order)]
  assert measured.values == {"a": [1.0] * 3, "b": [1.0] * 3}
  assert all(len(spent) == 3 for spent in measured.cpu.values())


def test_the_ratio_is_the_median_of_the_rounds_with_its_quartiles():
  measured = {"ours": [2.0, 4.0, 6.0, 8.0, 90.0], "peer": [2.0] * 5}
  cpu = {"ours": [1.0] * 5, "peer": [3.0, 3.0, 1.0, 5.0, 3.0]}
  (result,) = common.compare("case", "tok/s", measured, "ours", cpu=cpu)
  assert (result.ratio, result.quartiles, result.rounds) == (3, (2, 4), 5)
  assert (result.cpu_ratio, result.cpu_quartiles) == (3, (3, 3))


def test_less_is_better_where_it_is_said():
  sides = {"ours": [2.0, 2.0], "peer": [6.0, 8.0], "limit": [1.0, 1.0]}
  results = common.compare("", "s", sides, "ours", higher_is_better=False)
  assert [r.ratio for r in results] == [3.5, 0.5]
  assert [r.cpu_ratio for r in results] == [None, None]


def test_processor_time_is_measured_beside_the_clock():
  def work():
    return sum(itertools.islice(itertools.count(), 10**6))

  measured = common.alternate({"work": work, "idle": lambda: 0}, 2)
  assert sum(measured.cpu["work"]) > sum(measured.cpu["idle"])


def test_a_busy_machine_is_refused_where_that_is_asked_for(monkeypatch, capsys):
  monkeypatch.setattr(common, "load_per_core", lambda: 3.0)
  monkeypatch.setattr(sys, "argv", ["benchmark", "--max-load=.25"])
  with pytest.raises(SystemExit, match=r"3.00 tasks per core, above"):
    common.arguments("")
  monkeypatch.setattr(sys, "argv", ["benchmark"])
  common.arguments("")
  assert "a busy machine: 3.00" in capsys.readouterr().out


def test_the_file_names_the_processor_and_the_load():
  machine = common.machine()
  assert machine["processor"]
  assert len(machine["load_at_start"]) == len(machine["load"]) == 3
