"""Estimates the time of an RL step on a slice, phase by phase.

A roofline: a phase takes as long as its slowest resource, the matrix units, the
memory, or the links that carry what is fetched ahead; and besides as long as
the traffic that the next product waits for. Nothing is compiled, and nothing
else is modeled: not the tail of a kernel, nor a wait for the host.
"""

from collections.abc import Mapping
import dataclasses
import math
from typing import TYPE_CHECKING

from jaxrl_entropy.planning import workload
from jaxrl_entropy.planning.sizes import Mesh
from jaxrl_entropy.planning.topology import Topology
from jaxrl_entropy.planning.work import Load, Work

if TYPE_CHECKING:  # It loads JAX.
  from jaxrl_entropy.models.config import TransformerConfig


@dataclasses.dataclass(frozen=True)
class Machine:
  """Rates of the devices of a mesh, per second.

  Attributes:
    flops: of matrix products, one device.
    bandwidth: bytes of memory, one device.
    links: bytes that a device sends over each mesh axis.
    hop: seconds from one device to the next.
    verified: responses that all hosts verify.
  """

  flops: float
  bandwidth: float
  links: Mapping[str, float] = dataclasses.field(default_factory=dict)
  hop: float = 0.0
  verified: float = math.inf

  def at(self, shares: "Shares") -> "Machine":
    """Returns the machine at a share of its peaks.

    Args:
      shares: of its rates, from 0 to 1; hops and verifiers keep theirs.
    """
    return dataclasses.replace(
      self,
      flops=self.flops * shares.flops,
      bandwidth=self.bandwidth * shares.bandwidth,
      links={axis: rate * shares.links for axis, rate in self.links.items()},
    )


@dataclasses.dataclass(frozen=True)
class Shares:
  """Parts of the peak rates that programs reach.

  The defaults are assumptions until a slice is measured: public training of
  dense models on v5p runs at .50 to .65 of the peak with all losses (MaxText),
  of which those that this module counts are no part.

  Attributes:
    flops: of the matrix units' rate.
    bandwidth: of the memory's.
    links: of the links'.
  """

  flops: float = 0.65
  bandwidth: float = 0.8
  links: float = 0.8


PEAKS = Shares(1.0, 1.0, 1.0)
HOP = 1e-6
"""Seconds that a message takes to a neighboring chip, about."""
VERIFIED_PER_WORKER = 150.0
"""Mathematical answers a second (docs/results/benchmarks/rewards.json)."""
CHIPS_PER_HOST = 4


def hosts(topology: Topology) -> int:
  """Returns the number of hosts of a slice."""
  return max(topology.chips // CHIPS_PER_HOST, 1)


def machine(
  topology: Topology, mesh: Mesh, workers: int, *, whole: bool = True
) -> Machine:
  """Returns the peak rates of a slice.

  Args:
    topology: the slice.
    mesh: sizes of the mesh axes on it.
    workers: processes that verify responses, per host.
    whole: whether the mesh covers the slice. The devices of a part of it are
      no torus; each axis is then counted with a single link.
  """
  generation = topology.generation
  return Machine(
    generation.flops,
    generation.bandwidth,
    {
      axis: topology.link_rate(mesh, axis) if whole else generation.link
      for axis in mesh
    },
    HOP,
    verified=hosts(topology) * workers * VERIFIED_PER_WORKER,
  )


@dataclasses.dataclass(frozen=True)
class Phase:
  """Seconds of one phase, by what they are spent on.

  Attributes:
    flops: matrix products.
    memory: reading and writing the device's memory.
    hidden: the busiest axis's traffic that is fetched or sent ahead.
    blocking: traffic that a product waits for, all axes.
    host: work of the hosts.
  """

  flops: float = 0.0
  memory: float = 0.0
  hidden: float = 0.0
  blocking: float = 0.0
  host: float = 0.0

  @property
  def seconds(self) -> float:
    """Duration where all but the blocking traffic overlaps."""
    return max(self.flops, self.memory, self.hidden) + self.blocking + self.host

  @property
  def limit(self) -> str:
    """The resource with the most seconds."""
    return max(dataclasses.asdict(self).items(), key=lambda item: item[1])[0]


def phase(work: Work, mesh: Mesh, rates: Machine) -> Phase:
  """Returns the seconds of one device's work.

  Args:
    work: demands on one device.
    mesh: size of each axis, by name.
    rates: of a device, at the shares of its peaks that are assumed.
  """
  hidden, blocking = (
    {
      axis: amount / rates.links[axis]
      for axis, amount in sent.items()
      if amount
    }
    for sent in (work.hidden, work.blocking)
  )
  hops = sum(2 * (mesh[axis] - 1) * n for axis, n in work.waits.items())
  return Phase(
    work.flops / rates.flops,
    work.memory / rates.bandwidth,
    max(hidden.values(), default=0.0),
    sum(blocking.values()) + hops * rates.hop,
  )


def phases(
  model: "TransformerConfig", load: Load, mesh: Mesh, rates: Machine
) -> dict[str, Phase]:
  """Returns the phases of a step on one mesh, in their order.

  Args:
    model: sizes of the policy.
    load: of a step.
    mesh: size of each axis, by name.
    rates: of a device, and of the hosts that verify.
  """
  computed = {
    name: phase(work(model, load, mesh), mesh, rates)
    for name, work in workload.PHASES.items()
  }
  verify = Phase(host=load.responses / rates.verified)
  names = (*workload.SAMPLING, "verify", "score", "update", "transfer")
  return {name: (computed | {"verify": verify})[name] for name in names}


@dataclasses.dataclass(frozen=True)
class Step:
  """The duration of a step in one form.

  Attributes:
    phases: of the step.
    sampling: seconds until all rewards are known.
    training: seconds of scoring and updates.
    transfer: seconds in which the sampler gets its weights.
    overlap: whether sampling and training run at the same time.
  """

  phases: Mapping[str, Phase]
  overlap: bool = False

  @property
  def sampling(self) -> float:
    sampled = sum(self.phases[name].seconds for name in workload.SAMPLING)
    verify = self.phases["verify"].seconds
    return max(sampled, verify) if self.overlap else sampled + verify

  @property
  def training(self) -> float:
    return self.phases["score"].seconds + self.phases["update"].seconds

  @property
  def transfer(self) -> float:
    return self.phases["transfer"].seconds

  @property
  def seconds(self) -> float:
    if self.overlap:
      return max(self.sampling, self.training) + self.transfer
    return self.sampling + self.training + self.transfer


def halves(topology: Topology, mesh: Mesh) -> tuple[Topology, Mesh] | None:
  """Returns half a slice and its mesh; None where no row axis is even.

  Args:
    topology: the whole slice.
    mesh: size of each axis on it.
  """
  for axis in ("data", "fsdp", "context"):
    if mesh[axis] % 2 == 0:
      return topology.half(), {**mesh, axis: mesh[axis] // 2}
  return None
