"""A step's load, and what a phase of it demands of one device."""

from collections.abc import Mapping
import dataclasses

Amounts = Mapping[str, float]  # by mesh axis


@dataclasses.dataclass(frozen=True)
class Load:
  """One step of a run.

  Attributes:
    prompts: sampled in a step, all rounds together.
    group: responses of a prompt.
    trained: responses that are trained on.
    prompt: tokens of a prompt, on average.
    response: tokens of a response, on average.
    longest: tokens of a response, at most.
    row: tokens of a row of the update.
    slots: sequences decoded at a time.
    cached: tokens that the cache holds.
    updates: optimizer updates.
    micro_batches: of an update.
    packed: rows of the update hold several responses.
    scores: forward passes over the rollout before the updates.
    remat: what the backward pass recomputes.
    width: bytes of a number at use.
    copy_bytes: bytes of a weight in the sampler's copy.
    adapters: only low-rank adapters are trained, whose size is left out.
    prefill_tokens: of the prompts that one part of the mesh takes at a time.
  """

  prompts: int
  group: int
  trained: int
  prompt: float
  response: float
  longest: int
  row: int
  slots: int
  cached: int
  updates: int
  micro_batches: int
  packed: bool = False
  scores: int = 1
  remat: str = "full"
  width: int = 2
  copy_bytes: int = 2
  adapters: bool = False
  prefill_tokens: int = 4096

  @property
  def responses(self) -> int:
    """Responses sampled in a step."""
    return self.prompts * self.group

  @property
  def rows(self) -> float:
    """Rows that the updates of a step compute; padding counts."""
    used = (self.prompt + self.response) / self.row if self.packed else 1.0
    return self.trained * used

  @property
  def live(self) -> float:
    """Sequences decoded at a time that the slots and the cache allow."""
    shared = self.prompt / self.group
    room = self.cached / (shared + self.response)
    return min(self.slots, room, self.responses)

  @property
  def decode_steps(self) -> float:
    """Tokens that follow each other: those of the longest, or of all waves."""
    return max(self.longest, self.responses * self.response / self.live)


@dataclasses.dataclass(frozen=True)
class Work:
  """Demands of one phase on one device.

  Attributes:
    flops: of matrix products.
    memory: bytes read and written in the device's memory.
    hidden: bytes sent by mesh axis, for what is needed later: weights of the
      next layer, gradients of the last.
    blocking: bytes sent by mesh axis that the next product waits for.
    waits: collectives over each axis that are too small to fill a link.
  """

  flops: float = 0.0
  memory: float = 0.0
  hidden: Amounts = dataclasses.field(default_factory=dict)
  blocking: Amounts = dataclasses.field(default_factory=dict)
  waits: Amounts = dataclasses.field(default_factory=dict)

  @property
  def sent(self) -> dict[str, float]:
    """Bytes sent by mesh axis."""
    return _added(self.hidden, self.blocking)

  def __add__(self, other: "Work") -> "Work":
    return Work(
      self.flops + other.flops,
      self.memory + other.memory,
      _added(self.hidden, other.hidden),
      _added(self.blocking, other.blocking),
      _added(self.waits, other.waits),
    )

  def __mul__(self, times: float) -> "Work":
    return Work(
      self.flops * times,
      self.memory * times,
      *(
        {axis: amount * times for axis, amount in amounts.items()}
        for amounts in (self.hidden, self.blocking, self.waits)
      ),
    )


def _added(one: Amounts, other: Amounts) -> dict[str, float]:
  axes = dict.fromkeys((*one, *other))
  return {axis: one.get(axis, 0.0) + other.get(axis, 0.0) for axis in axes}
