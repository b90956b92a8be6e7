"""The child process of `compiling`: one program, compiled and measured."""

from collections.abc import Sequence
import dataclasses
import json
from pathlib import Path
import re
import sys
import time

import jax
from jax.experimental import topologies
from jax.sharding import Mesh

from jaxrl_entropy import config as config_lib, sharding
from jaxrl_entropy.planning import (
  estimate,
  flops,
  hlo,
  programs,
  topology,
  traffic,
  workload,
)
from jaxrl_entropy.planning.compiling import Result, Task
from jaxrl_entropy.planning.programs import Program

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def main() -> None:
  """Compiles the task on standard input; writes the result to a file."""
  task, answer = Task(**json.load(sys.stdin)), Path(sys.argv[1])
  config = config_lib.load(task.config, task.overrides)
  mesh = sharding.make_mesh(**config.mesh, devices=_devices(task))
  model = programs.planned_model(config)
  program = programs.MAKERS[task.program](config, mesh)
  least = {}
  if task.program == "train":
    load = estimate.make_load(config)
    least = workload.update_sends(model, load, mesh.shape)
  # Under this mesh nothing can be computed: its devices are not there.
  with jax.set_mesh(mesh):
    result = _measure(program, mesh, model.num_experts)
    result = dataclasses.replace(result, least=least)
    if task.compiles:
      result = _compile(program, mesh, result, dump=answer.parent)
  answer.write_text(json.dumps(dataclasses.asdict(result)))


def _devices(task: Task) -> Sequence[jax.Device]:
  """Returns the slice's devices, or stand-ins where nothing is compiled."""
  if not task.compiles:
    return jax.devices()
  slice_ = topology.parse(task.topology)
  described = topologies.get_topology_desc(
    platform="tpu",
    topology_name=slice_.compiler_name,
    num_slices=1,
    **dict(slice_.generation.options),
  )
  return described.devices


def _measure(program: Program, mesh: Mesh, experts: int) -> Result:
  """Returns the sizes and FLOPs that are known before compiling."""
  roles = {k: programs.device_bytes(v) for k, v in program.roles.items()}
  weights = programs.device_bytes(program.weights)
  arguments = programs.device_bytes(program.args)
  return Result(
    "not compiled",
    roles,
    flops=flops.count(program.function, *program.args, experts=experts)
    / mesh.size,
    traffic=arguments + (program.steps - 1) * weights,
    tokens=program.tokens,
    inside={k: programs.device_bytes(v) for k, v in program.inside.items()},
  )


def _compile(
  program: Program, mesh: Mesh, result: Result, dump: Path
) -> Result:
  start = time.monotonic()
  try:
    compiled = program.function.lower(*program.args).compile()
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    needed = _needed(str(error), sum(result.roles.values()))
    return dataclasses.replace(result, status="out of memory", needed=needed)
  memory = compiled.memory_analysis()
  needed = memory.argument_size_in_bytes + memory.temp_size_in_bytes
  needed += memory.output_size_in_bytes - memory.alias_size_in_bytes
  texts = dump.glob("*.after_optimizations.txt")
  text = max(texts, key=lambda path: path.stat().st_size).read_text()
  collectives = hlo.collectives(text, mesh.shape)
  return dataclasses.replace(
    result,
    status="ok",
    needed=needed + memory.generated_code_size_in_bytes,
    temporaries=memory.temp_size_in_bytes,
    collectives=traffic.summary(collectives),
    warnings=traffic.warnings(collectives, program, mesh.shape),
    seconds=time.monotonic() - start,
  )


def _needed(message: str, arguments: float) -> float | None:
  """Returns the bytes that a failed compilation asked for, if it says so."""
  total = re.search(r"Used ([\d.]+)([KMG]) of", message)
  if total:
    return float(total[1]) * _UNITS[total[2]]
  temporaries = re.search(r"temporaries \(([\d.]+)([KMG])\)", message)
  if temporaries:
    return arguments + float(temporaries[1]) * _UNITS[temporaries[2]]
  return None


if __name__ == "__main__":
  main()
