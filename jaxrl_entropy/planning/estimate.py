"""The estimated time and cost of a run on a slice, whole or split in two."""

from collections.abc import Iterator, Mapping
import dataclasses
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from jaxrl_entropy.planning import roofline, workload
from jaxrl_entropy.planning.roofline import PEAKS, Shares, Step
from jaxrl_entropy.planning.sizes import Mesh
from jaxrl_entropy.planning.topology import GIB, Topology
from jaxrl_entropy.planning.work import Load

if TYPE_CHECKING:  # It loads JAX.
  from jaxrl_entropy.models.config import TransformerConfig

# Forward passes of other models over a rollout, by the field they fill.
_SCORED = ("ref_logp", "teacher_logp")
_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
_EVALUATION = "copy and cache of evaluations"
_CACHE_SHARE = 0.9  # of the memory beside the weights of a sampler's own half


@dataclasses.dataclass(frozen=True)
class Estimate:
  """The step of a run on a slice.

  Attributes:
    load: the step's.
    steps: of the run.
    chips: of the slice.
    hbm: bytes of memory of a device.
    least: every phase at the peak rates.
    expected: at the shares of the peaks that programs are assumed to reach.
    split: the same shares with half of the slice for sampling and half for
      training, at the same time; None where it has no halves.
    shares: these shares.
    memory: bytes that each device holds at least, by what they are.
    split_memory: in two halves, gradient and moments on one and the sampler's
      on the other.
    samplers: axes of the mesh that samples, where `rollout.devices` splits the
      slice; the sampler's share of `memory` is then on its devices, all else on
      the others. None where one mesh does both.
  """

  load: Load
  steps: int
  chips: int
  hbm: float
  least: Step
  expected: Step
  split: Step | None
  shares: Shares
  memory: Mapping[str, float]
  split_memory: Mapping[str, float]
  samplers: Mesh | None = None

  @property
  def form(self) -> str:
    """Returns "one mesh", which samples and trains, or "two meshes"."""
    return "one mesh" if self.samplers is None else "two meshes"

  @property
  def peaks(self) -> dict[str, float]:
    """Bytes that a device holds at least in each phase, of its own mesh."""
    held = self.memory
    state = held["parameters and moments"]
    sampler = held["sampler copy"] + held["cache"]
    peaks = {"training": state + held["gradient"]}
    if self.samplers is None:
      return peaks | {"sampling beside it": state + sampler}
    if _EVALUATION in held:
      peaks["evaluation"] = state + held[_EVALUATION]
    return peaks | {"sampling": sampler}

  def chip_hours(self, step: Step) -> float:
    """Chip-hours of the whole run, without evaluation and waiting.

    Args:
      step: one form of a step, such as `expected`; all steps take as long.
    """
    return step.seconds * self.steps * self.chips / 3600


def make_load(
  config: ConfigDict, prompt: float = 0, response: float = 0
) -> Load:
  """Returns the load of a config.

  Args:
    config: of the run.
    prompt: tokens of a prompt, on average; 0: half of the longest.
    response: tokens of a response, on average; 0: half of the longest.
  """
  rollout, optimizer = config.rollout, config.optimizer
  prompts, group = rollout.prompts_per_step, rollout.group_size
  row = rollout.max_prompt_length + rollout.max_response_length
  slots = rollout.slots or prompts * group
  return Load(
    prompts=prompts,
    group=group,
    trained=(rollout.train_groups or prompts) * group,
    prompt=prompt or rollout.max_prompt_length / 2,
    response=response or rollout.max_response_length / 2,
    longest=rollout.max_response_length,
    row=row,
    slots=slots,
    cached=rollout.kv_tokens or slots * row,
    updates=rollout.num_minibatches,
    micro_batches=optimizer.micro_batches,
    packed=rollout.pack or rollout.share_prompts,
    scores=1 + sum(name in _needs(config) for name in _SCORED),
    remat=config.model.remat,
    adapters=bool(config.model.lora_rank or config.model.prefix_length),
    width=_BYTES[config.model.compute_dtype],
    copy_bytes=_BYTES[rollout.weight_dtype or config.model.compute_dtype],
  )


