"""Computation, memory traffic and messages of each phase of a step, by device.

Pure arithmetic on the sizes of a model, a rollout and a mesh; nothing is
traced. Ring algorithms: gathering or scattering over n devices sends
(n - 1) / n of the whole, adding up twice that.
"""

from collections.abc import Mapping
import dataclasses
import functools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # It loads JAX.
  from jaxrl_entropy.models.config import TransformerConfig

Mesh = Mapping[str, int]
Amounts = Mapping[str, float]  # by mesh axis
MASTER = 4
"""Bytes of a parameter, a gradient or a moment."""
_ADAMW = 7  # arrays of parameters that an AdamW update reads or writes
# Recomputed layers: a share of the forward products, and of attention.
_REMAT = {"none": (0.0, 0.0), "dots": (0.0, 1.0), "full": (1.0, 1.0)}
# Arrays of [tokens, D] that a layer reads and writes beside those of its
# projections: two norms, two additions.
_STREAMS = 8


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


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Numbers of a model that its costs are made of; vectors are left out.

  Attributes:
    attention: elements of the projections around attention, all layers.
    mlp: elements of the MLPs or experts, all layers.
    mlp_share: of these that multiply a token.
    last: elements of the last projections that multiply a token, all layers;
      no gradient needs their results recomputed.
    head: elements of the LM head.
    embedding: elements of the embedding, if it is another.
    cached: elements that a token keeps in the cache, all layers.
    mixing: FLOPs for each pair of a query and a key, one layer.
    windows: of the layers, tokens; 0: none.
    stream: width of the residual stream.
    wide: elements of a token that the projections of all layers read or write.
  """

  attention: int
  mlp: int
  mlp_share: float
  last: int
  head: int
  embedding: int
  cached: int
  mixing: int
  windows: tuple[int, ...]
  stream: int
  wide: int

  @property
  def layers(self) -> int:
    """Elements of all layers."""
    return self.attention + self.mlp

  @property
  def active(self) -> float:
    """Elements of the layers that multiply a token."""
    return self.attention + self.mlp * self.mlp_share

  @property
  def total(self) -> int:
    """Elements of the model."""
    return self.layers + self.head + self.embedding

  def pairs(self, length: float, first: float = 0.0) -> float:
    """Returns pairs of a query and a key that it sees, over all layers.

    Queries are those in [first, length). A layer with a window of w tokens has
    at most w keys for each.

    Args:
      length: tokens of the sequence.
      first: tokens before the queries, such as a prompt's.
    """

    def until(end: float, window: int) -> float:
      near = min(end, window or end)
      return near**2 / 2 + (end - near) * near

    return sum(until(length, w) - until(first, w) for w in self.windows)


@functools.cache
def sizes(model: "TransformerConfig") -> Sizes:
  """Returns the sizes of a decoder."""
  width, layers = model.hidden_size, model.num_layers
  queries = model.num_heads * model.head_dim
  keys = 2 * model.num_kv_heads * model.head_dim
  experts = model.num_experts or 1
  chosen = model.num_experts_per_tok if model.num_experts else 1
  inner = model.expert_width if model.num_experts else model.intermediate_size
  head = width * model.vocab_size
  return Sizes(
    attention=layers * width * (2 * queries + keys),
    mlp=layers * experts * 3 * width * inner,
    mlp_share=chosen / experts,
    last=layers * chosen * width * inner,
    head=head,
    embedding=0 if model.tie_embeddings else head,
    cached=layers * keys,
    mixing=4 * queries,
    windows=model.windows,
    stream=width,
    wide=layers * (2 * queries + keys + 4 * chosen * inner),
  )


def shards(mesh: Mesh) -> int:
  """Returns the number of parts that rows and slots are split into."""
  return mesh["data"] * mesh["fsdp"] * experts(mesh)


def experts(mesh: Mesh) -> int:
  """Returns the number of parts that experts are split into, tensor aside."""
  return mesh.get("expert", 1)


def held(size: Sizes, mesh: Mesh) -> float:
  """Returns elements of the layers that a part of the expert axis uses.

  Args:
    size: of the whole model.
    mesh: size of each axis, by name; without "expert" no experts are split.
  """
  return size.attention + size.mlp / experts(mesh)


def prefill(model: "TransformerConfig", load: Load, mesh: Mesh) -> Work:
  """Returns the work for the prompts of a step, each computed once.

  Args:
    model: sizes of the policy.
    load: its prompts count; the weights are read once per `prefill_tokens`.
    mesh: size of each axis, by name.
  """
  size, num_shards = sizes(model), shards(mesh)
  tokens = load.prompts * load.prompt / num_shards
  pairs = size.pairs(load.prompt) * load.prompts / num_shards
  chunks = math.ceil(tokens / load.prefill_tokens)
  flops = 2 * size.active * tokens + size.mixing * pairs
  copy = load.copy_bytes * held(size, mesh)
  return Work(
    flops / mesh["tensor"],
    chunks * copy / mesh["tensor"] + _activations(size, load, tokens, mesh),
    blocking={
      "tensor": _additions(model, load, tokens, mesh),
      **_exchange(model, load, tokens, mesh),
    },
  )


def decode(model: "TransformerConfig", load: Load, mesh: Mesh) -> Work:
  """Returns the work for all new tokens of a step.

  The copy of the weights is read for every token in sequence, of a mixture only
  the experts that some sequence chose.

  Args:
    model: sizes of the policy.
    load: its responses count, and how many are decoded at a time (`live`).
    mesh: size of each axis, by name.
  """
  size, num_shards, tensor = sizes(model), shards(mesh), mesh["tensor"]
  tokens = load.responses * load.response / num_shards
  end = load.prompt + load.response
  pairs = size.pairs(end, load.prompt) * load.responses / num_shards
  flops = 2 * (size.active + size.head) * tokens + size.mixing * pairs
  chosen = 1 - (1 - size.mlp_share) ** (load.live / num_shards * experts(mesh))
  weights = size.attention + size.mlp / experts(mesh) * chosen + size.head
  cached = pairs * size.cached / model.num_layers
  return Work(
    flops / tensor,
    load.copy_bytes * load.decode_steps * weights / tensor
    + load.width * cached / kv_shards(model, tensor)
    + _activations(size, load, tokens, mesh),
    blocking={
      "tensor": _additions(model, load, tokens, mesh),
      **_exchange(model, load, tokens, mesh),
    },
    waits=dict.fromkeys(
      ("tensor", "expert") if experts(mesh) > 1 else ("tensor",),
      2 * model.num_layers * load.decode_steps,
    ),
  )


def kv_shards(model: "TransformerConfig", tensor: int) -> int:
  """Returns the parts of a sequence's cache; heads are whole.

  Args:
    model: its number of KV heads counts.
    tensor: size of the tensor axis; 1 part where it does not divide the heads.
  """
  return tensor if model.num_kv_heads % tensor == 0 else 1


def score(model: "TransformerConfig", load: Load, mesh: Mesh) -> Work:
  """Returns the work of the forward passes over a rollout.

  Args:
    model: sizes of the policy.
    load: its rows count, as often as it `scores` them.
    mesh: size of each axis, by name.
  """
  count = load.updates * load.micro_batches
  once = _forward(model, load, mesh, load.rows)
  return (once + _gathers(model, load, mesh) * count) * load.scores


def update(model: "TransformerConfig", load: Load, mesh: Mesh) -> Work:
  """Returns the work of all updates of a step.

  With several micro-batches and several updates, each update begins with a
  forward pass over the whole mini-batch.

  Args:
    model: sizes of the policy.
    load: its rows count, and what the backward pass recomputes (`remat`).
    mesh: size of each axis, by name.
  """
  size, micro = sizes(model), load.micro_batches
  rows = load.rows / load.updates
  forward = _forward(model, load, mesh, rows)
  planning = 1 if micro > 1 and load.updates > 1 else 0
  work = forward * (1 + planning) + _backward(model, load, mesh, rows)
  work += _gathers(model, load, mesh) * (micro * (planning + 2))
  if not load.adapters:
    work += _reductions(model, load, mesh) * micro + _once(model, load, mesh)
    local = size.total / (mesh["fsdp"] * experts(mesh) * mesh["tensor"])
    accumulated = 2 * micro if micro > 1 else 0
    work += Work(memory=MASTER * (_ADAMW + accumulated) * local)
  return work * load.updates


def _forward(
  model: "TransformerConfig", load: Load, mesh: Mesh, rows: float
) -> Work:
  """Returns the products of a forward pass over rows of full length."""
  size = sizes(model)
  num_shards = shards(mesh) * mesh["context"]
  tokens = rows * load.row / num_shards
  pairs = rows * size.pairs(load.row) / num_shards
  flops = 2 * (size.active + size.head) * tokens + size.mixing * pairs
  logits = 2 * MASTER * tokens * model.vocab_size / mesh["tensor"]
  return Work(
    flops / mesh["tensor"],
    logits + _activations(size, load, tokens, mesh),
    blocking={
      "tensor": _additions(model, load, tokens, mesh),
      "context": _keys(model, load, tokens, mesh),
      **_exchange(model, load, tokens, mesh),
    },
  )


def _backward(
  model: "TransformerConfig", load: Load, mesh: Mesh, rows: float
) -> Work:
  """Returns the products of a backward pass, with what it recomputes.

  Attention and the logits are recomputed whatever the policy keeps.
  """
  size, forward = sizes(model), _forward(model, load, mesh, rows)
  products, attention = _REMAT[load.remat]
  num_shards = shards(mesh) * mesh["context"] * mesh["tensor"]
  tokens = rows * load.row / num_shards
  pairs = rows * size.pairs(load.row) / num_shards
  again = products * (size.active - size.last)
  passes = 1 if load.adapters else 2
  head = (1 + passes) * size.head
  flops = 2 * tokens * (passes * size.active + again + head)
  flops += size.mixing * pairs * (2.5 + attention)
  recomputed = 1 + products
  return Work(
    flops,
    forward.memory * (1 + recomputed),
    blocking={
      "tensor": forward.blocking["tensor"] * (1 + products / 2),
      "context": forward.blocking["context"] * (1 + attention),
      **{
        axis: amount * (1 + products)
        for axis, amount in forward.blocking.items()
        if axis == "expert"
      },
    },
  )


def _activations(size: Sizes, load: Load, tokens: float, mesh: Mesh) -> float:
  """Returns bytes of the layers' inputs and outputs."""
  layers = len(size.windows)
  streams = layers * _STREAMS * size.stream
  return load.width * tokens * (streams + size.wide / mesh["tensor"])


