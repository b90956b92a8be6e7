"""The verdicts of a plan, as text and as JSON."""

from collections.abc import Mapping
import dataclasses
from typing import Any

from jaxrl_entropy.planning import estimate as estimate_lib
from jaxrl_entropy.planning.compiling import Result
from jaxrl_entropy.planning.estimate import Estimate
from jaxrl_entropy.planning.topology import GIB, Topology

MIB = GIB / 2**10

FITS, TIGHT, TOO_BIG = "FITS", "TIGHT", "DOES NOT FIT"
GOOD = (FITS, TIGHT)
# Above this share of the memory, fragmentation or another version of the
# compiler may be enough to run out of it.
TIGHT_FROM = 0.93

EXIT = {FITS: 0, TIGHT: 0, TOO_BIG: 1}
NOT_COMPILED = 3
"""Exit status where there is no compiler, or it gave no verdict."""


@dataclasses.dataclass(frozen=True)
class Plan:
  """Programs of one config on one slice.

  Attributes:
    config: as it was named.
    topology: the slice.
    mesh: size of each axis.
    results: of the programs train, prefill and decode.
    estimate: of the time of a step.
    advice: what would fit, where something does not; else empty.
  """

  config: str
  topology: Topology
  mesh: Mapping[str, int]
  results: Mapping[str, Result]
  estimate: Estimate
  advice: str = ""

  @property
  def phases(self) -> dict[str, float | None]:
    """Bytes at the peak of each phase of a step, with all that is resident.

    While sampling, the train state stays; while training, the sampler's copy
    and its cache are gone.
    """
    train = self.results["train"]
    state = resident(train)
    peaks = [self.results[name].needed for name in ("prefill", "decode")]
    known = [state + peak for peak in peaks if peak is not None]
    together = max(known) if len(known) == len(peaks) else None
    return {"training": train.needed, "sampling beside it": together}

  @property
  def verdict(self) -> str | None:
    """The worst verdict of all phases; None where one is not known."""
    verdicts = [judge(x, self.topology) for x in self.phases.values()]
    verdicts += [judge_program(x, self.topology) for x in self.results.values()]
    if TOO_BIG in verdicts:
      return TOO_BIG
    if None in verdicts:
      return None
    return TIGHT if TIGHT in verdicts else FITS

  @property
  def status(self) -> int:
    """Exit status of the command."""
    return NOT_COMPILED if self.verdict is None else EXIT[self.verdict]


def judge(needed: float | None, topology: Topology) -> str | None:
  """Returns the verdict on a peak of memory; None where it is not known.

  Args:
    needed: bytes per device at the peak; None where it is not known.
    topology: the slice whose memory it must fit.
  """
  if needed is None:
    return None
  share = needed / topology.generation.hbm
  return FITS if share <= TIGHT_FROM else TIGHT if share <= 1 else TOO_BIG


def judge_program(result: Result, topology: Topology) -> str | None:
  """Returns a program's verdict; the compiler's if it ran out of memory.

  Args:
    result: of the compiled program.
    topology: the slice whose memory it must fit.
  """
  if result.status == "out of memory":
    return TOO_BIG
  return judge(result.needed, topology)


def resident(train: Result) -> float:
  """Bytes of the train state, which stay when the mini-batch has gone."""
  return sum(x for role, x in train.roles.items() if role != "mini-batch")


def bound(result: Result, topology: Topology) -> float:
  """Seconds that one call takes at least: by arithmetic or by memory.

  Args:
    result: of the compiled program, for one call.
    topology: the slice, whose peak rates are assumed.
  """
  generation = topology.generation
  return max(
    result.flops / generation.flops, result.traffic / generation.bandwidth
  )


def excess(result: Result) -> float | None:
  """Returns how often a program sends the least that it must.

  Args:
    result: of the compiled program.

  Returns:
    The ratio over all axes; None where nothing was compiled, or nothing must be
    sent, or the least is not known.
  """
  least = sum(result.least.values())
  if not least or result.collectives is None:
    return None
  return sum(one["bytes"] for one in result.collectives) / least


def to_json(plan: Plan) -> dict[str, Any]:
  """Returns the plan as plain JSON types."""
  programs = {
    name: dataclasses.asdict(result)
    | {
      "verdict": _verdict(result, plan.topology),
      "bound_seconds": bound(result, plan.topology),
      "excess": excess(result),
    }
    for name, result in plan.results.items()
  }
  return {
    "config": plan.config,
    "topology": dataclasses.asdict(plan.topology),
    "mesh": dict(plan.mesh),
    "programs": programs,
    "phases": plan.phases,
    "verdict": plan.verdict,
    "advice": plan.advice,
    "estimate": estimate_lib.to_json(plan.estimate),
  }


def to_text(plan: Plan) -> str:
  """Returns the plan as text for a terminal."""
  topology = plan.topology
  mesh = ", ".join(f"{axis} {size}" for axis, size in plan.mesh.items())
  lines = [
    f"{plan.config} on {topology.name}: {topology.devices} devices "
    f"({topology.compiler_name}), {_size(topology.generation.hbm)} each",
    f"mesh: {mesh}",
    "",
  ]
  for name, result in plan.results.items():
    lines += _program_lines(name, result, topology)
  for phase, needed in plan.phases.items():
    verdict = judge(needed, topology) or "not known"
    lines.append(f"{verdict:13} {phase}: {_size(needed)}")
  lines += ["", *estimate_lib.to_lines(plan.estimate)]
  if plan.advice:
    lines.append(f"advice: {plan.advice}")
  if any(r.status == "not compiled" for r in plan.results.values()):
    lines.append("no compiler for TPUs: sizes only; pip install libtpu")
  return "\n".join(lines)


def _program_lines(name: str, result: Result, topology: Topology) -> list[str]:
  lines = [
    f"{_verdict(result, topology):13} {name}: peak {_size(result.needed)}"
    + (f", compiled in {result.seconds:.0f} s" if result.seconds else "")
  ]
  if result.message:
    lines.append(f"  {result.message}")
  lines += [f"  {_size(x):>10}  {role}" for role, x in result.roles.items()]
  if result.temporaries:
    lines.append(f"  {_size(result.temporaries):>10}  temporaries")
  lines += [
    f"  {_size(x):>10}  {item}, in the temporaries"
    for item, x in result.inside.items()
  ]
  seconds = bound(result, topology)
  lines.append(
    f"  at least {seconds:.3g} s for {result.tokens} tokens (a bound, not a "
    f"prediction: {result.flops:.3g} FLOPs, {_size(result.traffic)} a device)"
  )
  for one in result.collectives or ():
    lines.append(
      f"  {_size(one['bytes']):>10}  sent by {one['count']} x {one['kind']} "
      f"over {'+'.join(one['axes'])}"
    )
  if ratio := excess(result):
    lines.append(
      f"  {_size(sum(result.least.values())):>10}  is the least for these "
      f"micro-batches: {ratio:.2f} times as much is sent"
    )
  lines += [f"  warning: {warning}" for warning in result.warnings]
  return [*lines, ""]


def _verdict(result: Result, topology: Topology) -> str:
  return judge_program(result, topology) or result.status.upper()


def _size(size: float | None) -> str:
  if size is None:
    return "not known"
  return (
    f"{size / GIB:.2f} GiB" if size >= GIB / 20 else f"{size / MIB:.2f} MiB"
  )