def _needs(config: ConfigDict) -> frozenset[str]:
  from jaxrl_entropy.training import algorithm

  return frozenset(algorithm.resolve(config).needs)


def make(
  config: ConfigDict,
  model: "TransformerConfig",
  topology: Topology,
  mesh: Mesh,
  load: Load,
  shares: Shares | None = None,
  samplers: Mesh | None = None,
) -> Estimate:
  """Returns the estimate of a config's steps on a slice.

  Args:
    config: of the run.
    model: the policy.
    topology: the slice.
    mesh: sizes of its axes; of the part that trains, where it is split.
    load: of a step.
    shares: of the peak rates that programs reach; None: the assumed ones.
    samplers: axes of the part that samples; None: all devices do both.
  """
  shares = shares or Shares()
  if samplers is not None:
    return _on_two_meshes(
      config, model, topology, (mesh, samplers), load, shares
    )
  rates = roofline.machine(topology, mesh, config.reward.workers)
  least, expected = (
    Step(roofline.phases(model, load, mesh, rates.at(share)))
    for share in (PEAKS, shares)
  )
  split, apart = _split(config, model, topology, mesh, load, shares)
  memory = workload.resident(model, load, mesh)
  return Estimate(
    load,
    config.steps,
    topology.chips,
    topology.generation.hbm,
    least,
    expected,
    split,
    shares,
    memory,
    apart,
  )


def _on_two_meshes(
  config: ConfigDict,
  model: "TransformerConfig",
  topology: Topology,
  meshes: tuple[Mesh, Mesh],
  load: Load,
  shares: Shares,
) -> Estimate:
  """Returns the estimate of a run that trains and samples on its own meshes."""
  trainers, samplers = meshes
  overlap = config.rollout.max_staleness > 0

  def step(at: Shares) -> Step:
    training, sampling = (
      roofline.machine(topology, mesh, config.reward.workers, whole=False).at(
        at
      )
      for mesh in meshes
    )
    phases = roofline.phases(model, load, trainers, training)
    sampled = roofline.phases(model, load, samplers, sampling)
    phases |= {name: sampled[name] for name in workload.SAMPLING}
    sent = workload.send(model, load, trainers, samplers)
    phases["transfer"] = roofline.phase(sent, trainers, training)
    return Step(phases, overlap)

  state, sampler = (workload.resident(model, load, mesh) for mesh in meshes)
  memory = state | {name: sampler[name] for name in ("sampler copy", "cache")}
  if overlap and config.eval.every:
    # The sampler of the rollouts is in use, so the trainers evaluate.
    beside = state["sampler copy"] + state["cache"]
    memory[_EVALUATION] = beside
  return Estimate(
    load,
    config.steps,
    topology.chips,
    topology.generation.hbm,
    step(PEAKS),
    step(shares),
    None,
    shares,
    memory,
    {},
    samplers,
  )


def _split(
  config: ConfigDict,
  model: "TransformerConfig",
  topology: Topology,
  mesh: Mesh,
  load: Load,
  shares: Shares,
) -> tuple[Step | None, dict[str, float]]:
  """Returns the step in which both halves of a slice work, and their memory.

  The trainer's half sends its weights to the other's over the links between
  them. The sampler's cache takes the memory that the train state leaves.
  """
  halves = roofline.halves(topology, mesh)
  if halves is None:
    return None, {}
  half, own = halves
  rates = roofline.machine(half, own, config.reward.workers).at(shares)
  room = cache_room(model, load, half, own)
  sampling = dataclasses.replace(load, cached=min(room, load.slots * load.row))
  phases = roofline.phases(model, load, own, rates)
  sampled = roofline.phases(model, sampling, own, rates)
  phases |= {name: sampled[name] for name in workload.SAMPLING}
  memory = workload.resident(model, sampling, own)
  return Step(phases, overlap=True), memory


