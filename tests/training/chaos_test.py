"""Runs that are shot at random end with the numbers of an undisturbed one.

Now and then two jobs start in the folder at once, and one of them must go.
"""

from collections import Counter
import random
import signal
import time

import pytest

from jaxrl_entropy.analysis import samples
from jaxrl_entropy.errors import PREEMPTED
from tests.training import runs, watched

KILLS, STEPS, LIMIT = 20, 120, 1800
PATIENCE = 3  # steps, or else all might be done before enough has been shot at
# Enough steps to be shot in; rollouts and responses cross their borders, and
# every other one is evaluated.
FIELDS = (
  *(("steps", str(STEPS)), ("checkpoint.every", "2"), ("probe.every", "4")),
  ("rollout.partial_tokens", "6"),
)
# Sampling goes on beside updates; the samples name all problems of a step.
AHEAD = (
  *(("steps", str(STEPS)), ("checkpoint.every", "2"), ("probe.every", "4")),
  *(("rollout.max_staleness", "2"), ("rollout.group_filter", "all")),
  *(("rollout.prompts_per_step", "2"), ("rollout.train_groups", "2")),
  ("log.samples_every", "1"),
)
MOMENTS = ("training", "saving", "evaluating")
ENDS = {PREEMPTED, 0}
# Those of a job with one that was shot; its fellow may be aborted by JAX.
SHOT = ENDS | {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGABRT}
DOING = "doing-{}"
RACES = 0.25  # share of the starts


def start(workdir, processes, fields):
  workdir.mkdir(exist_ok=True)
  for file in workdir.glob(DOING.format("*")):
    file.unlink()  # What the last ones did.
  job = runs.devices.job(processes)
  return [
    runs.start(
      workdir,
      fields,
      count=2 if fields != FIELDS else 1,
      module="tests.training.watched",
      **member,
      **{watched.VARIABLE: str(workdir / DOING.format(index))},
    )
    for index, member in enumerate(job)
  ]


def start_rivals(workdir, processes, fields):
  """Two jobs that race for the folder; the one that got it goes on."""
  rivals = [start(workdir, processes, fields) for _ in range(2)]
  while all(process.poll() is None for job in rivals for process in job):
    time.sleep(0.1)
  winner, loser = rivals
  if any(process.poll() is not None for process in winner):
    winner, loser = loser, winner
  wait(loser, {2}, message="is in use by process")
  return winner


def doing(workdir, index=0):
  """What process `index` does; saving goes on beside everything else."""
  file = workdir / DOING.format(index)
  saving = any(workdir.glob("*/*tmp*"))
  return {file.read_text() if file.exists() else "", "saving" if saving else ""}


def wait_for_a_moment(job, workdir, rng):
  """Until the run trains, saves or evaluates; or some seconds of its start.

  Short moments can be missed: some steps later any will do.
  """
  if rng.random() < 0.1:
    time.sleep(rng.random() * 10)
    return
  moment, target = rng.choice(MOMENTS), runs.lines(workdir) + rng.randrange(2)

  def has_come():
    past = runs.lines(workdir) - target
    return past > PATIENCE or (past > 0 and moment in doing(workdir))

  runs.wait_until(job[0], has_come)
  time.sleep(rng.random() * 0.02)


def shoot(job, workdir, rng):
  """Kills one process, or asks it to stop; the rest goes as launchers see to.

  Returns:
    What the one that was hit was doing; None if all had ended by themselves.
  """
  alive = [i for i, process in enumerate(job) if process.poll() is None]
  number, hit = rng.choice((signal.SIGKILL, signal.SIGTERM)), None
  if alive:
    index = rng.choice(alive)
    hit, shot = doing(workdir, index), job[index]
    shot.send_signal(number)
    # A process that has not yet begun to listen dies of either.
    if shot.wait(timeout=LIMIT) not in (PREEMPTED, 0):
      for process in job:
        time.sleep(rng.random() * 0.2)
        process.kill()
  wait(job, SHOT if hit else ENDS)
  return hit


def wait(job, ends=ENDS, message=""):
  """The exit statuses of a job's processes, all of them as expected."""
  for process in job:
    _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode in ends, errors[-3000:]
    assert message in errors
  return [process.returncode for process in job]


def run_and_shoot(tmp_path, processes, fields):
  """A whole run, and one in parts; their folders."""
  whole, parts = tmp_path / "whole", tmp_path / "parts"
  for process in start(whole, processes, fields):
    runs.end(process, timeout=LIMIT)
  rng, hits, races = random.Random(processes), [], 0
  while len(hits) < KILLS and runs.lines(parts) <= STEPS:
    race = rng.random() < RACES
    races += race
    job = (start_rivals if race else start)(parts, processes, fields)
    wait_for_a_moment(job, parts, rng)
    hit = shoot(job, parts, rng)
    hits += [] if hit is None else [hit]
  while any(wait(start(parts, processes, fields))):
    pass
  assert len(hits) == KILLS
  assert races
  moments = Counter(moment for hit in hits for moment in hit)
  print(moments)
  assert all(moments[moment] for moment in MOMENTS), moments
  steps = [record["step"] for record in runs.records(parts)]
  assert steps == list(range(STEPS + 1))
  return whole, parts


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_random_kills_do_not_show(tmp_path, processes):
  whole, parts = run_and_shoot(tmp_path, processes, FIELDS)
  assert runs.timeless(parts) == runs.timeless(whole)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_random_kills_lose_no_group_that_was_sampled_ahead(tmp_path, processes):
  """Each step learns from the problems of an undisturbed run."""
  fields = (*AHEAD, ("rollout.devices", str(processes)))
  whole, parts = run_and_shoot(tmp_path, processes, fields)
  problems = [
    {(sample.step, sample.problem) for sample in samples.load(folder)[0]}
    for folder in (whole, parts)
  ]
  assert problems[0] == problems[1]
