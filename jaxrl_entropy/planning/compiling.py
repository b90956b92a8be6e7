"""Compiles one program for a slice that is not there, in a child process.

The compiler for TPUs needs an environment of its own, may take long, and may
crash; so each program is compiled by `python -m jaxrl_entropy.planning.child`,
which reads a task and writes a result, both JSON.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import importlib.util
import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
from typing import Any

from jaxrl_entropy.planning import topology

COMPILER = {
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
  # A program from the cache leaves no text behind.
  "JAX_ENABLE_COMPILATION_CACHE": "false",
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
  """A program to compile, and for which slice.

  Attributes:
    config: `FILE.py[:ARG]`.
    overrides: dotted field and its value as text.
    topology: name of the slice.
    program: "train", "prefill" or "decode".
    compiles: false: only tell of sizes, which needs no compiler.
    low_effort: compile faster; the collectives may differ from a run's.
  """

  config: str
  overrides: tuple[tuple[str, str], ...]
  topology: str
  program: str
  compiles: bool = True
  low_effort: bool = False


@dataclasses.dataclass(frozen=True)
class Result:
  """Figures of a compiled program; bytes and FLOPs are of one device.

  Attributes:
    status: "ok", "out of memory", "time limit", "failed", or "not compiled"
      where there is no compiler.
    roles: bytes of its arguments by what they are.
    flops: matrix FLOPs of one call.
    traffic: bytes that one call must at least read and write.
    tokens: that one call makes or learns from, on the whole mesh.
    needed: bytes at the peak; None where that is not known.
    temporaries: bytes besides arguments and results.
    inside: bytes of what the temporaries must at least hold, by what it is.
    collectives: a mapping for each kind and axes (kind, axes, count, bytes);
      None where nothing was compiled.
    least: bytes that an update must send over each axis, where the weights are
      gathered and the gradients reduced for each of its micro-batches.
    warnings: about the collectives.
    message: why it failed.
    seconds: that compiling took.
  """

  status: str
  roles: Mapping[str, float] = dataclasses.field(default_factory=dict)
  flops: float = 0.0
  traffic: float = 0.0
  tokens: int = 0
  needed: float | None = None
  temporaries: float = 0.0
  inside: Mapping[str, float] = dataclasses.field(default_factory=dict)
  collectives: Sequence[dict[str, Any]] | None = None
  least: Mapping[str, float] = dataclasses.field(default_factory=dict)
  warnings: Sequence[str] = ()
  message: str = ""
  seconds: float = 0.0


def has_compiler() -> bool:
  """Whether the compiler for TPUs (libtpu) is installed."""
  return importlib.util.find_spec("libtpu") is not None


def compile_apart(task: Task, limit: float) -> Result:
  """Compiles in a child process, which is ended after `limit` seconds.

  Args:
    task: the program, and the slice to compile it for.
    limit: seconds that the child may take, its start included.

  Returns:
    Figures of the program; a failure is told by its `status`.
  """
  with tempfile.TemporaryDirectory() as folder:
    answer = Path(folder, "answer.json")
    command = (sys.executable, "-m", "jaxrl_entropy.planning.child", answer)
    try:
      done = subprocess.run(
        command,
        input=json.dumps(dataclasses.asdict(task)),
        env=os.environ | _environment(task, folder),
        capture_output=True,
        text=True,
        timeout=limit,
      )
    except subprocess.TimeoutExpired:
      return Result("time limit", message=f"stopped after {limit:.0f} s")
    if done.returncode != 0 or not answer.exists():
      lines = [line for line in done.stderr.splitlines() if line.strip()]
      return Result("failed", message=lines[-1] if lines else "no output")
    return Result(**json.loads(answer.read_text()))


def _environment(task: Task, folder: str) -> dict[str, str]:
  # Unfiltered, a traceback ends in the error itself.
  variables = {"JAX_PLATFORMS": "cpu", "JAX_TRACEBACK_FILTERING": "off"}
  if not task.compiles:
    devices = topology.parse(task.topology).devices
    return variables | {"JAX_NUM_CPU_DEVICES": str(devices)}
  # The compiler for TPUs stops at flags of other backends.
  flags = [
    flag
    for flag in os.environ.get("XLA_FLAGS", "").split()
    if not flag.startswith(("--xla_cpu_", "--xla_gpu_"))
  ]
  # The text of a very large program cannot be had in any other way.
  flags += [f"--xla_dump_to={folder}", "--xla_dump_hlo_as_text"]
  effort = _LOW_EFFORT if task.low_effort else {}
  return variables | COMPILER | effort | {"XLA_FLAGS": " ".join(flags)}
