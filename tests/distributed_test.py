import os
import signal
import socket
import subprocess
import sys
import time

import jax
import pytest

from jaxrl_entropy import distributed
from jaxrl_entropy.errors import PREEMPTED, PreemptedError, UserError
from tests import devices

EXPLICIT = {
  "JAX_COORDINATOR_ADDRESS": "host:1234",
  "JAX_NUM_PROCESSES": "4",
  "JAX_PROCESS_ID": "2",
}


@pytest.mark.parametrize(
  ("environment", "settings"),
  [
    ({}, None),
    (
      EXPLICIT,
      {
        "coordinator_address": "host:1234",
        "num_processes": 4,
        "process_id": 2,
      },
    ),
    ({"SLURM_JOB_ID": "1", "SLURM_STEP_NUM_TASKS": "8"}, {}),
    ({"SLURM_JOB_ID": "1", "SLURM_STEP_NUM_TASKS": "1"}, None),
    ({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8"}, None),
    ({"TPU_WORKER_HOSTNAMES": "a,b"}, {}),
    ({"TPU_WORKER_HOSTNAMES": "localhost"}, None),
    ({"TPU_WORKER_HOSTNAMES": "a", "MEGASCALE_NUM_SLICES": "2"}, {}),
    ({"JAXRL_TPU_POD": "1"}, {}),
  ],
)
def test_the_environment_decides(monkeypatch, environment, settings):
  calls = []
  monkeypatch.setattr(distributed.os, "environ", environment)
  monkeypatch.setattr(
    distributed.jax.distributed, "initialize", lambda **s: calls.append(s)
  )
  distributed.start()
  timeout = {"heartbeat_timeout_seconds": distributed.HEARTBEAT_TIMEOUT}
  assert calls == ([] if settings is None else [settings | timeout])


def test_a_job_that_cannot_be_joined_is_one_to_start_again(monkeypatch):
  def refuse(**_):
    raise RuntimeError("DEADLINE_EXCEEDED: Barrier timed out")

  monkeypatch.setattr(distributed.os, "environ", EXPLICIT)
  monkeypatch.setattr(distributed.jax.distributed, "initialize", refuse)
  with pytest.raises(UserError, match="could not join its job") as error:
    distributed.start()
  assert error.value.status == PREEMPTED


@pytest.mark.parametrize("name", ["JAX_NUM_PROCESSES", "JAX_PROCESS_ID"])
@pytest.mark.parametrize("value", [None, "two"])
def test_incomplete_settings_are_named(monkeypatch, name, value):
  environment = {k: v for k, v in EXPLICIT.items() if k != name}
  if value is not None:
    environment[name] = value
  monkeypatch.setattr(distributed.os, "environ", environment)
  with pytest.raises(UserError, match="must be numbers"):
    distributed.start()


LISTEN = """
import time
from jaxrl_entropy import distributed
distributed.start()
print("joined", flush=True)
time.sleep(60)
"""

JOIN = """
import jax
from jaxrl_entropy import distributed
from jaxrl_entropy.cli import failures
distributed.start()
from jax.experimental import multihost_utils
import numpy as np
ids = multihost_utils.process_allgather(np.int32(jax.process_index()))
print("found", jax.process_count(), jax.device_count(), sorted(ids.tolist()))
failures.finish_job(0)
"""


def slurm_step(processes):
  """What srun sets for each task of a step on this machine."""
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    port = probe.getsockname()[1]
  return [
    {
      "SLURM_JOB_ID": "7",
      "SLURM_STEP_NODELIST": "localhost",
      "SLURM_STEP_NUM_TASKS": str(processes),
      "SLURM_NTASKS": str(processes),
      "SLURM_PROCID": str(index),
      "SLURM_LOCALID": str(index),
      "JAX_COORDINATOR_PORT": str(port),
    }
    for index in range(processes)
  ]


@pytest.mark.parametrize("members", [devices.job, slurm_step])
def test_two_processes_find_each_other(members):
  processes = [
    subprocess.Popen(
      (sys.executable, "-c", JOIN),
      env=devices.environment(devices=2) | member,
      stdout=subprocess.PIPE,
      text=True,
    )
    for member in members(2)
  ]
  printed = [process.communicate(timeout=120)[0] for process in processes]
  # Gloo prints its own lines, at any moment.
  for text in printed:
    assert "found 2 4 [0, 1]" in text


def test_a_process_that_has_only_joined_dies_of_a_signal():
  alone = devices.job(2)[0] | {"JAX_NUM_PROCESSES": "1"}
  with subprocess.Popen(
    (sys.executable, "-c", LISTEN),
    env=devices.environment(devices=1) | alone,
    stdout=subprocess.PIPE,
    text=True,
  ) as process:
    assert any("joined" in line for line in process.stdout)
    process.terminate()
    assert process.wait(timeout=30) == -signal.SIGTERM


def stop_twice():
  """Steps until a signal to one process; and whether a wait ended by one."""
  mine = jax.process_index() == 1
  steps = 0
  with distributed.Preemption() as preemption:
    try:
      while True:
        if mine and steps == 3:
          os.kill(os.getpid(), signal.SIGTERM)
        preemption.raise_if_requested()
        steps += 1
    except PreemptedError:
      pass
  with distributed.Preemption() as preemption:
    assert preemption.run(sum, [1, 2]) == 3
    if mine:
      os.kill(os.getpid(), signal.SIGTERM)
    before = time.monotonic()
    with pytest.raises(PreemptedError):
      preemption.run(time.sleep, 0 if mine else 10)
    return steps, time.monotonic() - before


def test_all_processes_leave_their_work_at_the_same_step():
  left = devices.run_together(stop_twice, processes=2, devices=1)
  assert [steps for steps, _ in left] == [3, 3]
  assert all(waited < 5 for _, waited in left)
