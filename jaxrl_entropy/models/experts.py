"""A mixture of experts instead of the MLP (1701.06538), without dropped tokens.

Tokens are sorted by expert and multiplied group by group. On a mesh the experts
are split over expert and tensor: each device computes what its experts add to
the tokens of all devices along the expert axis, and each token's sum returns to
its device. Weights that are split over fsdp are gathered first.
"""

from collections.abc import Callable
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int

from jaxrl_entropy import sharding
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.ops.grouped import Dot, grouped_map

Activation = Callable[[jax.Array], jax.Array]

CHUNK = 8192
"""Tokens that a device of a mesh gives to its experts at once, at most.

A token stands in as many rows as it has experts, on every device that holds
some experts, whether or not these are its own.
"""


class Kernels(nn.Module):
  """One projection of every expert, [E, I, O].

  Attributes:
    shape: E experts, I inputs and O outputs of each.
  """

  shape: tuple[int, int, int]

  @nn.compact
  def __call__(self, dtype: Any) -> Float[Array, "E I O"]:
    init = nn.initializers.lecun_normal(batch_axis=0)
    shape = (_held(self.shape[0]), *self.shape[1:])
    kernel = self.param("kernel", init, shape).astype(dtype)
    if self.has_variable("params", "scale"):
      scale: jax.Array = self.get_variable("params", "scale")
      kernel = kernel * scale[:, None, :].astype(dtype)
    if self.has_variable("params", "lora_a"):
      # Added to the kernels, so that tokens are sorted and multiplied once.
      a: jax.Array = self.get_variable("params", "lora_a")
      b: jax.Array = self.get_variable("params", "lora_b")
      kernel = kernel + a.astype(dtype) @ b.astype(dtype)
    return kernel


class Experts(nn.Module):
  """The projections of all experts.

  Attributes:
    config: the model.
    activation: of the gates.
  """

  config: TransformerConfig
  activation: Activation

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "*B D"],
    weights: Float[Array, "*B k"],
    chosen: Int[Array, "*B k"],
  ) -> Float[Array, "*B D"]:
    c = self.config
    count, width, inner = c.num_experts, c.hidden_size, c.expert_width
    kernels = (
      Kernels((count, width, inner), name="gate_proj")(x.dtype),
      Kernels((count, width, inner), name="up_proj")(x.dtype),
      Kernels((count, inner, width), name="down_proj")(x.dtype),
    )
    return _over_mesh(self.activation, x, weights, chosen, kernels, count)


def _held(count: int) -> int:
  """Returns how many of `count` experts the arrays of this program hold.

  The sampler's programs are mapped over the expert axis, training's are not.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if "expert" not in mesh.manual_axes or count % mesh.shape["expert"]:
    return count
  return count // mesh.shape["expert"]


def route(
  scores: Float[Array, "*B E"],
  config: TransformerConfig,
  replayed: Int[Array, "*B k"] | None = None,
) -> tuple[Float[Array, "*B k"], Int[Array, "*B k"]]:
  """Chooses each token's experts and their weights from the router's logits.

  Args:
    scores: the logits.
    config: the model.
    replayed: experts that were chosen elsewhere and are taken again, with the
      weights that these logits give them; -1 where none are known.

  References:
    Rollout routing replay, arXiv 2510.11370.
  """
  probabilities = jax.nn.softmax(scores.astype(jnp.float32), axis=-1)
  weights, chosen = jax.lax.top_k(probabilities, config.num_experts_per_tok)
  if replayed is not None:
    chosen = jnp.where(replayed < 0, chosen, replayed.astype(chosen.dtype))
    weights = jnp.take_along_axis(probabilities, chosen, axis=-1)
  if config.norm_topk_prob:
    weights = weights / jnp.sum(weights, axis=-1, keepdims=True)
  return weights.astype(scores.dtype), chosen


def _over_mesh(
  activation: Activation,
  x: jax.Array,
  weights: jax.Array,
  chosen: jax.Array,
  kernels: tuple[jax.Array, ...],
  count: int,
) -> jax.Array:
  """Runs `_local` on the tokens and experts of each device.

  Along the expert axis tokens are gathered rather than exchanged: with at most
  as many devices as experts per token that moves no more bytes, and no token
  can be dropped.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if sharding.single_device():
    return _local(activation, x, weights, chosen, kernels, 0)
  free = set(mesh.axis_names) - set(mesh.manual_axes)
  rows, owners = (
    tuple(axis for axis in axes if axis in free)
    for axes in (sharding.ROWS, sharding.EXPERTS)
  )
  tokens = P(rows, "context") if x.ndim == 3 else P()
  tokens = sharding.fitting(tokens, x.shape, mesh)
  split = P(owners, "fsdp" if "fsdp" in free else None)
  specs = tuple(sharding.fitting(split, k.shape, mesh) for k in kernels)
  owners = tuple(jax.tree.leaves(specs[0][0]))
  if "expert" not in free and kernels[0].shape[0] < count:
    owners = ("expert", *owners)
  rows_split = {*mesh.manual_axes, *jax.tree.leaves(tuple(tokens))}
  exchanged = {"expert"} <= rows_split & {*owners}

  def local(
    x: jax.Array,
    weights: jax.Array,
    chosen: jax.Array,
    kernels: tuple[jax.Array, ...],
  ) -> jax.Array:
    kernels = tuple(
      kernel
      if spec[1] is None
      else jax.lax.all_gather(kernel, spec[1], axis=1, tiled=True)
      for kernel, spec in zip(kernels, specs, strict=True)
    )
    first = jax.lax.axis_index(owners) * kernels[0].shape[0] if owners else 0
    mix = functools.partial(_mix, activation, kernels, first, owners, exchanged)
    copies = mesh.shape["expert"] if exchanged else 1
    return _in_chunks(mix, x, weights, chosen, copies)

  return jax.shard_map(
    local,
    in_specs=(tokens, tokens, tokens, specs),
    out_specs=tokens,
    axis_names=free,
    check_vma=False,
  )(x, weights, chosen, kernels)


