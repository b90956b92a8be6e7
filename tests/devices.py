"""Runs a function in fresh processes that have several fake CPU devices."""

from collections.abc import Callable
import contextlib
import importlib
import os
from pathlib import Path
import pickle
import socket
import subprocess
import sys
import tempfile
from typing import Any

ROOT = Path(__file__).parents[1]


def environment(devices: int) -> dict[str, str]:
  """The variables of a process with `devices` fake CPU devices."""
  return os.environ | {
    "JAX_PLATFORMS": "cpu",
    "JAX_NUM_CPU_DEVICES": str(devices),
  }


def job(processes: int) -> list[dict[str, str]]:
  """What each process of a job on this machine has in its environment."""
  if processes == 1:
    return [{}]
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    port = probe.getsockname()[1]
  return [
    {
      "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
      "JAX_NUM_PROCESSES": str(processes),
      "JAX_PROCESS_ID": str(index),
    }
    for index in range(processes)
  ]


def run(
  function: Callable[..., Any], *args: Any, devices: int = 8, timeout: int = 300
) -> Any:
  """`function(*args)`, computed by a fresh process; arrays come back as NumPy.

  Args:
    function: a function at the top level of a test module.
    *args: anything that pickles.
    devices: number of fake CPU devices the process has.
    timeout: seconds until the process is ended and the test fails.

  Raises:
    AssertionError: with the end of the process's error output, if it failed.
  """
  (answer,) = run_together(
    function, *args, processes=1, devices=devices, timeout=timeout
  )
  return answer


def run_together(
  function: Callable[..., Any],
  *args: Any,
  processes: int,
  devices: int,
  timeout: int = 300,
) -> list[Any]:
  """As `run`, by all processes of a job; `devices` are those of each.

  Returns:
    What each process answered.
  """
  with contextlib.ExitStack() as stack:
    started = []
    for member in job(processes):
      folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
      process = _start(function, args, environment(devices) | member, folder)
      stack.callback(process.kill)
      started.append((process, folder))
    for process, folder in started:
      errors = folder / "errors"
      assert process.wait(timeout) == 0, errors.read_text()[-4000:]
    return [
      pickle.loads((folder / "answer").read_bytes()) for _, folder in started
    ]


def _start(
  function: Callable[..., Any],
  args: tuple[Any, ...],
  variables: dict[str, str],
  folder: Path,
) -> subprocess.Popen:
  call = (function.__module__, function.__qualname__, args)
  (folder / "call").write_bytes(pickle.dumps(call))
  with (folder / "errors").open("w") as errors:
    return subprocess.Popen(
      (sys.executable, "-m", "tests.devices", str(folder)),
      cwd=ROOT,
      env=variables,
      stdout=subprocess.DEVNULL,
      stderr=errors,
    )


def _serve(folder: Path) -> None:
  import jax
  import numpy as np

  from jaxrl_entropy import distributed

  distributed.start()
  module, name, args = pickle.loads((folder / "call").read_bytes())
  result = getattr(importlib.import_module(module), name)(*args)
  result = jax.tree.map(
    lambda x: np.asarray(x) if isinstance(x, jax.Array) else x, result
  )
  (folder / "answer").write_bytes(pickle.dumps(result))


if __name__ == "__main__":
  _serve(Path(sys.argv[1]))
