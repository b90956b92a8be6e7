"""Computation, memory traffic and messages of each phase of a step, by device.

Pure arithmetic on the sizes of a model, a rollout and a mesh; nothing is
traced. Ring algorithms: gathering or scattering over n devices sends
(n - 1) / n of the whole, adding up twice that.
"""

import dataclasses
import math
from typing import TYPE_CHECKING

from jaxrl_entropy.planning.sizes import (
  Mesh,
  Sizes,
  experts,
  held,
  shards,
  sizes,
)
from jaxrl_entropy.planning.work import Load, Work

if TYPE_CHECKING:  # It loads JAX.
  from jaxrl_entropy.models.config import TransformerConfig

MASTER = 4
"""Bytes of a parameter, a gradient or a moment."""
_ADAMW = 7  # arrays of parameters that an AdamW update reads or writes
# Recomputed layers: a share of the forward products, and of attention.
_REMAT = {"none": (0.0, 0.0), "dots": (0.0, 1.0), "full": (1.0, 1.0)}
# Arrays of [tokens, D] that a layer reads and writes beside those of its
# projections: two norms, two additions.
_STREAMS = 8


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


def update_sends(
  model: "TransformerConfig", load: Load, mesh: Mesh
) -> dict[str, float]:
  """Returns the least that one update sends over each axis, rows full, bytes.

  Args:
    model: sizes of the policy.
    load: its rows count, each with one response.
    mesh: size of each axis, by name.
  """
  full = dataclasses.replace(load, packed=False)
  return (update(model, full, mesh) * (1 / load.updates)).sent


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
        axis: amount * (1 + products / 2)
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


def send(
  model: "TransformerConfig", load: Load, trainers: Mesh, samplers: Mesh
) -> Work:
  """Returns the work that brings a sampler its copy from another mesh.

  Each training device gathers the shard of a sampling device, and sends it.

  Args:
    model: sizes of the policy.
    load: the bytes of a weight in the sampler's copy count.
    trainers: size of each axis, by name, of the mesh that sends.
    samplers: of the mesh that receives; it splits layers over tensor alone.
  """
  count = math.prod(trainers.values())
  split = trainers["fsdp"] * experts(trainers) * trainers["tensor"]
  copy = resident(model, load, samplers)["sampler copy"]
  gathered = copy * (1 - samplers["tensor"] / count)
  sent = copy * max(1.0, math.prod(samplers.values()) / count)
  return Work(
    memory=MASTER * sizes(model).total / split + copy,
    blocking={"fsdp": gathered + sent},
  )


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