def _additions(
  model: "TransformerConfig", load: Load, tokens: float, mesh: Mesh
) -> float:
  """Returns bytes sent over tensor by two additions per layer."""
  stream = load.width * tokens * model.hidden_size
  return 2 * model.num_layers * stream * 2 * _ring(mesh, "tensor")


def _keys(
  model: "TransformerConfig", load: Load, tokens: float, mesh: Mesh
) -> float:
  """Returns bytes sent over context: a row's keys and values, gathered."""
  row = load.width * tokens * mesh["context"] * sizes(model).cached
  return row * _ring(mesh, "context") / kv_shards(model, mesh["tensor"])


def _exchange(
  model: "TransformerConfig", load: Load, tokens: float, mesh: Mesh
) -> dict[str, float]:
  """Returns bytes sent over expert: tokens gathered, and sums scattered."""
  gathered = load.width * tokens * experts(mesh) * model.hidden_size
  return _over_experts(2 * model.num_layers * gathered, mesh)


def _over_experts(whole: float, mesh: Mesh) -> dict[str, float]:
  """Returns the bytes that gathering `whole` over the expert axis sends."""
  return {"expert": whole * _ring(mesh, "expert")} if experts(mesh) > 1 else {}


def _gathers(model: "TransformerConfig", load: Load, mesh: Mesh) -> Work:
  """Returns the traffic that brings the layers' weights to a device once."""
  size = sizes(model)
  layers = load.width * held(size, mesh) / mesh["tensor"]
  sent = {"fsdp": layers * _ring(mesh, "fsdp")}
  sent |= _over_experts(load.width * size.attention / mesh["tensor"], mesh)
  return Work(memory=2 * layers, hidden=sent)