def _in_chunks(
  mix: Callable[..., jax.Array],
  x: jax.Array,
  weights: jax.Array,
  chosen: jax.Array,
  copies: int,
) -> jax.Array:
  """Returns `mix(x, weights, chosen)`, of at most `CHUNK` tokens at a time.

  Each chunk is computed again for its gradient, so that the rows of all its
  experts' tokens exist for one chunk alone.

  Args:
    mix: sums each token's experts.
    x: the tokens of this device.
    weights: of their experts.
    chosen: their experts.
    copies: devices whose tokens are gathered for one call of `mix`.
  """
  tokens = x.size // x.shape[-1]
  count = -(-tokens * copies // CHUNK)
  while tokens % count:
    count += 1
  if count == 1:
    return mix(x, weights, chosen)
  remade = jax.checkpoint(mix, prevent_cse=False)
  split = tuple(
    array.reshape(count, -1, array.shape[-1]) for array in (x, weights, chosen)
  )
  return jax.lax.map(lambda chunk: remade(*chunk), split).reshape(x.shape)


def _mix(
  activation: Activation,
  kernels: tuple[jax.Array, ...],
  first: int | jax.Array,
  owners: tuple[str, ...],
  exchanged: bool,
  x: jax.Array,
  weights: jax.Array,
  chosen: jax.Array,
) -> jax.Array:
  """Adds up what the experts on all devices along `owners` give to tokens.

  Args:
    activation: of the gates.
    kernels: of this device's experts.
    first: the id of the first of them.
    owners: axes over which experts are split, expert first.
    exchanged: whether the tokens are split over expert, too.
    x: the tokens of this device.
    weights: of their experts.
    chosen: their experts.
  """
  if not exchanged:
    total = _local(activation, x, weights, chosen, kernels, first)
    return jax.lax.psum(total, owners) if owners else total
  x, weights, chosen = (
    jax.lax.all_gather(array, "expert", tiled=True)
    for array in (x, weights, chosen)
  )
  total = _local(activation, x, weights, chosen, kernels, first)
  total = jax.lax.psum_scatter(total, "expert", tiled=True)
  return jax.lax.psum(total, owners[1:]) if owners[1:] else total


def _local(
  activation: Activation,
  x: jax.Array,
  weights: jax.Array,
  chosen: jax.Array,
  kernels: tuple[jax.Array, ...],
  first: int | jax.Array,
) -> jax.Array:
  """Computes what a device's experts add; `first` is the id of the first."""
  count, per_token = kernels[0].shape[0], chosen.shape[-1]
  flat = x.reshape(-1, x.shape[-1])
  expert = chosen.reshape(-1) - first
  own = (expert >= 0) & (expert < count)
  expert = jnp.where(own, expert, count)  # Other devices' experts come last.
  order = jnp.argsort(expert)
  sizes = jnp.bincount(expert, length=count).astype(jnp.int32)
  rows = flat[order // per_token]
  mlp = functools.partial(_mlp, activation)
  added = grouped_map(mlp, rows, kernels, sizes)
  # Rows of no group are undefined.
  added = jnp.where(own[order][:, None], added, 0)
  added = added[jnp.argsort(order)].reshape(-1, per_token, x.shape[-1])
  share = weights.reshape(-1, per_token, 1).astype(added.dtype)
  return jnp.sum(added * share, axis=1).reshape(x.shape)


def _mlp(
  activation: Activation,
  dot: Dot,
  x: jax.Array,
  gate: jax.Array,
  up: jax.Array,
  down: jax.Array,
) -> jax.Array:
  return dot(activation(dot(x, gate)) * dot(x, up), down)
