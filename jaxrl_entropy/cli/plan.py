"""`jaxrl-entropy plan`: memory and cost of a run on a TPU slice."""

from collections.abc import Sequence
import dataclasses
import functools
import json

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.cli import flags
from jaxrl_entropy.planning import advice, compiling, report, topology
from jaxrl_entropy.planning.compiling import Result, Task

_EXAMPLES = """\
  jaxrl-entropy plan --config=configs/qwen2_5_7b_kl_cov.py --topology=v5e-16
  jaxrl-entropy plan --config=configs/qwen2_5_32b_kl_cov.py \\
      --topology=v5p:4x4x8 --low-effort --json

It compiles the train step and the sampler for the slice, which needs the
compiler for TPUs (pip install libtpu) but no TPU.

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
  command.add_argument("--json", action="store_true", help="print JSON")
  args, overrides = flags.parse_with_overrides(command, argv)
  config = config_lib.load(args.config, overrides)
  slice_ = topology.parse(args.topology)
  # JAX takes a second to load, which --help and mistakes need not wait for.
  from jaxrl_entropy import sharding

  mesh = sharding.axis_sizes(slice_.devices, **config.mesh)

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
  plan = report.Plan(args.config, slice_, mesh, results)
  if plan.verdict == report.TOO_BIG:
    settings = advice.advise(plan, config, compile_one)
    plan = dataclasses.replace(plan, advice=settings)
  if args.json:
    print(json.dumps(report.to_json(plan), indent=2))
  else:
    print(report.to_text(plan))
  return plan.status
