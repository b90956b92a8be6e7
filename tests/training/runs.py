"""Runs of the tiny config in processes of their own, and what they wrote."""

import json
from pathlib import Path
import subprocess
import sys
import time

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.training.run_log import METRICS
from tests import devices

CONFIG = "tests/training/tiny_config.py"


def load(method, *overrides):
  return config_lib.load(f"{devices.ROOT / CONFIG}:{method}", overrides)


def records(workdir):
  lines = (Path(workdir) / METRICS).read_text().splitlines()
  return [json.loads(line) for line in lines]


def timeless(workdir):
  """The records without what a clock decides."""
  return [
    {
      name: value
      for name, value in record.items()
      if name != "time" and not name.startswith("throughput/")
    }
    for record in records(workdir)
  ]


def start(
  workdir,
  overrides=(),
  method="kl_cov",
  count=1,
  module="jaxrl_entropy",
  **environment,
):
  """A run in `workdir`, by one process with `count` devices."""
  fields = [f"--config.{name}={value}" for name, value in overrides]
  return subprocess.Popen(
    (
      *(sys.executable, "-m", module, "train"),
      *(f"--config={CONFIG}:{method}", f"--workdir={workdir}", *fields),
    ),
    cwd=devices.ROOT,
    env=devices.environment(count)
    | {"PYTHONPATH": str(devices.ROOT)}
    | environment,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )


def start_job(workdir, processes, count, overrides, method="grpo"):
  """A run by several processes with `count` devices each."""
  return [
    start(workdir, overrides, method, count, **member)
    for member in devices.job(processes)
  ]


def end(process, status=0, timeout=300):
  """Waits for a process; returns what it printed to its error output."""
  _, errors = process.communicate(timeout=timeout)
  assert process.returncode == status, errors[-3000:]
  return errors


def lines(workdir):
  path = workdir / METRICS
  return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_until(process, condition):
  """Returns once `condition()` holds, or the process has ended."""
  deadline = time.monotonic() + 240
  while time.monotonic() < deadline and process.poll() is None:
    if condition():
      return
    time.sleep(0.005)