def _reductions(model: "TransformerConfig", load: Load, mesh: Mesh) -> Work:
  """Returns the traffic of the layers' gradient of a micro-batch."""
  size = sizes(model)
  layers = load.width * held(size, mesh) / mesh["tensor"]
  rest = 2 * layers / mesh["fsdp"]
  sent = {"fsdp": layers * _ring(mesh, "fsdp")}
  sent |= _over_experts(load.width * size.attention / mesh["tensor"], mesh)
  sent |= {axis: rest * _ring(mesh, axis) for axis in ("data", "context")}
  return Work(memory=2 * layers, hidden=sent)


def _once(model: "TransformerConfig", load: Load, mesh: Mesh) -> Work:
  """Returns the traffic of the head: gathered, and its gradient reduced."""
  head = sizes(model).head / mesh["tensor"]
  sent = {"fsdp": (load.width + MASTER) * head * _ring(mesh, "fsdp")}
  sent |= _over_experts((load.width + MASTER) * head, mesh)
  for axis in ("data", "context"):
    sent[axis] = 2 * MASTER * head / mesh["fsdp"] * _ring(mesh, axis)
  return Work(hidden=sent)


def transfer(model: "TransformerConfig", load: Load, mesh: Mesh) -> Work:
  """Returns the work that makes the sampler's copy from the parameters.

  Args:
    model: sizes of the policy.
    load: the bytes of a weight in the sampler's copy count.
    mesh: size of each axis, by name.
  """
  size, tensor = sizes(model), mesh["tensor"]
  own = MASTER * size.total / (mesh["fsdp"] * experts(mesh) * tensor)
  dense = size.attention + size.head + size.embedding
  copy = load.copy_bytes * (dense + size.mlp / experts(mesh)) / tensor
  sent = {"fsdp": copy * _ring(mesh, "fsdp")}
  sent |= _over_experts(load.copy_bytes * dense / tensor, mesh)
  return Work(memory=own + copy, blocking=sent)


