import io
import json

import pytest

from jaxrl_entropy.config import defaults
from jaxrl_entropy.errors import WRITE_FAILED, UserError
from jaxrl_entropy.training.run_log import MetricsFile, Progress, RunLog


def read(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_resumed_file_is_cut_back_to_its_checkpoint(tmp_path):
  path = tmp_path / "metrics.jsonl"
  file = MetricsFile(path)
  file.write({"step": 0, "loss": 1.0})
  offset = file.offset()
  file.write({"step": 1, "loss": 2.0})
  file.close()
  with path.open("a") as half:
    half.write('{"step": 2, "lo')
  again = MetricsFile(path, offset)
  again.write({"step": 1, "loss": 3.0})
  again.close()
  assert read(path) == [{"step": 0, "loss": 1.0}, {"step": 1, "loss": 3.0}]


def test_values_that_are_not_finite_stay_valid_json(tmp_path):
  file = MetricsFile(tmp_path / "m.jsonl")
  file.write({"step": 0, "a": float("nan"), "b": float("inf")})
  file.close()
  assert read(tmp_path / "m.jsonl") == [{"step": 0, "a": None, "b": None}]


def test_progress_in_a_log_names_rate_and_time_left():
  stream = io.StringIO()
  progress = Progress("grpo", 10, stream=stream, interval=0.0)
  progress.show(5, H=0.25)
  line = stream.getvalue()
  assert "[grpo] 5/10" in line
  assert "ETA" in line
  assert "H 0.250" in line


def test_progress_before_the_first_step_promises_nothing():
  stream = io.StringIO()
  Progress("grpo", 10, done=4, stream=stream).show(4, H=0.25)
  assert stream.getvalue() == "[grpo] 4/10  H 0.250\n"


@pytest.mark.parametrize(
  ("mean", "shown"), [(0.5, "accuracy 0.500"), (0.3, "accuracy 0.500  R 0.300")]
)
def test_a_reward_that_is_no_accuracy_is_shown_beside_it(
  tmp_path, capsys, mean, shown
):
  with RunLog(tmp_path, defaults.get_config(), 0, 0) as log:
    log.write({"step": 0, "reward/accuracy": 0.5, "reward/mean": mean})
  assert capsys.readouterr().err.endswith(f"{shown}\n")


def test_progress_in_a_log_is_sparse():
  stream = io.StringIO()
  progress = Progress("grpo", 3, stream=stream, interval=1e9)
  for step in range(4):
    progress.show(step)
  # The first, and the last whatever the interval.
  assert stream.getvalue().count("\n") == 2


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
  log = RunLog(tmp_path, defaults.get_config(), 0, 0)
  # A device that is always full.
  log._file.close()
  log._file._file = open("/dev/full", "wb")  # noqa: SIM115
  with pytest.raises(UserError, match="No space left") as error, log:
    log.write({"step": 0})
  assert error.value.status == WRITE_FAILED


def saturated(step):
  return {
    **{"step": step, "reward/accuracy": 1.0, "reward/mean": 1.0},
    "entropy/filtered": 0.5,  # An update was made.
  }


def test_an_alarm_is_reported_once_and_kept_in_a_file(tmp_path, capsys):
  with RunLog(tmp_path, defaults.get_config(), 0, 0) as log:
    for step in range(40):
      log.write(saturated(step))
  shown = capsys.readouterr().err
  assert shown.count("the problems are too easy; try harder problems") == 1
  (alarm,) = read(tmp_path / "alarms.jsonl")
  assert (alarm["step"], alarm["alarm"]) == (7, "rewards_saturated")


def test_alarms_after_the_checkpoint_are_cut_off(tmp_path):
  with RunLog(tmp_path, defaults.get_config(), 0, 0) as log:
    for step in range(9):
      log.write(saturated(step))
  with RunLog(tmp_path, defaults.get_config(), 0, 5):
    pass
  assert read(tmp_path / "alarms.jsonl") == []
