"""Runs a function in a fresh process that has several fake CPU devices."""

from collections.abc import Callable
import importlib
import os
from pathlib import Path
import pickle
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
  with tempfile.TemporaryDirectory() as folder:
    call, answer = Path(folder, "call"), Path(folder, "answer")
    call.write_bytes(
      pickle.dumps((function.__module__, function.__qualname__, args))
    )
    done = subprocess.run(
      (sys.executable, "-m", "tests.devices", str(call), str(answer)),
      cwd=ROOT,
      env=environment(devices),
      capture_output=True,
      text=True,
      timeout=timeout,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return pickle.loads(answer.read_bytes())


def _serve(call: str, answer: str) -> None:
  import jax
  import numpy as np

  module, name, args = pickle.loads(Path(call).read_bytes())
  result = getattr(importlib.import_module(module), name)(*args)
  result = jax.tree.map(
    lambda x: np.asarray(x) if isinstance(x, jax.Array) else x, result
  )
  Path(answer).write_bytes(pickle.dumps(result))


if __name__ == "__main__":
  _serve(sys.argv[1], sys.argv[2])