def _ring(mesh: Mesh, axis: str) -> float:
  """Returns the share of an array that a ring over `axis` makes each send."""
  return (mesh[axis] - 1) / mesh[axis]


def resident(
  model: "TransformerConfig", load: Load, mesh: Mesh
) -> dict[str, float]:
  """Returns bytes that a device holds, before activations and temporaries.

  The gradient is there in training only, the sampler's copy and its cache in
  sampling only; parameters and moments always.

  Args:
    model: sizes of the policy.
    load: the tokens of the cache count, and whether only adapters are trained.
    mesh: size of each axis, by name.
  """
  size, tensor = sizes(model), mesh["tensor"]
  own = MASTER * size.total / (mesh["fsdp"] * experts(mesh) * tensor)
  weights = load.copy_bytes * held(size, mesh)
  weights += load.width * (size.head + size.embedding)
  token = load.width * size.cached / kv_shards(model, tensor)
  return {
    "parameters and moments": own * (1 if load.adapters else 3),
    "gradient": 0.0 if load.adapters else own,
    "sampler copy": weights / tensor,
    "cache": load.cached * token / shards(mesh),
  }


PHASES = {
  "prefill": prefill,
  "decode": decode,
  "score": score,
  "update": update,
  "transfer": transfer,
}
SAMPLING = ("prefill", "decode")
