import json

import pytest

from jaxrl_entropy.errors import UserError
from jaxrl_entropy.training.step_file import StepFile


def read(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_resumed_run_cuts_off_later_steps_and_broken_lines(tmp_path):
  path = tmp_path / "a.jsonl"
  file = StepFile(path)
  file.append([{"step": s} for s in (0, 20, 40)])
  with path.open("a") as half:
    half.write('{"step": 60, "te')
  file.cut(40)
  file.append([{"step": 40, "new": True}])
  assert read(path) == [{"step": 0}, {"step": 20}, {"step": 40, "new": True}]


def test_a_file_that_is_not_there_is_not_made(tmp_path):
  StepFile(tmp_path / "a.jsonl").cut(3)
  assert list(tmp_path.iterdir()) == []


def test_values_that_are_not_finite_become_null(tmp_path):
  path = tmp_path / "a.jsonl"
  nan = float("nan")
  StepFile(path).append([{"step": 0, "x": [1.0, nan], "y": {"z": nan}}])
  assert read(path) == [{"step": 0, "x": [1.0, None], "y": {"z": None}}]


def test_a_folder_that_is_gone_is_one_clear_error(tmp_path):
  with pytest.raises(UserError, match="could not be written"):
    StepFile(tmp_path / "gone" / "a.jsonl").append([{"step": 0}])
