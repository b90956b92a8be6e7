"""Leases against real processes, which die, freeze and race."""

import contextlib
import json
from pathlib import Path
import signal
import subprocess
import sys
import time

import jax
import pytest

from jaxrl_entropy import distributed
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.training import lease
from jaxrl_entropy.training.lease import Lease
from tests import devices

# Takes the lease of a folder, as a process of a machine, says so, and then asks
# before each of many writes whether it still holds it.
HOLD = """
import pathlib, sys, time
from jaxrl_entropy.training import lease
folder, machine, interval, timeout = sys.argv[1:]
lease._machine = lambda: machine
with lease.Lease(pathlib.Path(folder), float(interval), float(timeout)) as held:
  print("held", flush=True)
  while True:
    held.check()
    time.sleep(.02)
"""


@pytest.fixture
def hold():
  """Starts processes that hold a lease, and ends them with the test."""
  with contextlib.ExitStack() as stack:

    def start(folder, machine=None, interval=0.05, timeout=0.6, wait=True):
      process = stack.enter_context(
        subprocess.Popen(
          (
            *(sys.executable, "-c", HOLD, str(folder)),
            *(machine or lease._machine(), str(interval), str(timeout)),
          ),
          stdout=subprocess.PIPE,
          stderr=subprocess.PIPE,
          text=True,
        )
      )
      stack.callback(process.kill)
      if wait:
        assert process.stdout.readline() == "held\n"
      return process

    yield start


def last_line(process):
  return process.communicate(timeout=30)[1].splitlines()[-1]


def test_a_second_process_is_refused_at_once(tmp_path, hold):
  first = hold(tmp_path)
  start = time.monotonic()
  with pytest.raises(UserError) as refused, Lease(tmp_path):
    pass
  assert time.monotonic() - start < 1
  assert str(refused.value).startswith(
    f"workdir {tmp_path} is in use by process {first.pid} on "
  )
  assert " since 2" in str(refused.value)
  assert refused.value.status == 2


def test_a_lease_given_back_is_free_and_leaves_one_file(tmp_path):
  (tmp_path / "metrics.jsonl").touch()
  for _ in range(3):
    with Lease(tmp_path) as held:
      held.check()
  assert len(list((tmp_path / ".lease").iterdir())) == 1


def test_a_folder_made_for_a_lease_alone_is_taken_away(tmp_path):
  with Lease(tmp_path / "runs" / "one"):
    pass
  assert list(tmp_path.iterdir()) == []
  with Lease(tmp_path):
    pass
  assert list(tmp_path.iterdir()) == []


def test_two_leases_of_one_process_are_refused(tmp_path):
  with Lease(tmp_path), pytest.raises(UserError, match="in use by process"):
    Lease(tmp_path).__enter__()
  with Lease(tmp_path):
    pass


def test_what_a_killed_process_held_is_taken_over_at_once(tmp_path, hold):
  process = hold(tmp_path)
  process.kill()
  process.wait()
  start = time.monotonic()
  with Lease(tmp_path, timeout=60) as held:
    held.check()
  assert time.monotonic() - start < 1


def test_a_process_that_has_the_number_of_a_dead_one_is_another(tmp_path, hold):
  process = hold(tmp_path)
  process.send_signal(signal.SIGSTOP)
  (file,) = (tmp_path / ".lease").glob("*.json")
  file.write_text(json.dumps(json.loads(file.read_text()) | {"started": "1"}))
  with Lease(tmp_path, timeout=60):
    pass


def test_a_live_process_of_another_machine_is_heard(tmp_path, hold):
  hold(tmp_path, machine="another")
  start = time.monotonic()
  with pytest.raises(UserError, match="is in use by process"):
    Lease(tmp_path, timeout=60).__enter__()
  assert time.monotonic() - start < 5


def test_a_silent_process_of_another_machine_loses_its_lease(
  tmp_path, hold, capfd
):
  frozen = hold(tmp_path, machine="another")
  frozen.send_signal(signal.SIGSTOP)
  start = time.monotonic()
  with Lease(tmp_path, timeout=1) as held:
    assert 1 < time.monotonic() - start < 5
    assert f"life of process {frozen.pid}" in capfd.readouterr().err
    frozen.send_signal(signal.SIGCONT)
    assert f"{tmp_path} was taken over by process" in last_line(frozen)
    held.check()
  # The one that lost it has not given back what it no longer held.
  assert frozen.returncode == 1


