"""Compiles one program for a slice that is not there, in a child process.

The compiler for TPUs needs its own environment, may take long, and may crash;
so each program is compiled by `python -m jaxrl_entropy.planning.compiling`,
which reads a request and writes an answer, both JSON.
"""

from collections.abc import Sequence
import dataclasses
import importlib.util
import json
import os
from pathlib import Path
import re
import subprocess
import sys
import tempfile
import time
from typing import Any

_ENVIRONMENT = {
  "JAX_PLATFORMS": "cpu",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
  # Without these the library looks for the machine that it is not on.
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_ACCELERATOR_TYPE": "v5litepod-16",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "TPU_WORKER_ID": "0",
  "TPU_STDERR_LOG_LEVEL": "3",
  "TPU_MIN_LOG_LEVEL": "3",
  "TPU_LOG_DIR": "disabled",
}
_LOW_EFFORT = {
  "JAX_OPTIMIZATION_LEVEL": "O1",
  "JAX_EXEC_TIME_OPTIMIZATION_EFFORT": "-1.0",
}


@dataclasses.dataclass(frozen=True)
class Task:
  """What to compile.

  Attributes:
    config: `FILE.py[:ARG]`.
    overrides: dotted field and its value as text.
    topology: name of the slice.
    program: "train", "prefill" or "decode".
    low_effort: compile faster, with other collectives than a run would have.
  """

  config: str
  overrides: tuple[tuple[str, str], ...]
  topology: str
  program: str
  low_effort: bool = False


@dataclasses.dataclass(frozen=True)
class Result:
  """What the compiler says; bytes are of one device.

  Attributes:
    status: "ok", "out of memory", "time limit", or "failed".
    seconds: the compilation took.
    needed: bytes at the peak, None where the compiler does not tell.
    temporaries: bytes besides arguments and results.
    collectives: one mapping for each kind and axes: kind, axes, count, bytes;
      None where the program's text could not be read.
    warnings: about collectives.
    message: why it failed.
  """

  status: str
  seconds: float = 0.0
  needed: float | None = None
  temporaries: float = 0.0
  collectives: Sequence[dict[str, Any]] | None = None
  warnings: Sequence[str] = ()
  message: str = ""


def has_compiler() -> bool:
  """Whether the compiler for TPUs (libtpu) is installed."""
  return importlib.util.find_spec("libtpu") is not None


def compile_apart(task: Task, limit: float) -> Result:
  """Compiles in a child process that is ended after `limit` seconds."""
  effort = _LOW_EFFORT if task.low_effort else {}
  with tempfile.TemporaryDirectory() as folder:
    answer = Path(folder, "answer.json")
    request = json.dumps(dataclasses.asdict(task))
    try:
      done = subprocess.run(
        (sys.executable, "-m", __name__, str(answer)),
        input=request,
        env=os.environ | _ENVIRONMENT | effort,
        capture_output=True,
        text=True,
        timeout=limit,
      )
    except subprocess.TimeoutExpired:
      return Result("time limit", limit, message=f"stopped after {limit:.0f} s")
    if done.returncode != 0:
      return _failure(done.stderr)
    return Result(**json.loads(answer.read_text()))


def _failure(errors: str) -> Result:
  """The result of a child that did not answer, from its error output."""
  used = re.search(r"Used ([\d.]+)([KMG]) of [\d.]+[KMG] (?:hbm|HBM)", errors)
  if used:
    scale = {"K": 2**10, "M": 2**20, "G": 2**30}[used[2]]
    return Result("out of memory", needed=float(used[1]) * scale)
  lines = [line for line in errors.splitlines() if line.strip()]
  return Result("failed", message=lines[-1] if lines else "no output")


def main() -> None:
  request = json.load(sys.stdin)
  result = _compile(Task(**request))
  Path(sys.argv[1]).write_text(json.dumps(dataclasses.asdict(result)))


def _compile(task: Task) -> Result:
  import jax
  from jax.experimental import topologies

  from jaxrl_entropy import config as config_lib, sharding
  from jaxrl_entropy.planning import hlo, programs, topology, traffic

  slice_ = topology.parse(task.topology)
  devices = topologies.get_topology_desc(
    platform="tpu",
    topology_name=slice_.compiler_name,
    num_slices=1,
    **dict(slice_.generation.options),
  ).devices
  config = config_lib.load(task.config, task.overrides)
  mesh = sharding.make_mesh(**config.mesh, devices=devices)
  with jax.set_mesh(mesh):
    program = programs.MAKERS[task.program](config, mesh)
    start = time.monotonic()
    compiled = program.function.lower(*program.args).compile()
  memory = compiled.memory_analysis()
  results = memory.output_size_in_bytes - memory.alias_size_in_bytes
  needed = memory.argument_size_in_bytes + results
  needed += memory.temp_size_in_bytes + memory.generated_code_size_in_bytes
  seconds = time.monotonic() - start
  result = Result("ok", seconds, needed, memory.temp_size_in_bytes)
  try:
    text = compiled.as_text()
  except RuntimeError:  # The text of a very large program can fail to be made.
    return result
  collectives = hlo.collectives(text, mesh.shape)
  return dataclasses.replace(
    result,
    collectives=traffic.summary(collectives),
    warnings=programs.warnings(program, collectives, mesh),
  )


if __name__ == "__main__":
  main()