def cache_room(
  model: "TransformerConfig", load: Load, topology: Topology, mesh: Mesh
) -> int:
  """Returns the tokens that a sampler's cache holds with a slice to itself.

  Args:
    model: sizes of the policy.
    load: of a step.
    topology: the slice that only samples.
    mesh: size of each axis on it, by name.

  Returns:
    Tokens that all devices hold together, those of one row at least.
  """
  held = workload.resident(model, load, mesh)
  left = _CACHE_SHARE * topology.generation.hbm - held["sampler copy"]
  return max(int(left / held["cache"] * load.cached), load.row)


def to_json(estimate: Estimate) -> dict[str, Any]:
  """Returns the estimate as plain JSON types."""

  def described(step: Step | None) -> dict[str, Any] | None:
    if step is None:
      return None
    return {
      "phases": {
        name: dataclasses.asdict(phase) | {"seconds": phase.seconds}
        for name, phase in step.phases.items()
      },
      "sampling": step.sampling,
      "training": step.training,
      "transfer": step.transfer,
      "seconds": step.seconds,
      "chip_hours": estimate.chip_hours(step),
    }

  return {
    "load": dataclasses.asdict(estimate.load),
    "steps": estimate.steps,
    "hbm": estimate.hbm,
    "peaks": estimate.peaks,
    "shares": dataclasses.asdict(estimate.shares),
    "memory": dict(estimate.memory),
    "split_memory": dict(estimate.split_memory),
    "samplers": estimate.samplers and dict(estimate.samplers),
    "least": described(estimate.least),
    "expected": described(estimate.expected),
    "split": described(estimate.split),
  }


def to_lines(estimate: Estimate) -> Iterator[str]:
  """Yields the estimate as text for a terminal."""
  load, shares = estimate.load, estimate.shares
  yield (
    f"a step, with prompts of {load.prompt:.0f} and responses of "
    f"{load.response:.0f} tokens on average:"
  )
  yield f"  {'':10} {'at least':>10} {'expected':>10}  limited by"
  expected: Mapping[str, roofline.Phase] = estimate.expected.phases
  for name, phase in estimate.least.phases.items():
    yield (
      f"  {name:10} {phase.seconds:8.3g} s {expected[name].seconds:8.3g} s  "
      f"{expected[name].limit}"
    )
  for name, step in (
    (estimate.form, estimate.expected),
    ("two halves", estimate.split),
  ):
    if step is not None:
      yield (
        f"  {name}: {step.seconds:.3g} s (sampling {step.sampling:.3g}, "
        f"training {step.training:.3g}, weights {step.transfer:.3g}), "
        f"{estimate.chip_hours(step):.3g} chip-hours for {estimate.steps} steps"
      )
  for form, memory in (
    (estimate.form, estimate.memory),
    ("two halves", estimate.split_memory),
  ):
    sizes = (f"{name} {size / GIB:.2f} GiB" for name, size in memory.items())
    if memory:
      yield f"  at least on {form}: {', '.join(sizes)}"
  peaks = (
    f"{phase} {size / GIB:.2f} GiB{' (too much)' * (size > estimate.hbm)}"
    for phase, size in estimate.peaks.items()
  )
  limit = f"{estimate.hbm / GIB:.2f} GiB on {estimate.form}"
  yield f"  of {limit}: {', '.join(peaks)}"
  yield (
    f"  expected: {shares.flops:.0%} of the peak FLOP/s, "
    f"{shares.bandwidth:.0%} of the memory's and {shares.links:.0%} of the "
    "links' rate, assumed; sampling and training overlap from "
    "rollout.max_staleness 1 on, and each mesh must fit by itself"
  )
