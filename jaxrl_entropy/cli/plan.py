"""`jaxrl-entropy plan`: memory and cost of a run on a TPU slice."""

from collections.abc import Sequence
import dataclasses
import functools
import json
from typing import Any

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.cli import flags
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.planning import advice, compiling, report, topology
from jaxrl_entropy.planning.compiling import Result, Task

_EXAMPLES = """\
  jaxrl-entropy plan --config=configs/qwen2_5_7b_kl_cov.py --topology=v5e-16
  jaxrl-entropy plan --config=configs/qwen2_5_32b_kl_cov.py \\
      --topology=v5p:4x4x8 --low-effort --json

It compiles the train step and the sampler for the slice, which needs the
compiler for TPUs (pip install libtpu) but no TPU. The time of a step and the
chip-hours of the run are estimated without it; --estimate prints them alone.

exit status: 0 it fits, 1 it does not, 2 wrong settings, 3 not known (no
compiler, or it failed or was stopped)
"""
PROGRAMS = ("train", "prefill", "decode")


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  command = flags.parser(
    "plan", "Compiles a run for a TPU slice that is not there.", _EXAMPLES
  )
  flags.add_config_flag(command)
  command.add_argument(
    "--topology", required=True, help="slice, v5e-16 or v5p:4x4x8"
  )
  command.add_argument(
    "--low-effort",
    action="store_true",
    help="compile about 3 times faster; collectives may differ from a run's",
  )
  command.add_argument(
    "--limit", type=float, default=900, help="seconds for each program"
  )
  command.add_argument(
    "--prompt-tokens",
    type=float,
    default=0,
    help="of a prompt on average, for the estimate (default: half the longest)",
  )
  command.add_argument(
    "--response-tokens",
    type=float,
    default=0,
    help="of a response on average (default: half the longest)",
  )
  command.add_argument(
    "--estimate", action="store_true", help="compile nothing"
  )
  command.add_argument("--json", action="store_true", help="print JSON")
  args, overrides = flags.parse_with_overrides(command, argv)
  config = config_lib.load(args.config, overrides)
  slice_ = topology.parse(args.topology)
  # JAX takes a second to load, which --help and mistakes need not wait for.
  from jaxrl_entropy.planning import estimate, meshes, programs

  mesh, samplers = meshes.plan_meshes(config, slice_)
  if samplers is not None and not args.estimate:
    raise UserError(
      f"config.rollout.devices is {config.rollout.devices}, and no program is "
      f"compiled for a part of {slice_.name}: add --estimate, which counts "
      "time and memory of both parts"
    )
  load = estimate.make_load(config, args.prompt_tokens, args.response_tokens)
  model = programs.planned_model(config)
  planned = programs.planned_name(config)
  time = estimate.make(config, model, slice_, mesh, load, samplers=samplers)
  if args.estimate:
    lines = "\n".join(estimate.to_lines(time))
    _print(args.json, planned, estimate.to_json(time), lines)
    return 0

  compiles = compiling.has_compiler()

  @functools.cache
  def compile_one(program: str, more: advice.Overrides) -> Result:
    task = Task(
      config=args.config,
      overrides=(*overrides, *more),
      topology=args.topology,
      program=program,
      compiles=compiles,
      low_effort=args.low_effort,
    )
    return compiling.compile_apart(task, args.limit)

  results = {program: compile_one(program, ()) for program in PROGRAMS}
  plan = report.Plan(args.config, slice_, mesh, results, time)
  if plan.verdict == report.TOO_BIG:
    settings = advice.advise(plan, config, compile_one)
    plan = dataclasses.replace(plan, advice=settings)
  _print(args.json, planned, report.to_json(plan), report.to_text(plan))
  return plan.status


def _print(
  as_json: bool, planned: str, data: dict[str, Any], text: str
) -> None:
  if as_json:
    print(json.dumps({"model": planned} | data, indent=2))
  else:
    print(f"model: {planned}\n{text}")
