"""Runs that are shot at random end with the numbers of an undisturbed one."""

import random
import signal
import time

import pytest

from jaxrl_entropy.errors import PREEMPTED
from tests.training import runs

KILLS, STEPS = 20, 100
# Enough steps to be shot in; rollouts and responses cross their borders, and
# every other one is evaluated.
FIELDS = (
  *(("steps", str(STEPS)), ("checkpoint.every", "2"), ("probe.every", "4")),
  *(("rollout.partial_tokens", "6"), ("rollout.async_rollouts", "1")),
)


def start(workdir, processes):
  if processes == 1:
    return [runs.start(workdir, FIELDS)]
  return runs.start_job(workdir, processes, 2, FIELDS, "kl_cov")


def wait_for_a_moment(job, workdir, rng):
  """Until the run is somewhere: training, saving, evaluating, starting."""
  if rng.random() < 0.3:
    runs.wait_until(job[0], lambda: any(workdir.glob("*/*tmp*")))
    return
  target = runs.lines(workdir) + rng.randrange(2)
  runs.wait_until(job[0], lambda: runs.lines(workdir) > target)
  time.sleep(rng.random() * 0.2)


def shoot(job, rng):
  """Kills one process, or asks it to stop; the rest goes as launchers see to.

  Returns:
    Whether one was hit before all had ended by themselves.
  """
  alive = [process for process in job if process.poll() is None]
  number = rng.choice((signal.SIGKILL, signal.SIGTERM))
  if alive:
    shot = rng.choice(alive)
    shot.send_signal(number)
    # A process that has not yet begun to listen dies of either.
    if shot.wait(timeout=300) not in (PREEMPTED, 0):
      for process in job:
        time.sleep(rng.random() * 0.2)
        process.kill()
  for process in job:
    _, errors = process.communicate(timeout=300)
    assert process.returncode in {-9, -15, PREEMPTED, 0}, errors[-3000:]
  return bool(alive)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_random_kills_do_not_show(tmp_path, processes):
  whole, parts = tmp_path / "whole", tmp_path / "parts"
  for process in start(whole, processes):
    runs.end(process)
  rng, shots = random.Random(processes), 0
  while shots < KILLS and runs.lines(parts) <= STEPS:
    job = start(parts, processes)
    wait_for_a_moment(job, parts, rng)
    shots += shoot(job, rng)
  for process in start(parts, processes):
    runs.end(process)
  assert shots == KILLS
  written = runs.timeless(parts)
  assert [record["step"] for record in written] == list(range(STEPS + 1))
  assert written == runs.timeless(whole)