def test_a_file_cut_off_by_a_kill_does_not_hold_for_ever(tmp_path):
  (tmp_path / ".lease").mkdir()
  (tmp_path / ".lease" / "000004.json").write_text('{"process": 3, "ho')
  with Lease(tmp_path, timeout=0.5):
    pass


def test_an_owner_without_proc_is_judged_by_silence(tmp_path, monkeypatch):
  monkeypatch.setattr(lease, "_machine", lambda: "")
  with Lease(tmp_path, 0.05, 0.6), pytest.raises(UserError, match="in use"):
    Lease(tmp_path, 0.05, 0.6).__enter__()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / "file").touch()
  with pytest.raises(UserError, match="file/run cannot be written"):
    Lease(tmp_path / "file" / "run").__enter__()


def join(folder, shared):
  """What a process of a job gets that leases a folder, its own or shared."""
  lease.SHARED_WITHIN = 1.0
  name = "run" if shared else f"run{jax.process_index()}"
  try:
    with lease.lease_for_job(Path(folder) / name) as check:
      check()
      files = len(list((Path(folder) / name / ".lease").iterdir()))
      distributed.all_gather(files)  # The owner takes them away as it leaves.
      return "held", files
  except UserError as error:
    return str(error), error.status


def test_a_job_shares_one_lease(tmp_path):
  answers = devices.run_together(
    join, str(tmp_path), True, processes=2, devices=1
  )
  assert answers == [("held", 1)] * 2


def test_a_folder_that_a_job_does_not_share_is_found_at_once(tmp_path):
  answers = devices.run_together(
    join, str(tmp_path), False, processes=2, devices=1
  )
  assert answers[0] == answers[1]
  message, status = answers[0]
  assert status == 2
  assert message.startswith(f"workdir {tmp_path}/run1 on ")
  assert "all hosts must share it" in message
  assert "\n" not in message


def test_a_job_that_is_refused_is_refused_whole(tmp_path, hold):
  hold(tmp_path / "run")
  answers = devices.run_together(
    join, str(tmp_path), True, processes=2, devices=1
  )
  assert answers[0] == answers[1]
  assert "is in use by process" in answers[0][0]


# Races for one folder after the other: each process starts a round at the same
# moment, tells whether it won, and a winner holds on until all have told.
RACE = """
import pathlib, sys, time
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.training import lease
if sys.argv[1]:
  lease._machine = lambda: sys.argv[1]
for line in sys.stdin:
  folder, moment = line.rsplit(" ", 1)
  held = lease.Lease(pathlib.Path(folder), .1, .5)
  while time.time() < float(moment):
    pass
  try:
    held.__enter__()
    print("won", flush=True)
    sys.stdin.readline()
    held.check()
    held.__exit__()
  except UserError as error:
    print("lost" if "in use by process" in str(error) else error, flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("machines", [("", "", ""), ("a", "b", "c")])
def test_exactly_one_of_several_starters_wins(tmp_path, hold, machines):
  """Of an empty folder, of one given back, and of one of a killed process."""
  racers = [
    subprocess.Popen(
      (sys.executable, "-c", RACE, machine),
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    for machine in machines
  ]
  dead = hold(tmp_path / "dead")
  dead.kill()
  dead.wait()

  def race(folder):
    moment = time.time() + 0.1
    for racer in racers:
      print(folder, moment, file=racer.stdin, flush=True)
    told = [racer.stdout.readline().strip() for racer in racers]
    for racer in racers:
      print(file=racer.stdin, flush=True)
    return sorted(told)

  for round_ in range(10):
    folder = tmp_path / str(round_)
    assert race(folder) == ["lost", "lost", "won"]
    assert race(folder) == ["lost", "lost", "won"]
    left = tmp_path / f"{round_}-dead" / ".lease"
    left.mkdir(parents=True)
    (file,) = (tmp_path / "dead" / ".lease").glob("*.json")
    (left / file.name).write_text(file.read_text())
    assert race(left.parent) == ["lost", "lost", "won"]
  for racer in racers:
    racer.stdin.close()
    assert racer.wait(timeout=10) == 0
