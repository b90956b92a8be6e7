"""The decoder over a paged cache: the same forward fills and reads it.

Weights are the sampler's own copy of a policy's parameters: one tree a layer,
because a loop over stacked layers would copy each layer's weights before use,
and in the dtype that is cheapest to read.
"""

from collections.abc import Callable, Mapping
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxrl_entropy.models import layers as layers_lib, lora, rope
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.layers import Block
from jaxrl_entropy.models.transformer import (
  embed,
  final_norm,
  lm_head,
  mask_logits,
)
from jaxrl_entropy.ops.paged_attention import Pages, View
from jaxrl_entropy.ops.ragged_attention import RaggedPages
from jaxrl_entropy.types import Params

Cache = tuple[Pages | RaggedPages, ...]
"""The pages of every layer."""

WEIGHT_DTYPES = ("", "float32", "bfloat16", "int8")
"""What `weights` can store; "" is the compute dtype."""


def weights(
  params: Params,
  config: TransformerConfig,
  dtype: str = "",
  vocabulary: int = 1,
  weights_first: bool = False,
) -> Params:
  """A policy's parameters as this module reads them.

  Args:
    params: as `transformer.init` makes them, adapters included; they are
      merged into their kernels.
    config: the model.
    dtype: to store them in; by default the compute dtype. "int8": the layers'
      kernels, with a float32 scale for each column; the rest stays.
    vocabulary: the vocabulary is padded to a multiple of this, with rows whose
      logits are minus infinity.
    weights_first: every kernel [I, O] as "transposed" [O, I].

  Returns:
    `params`, with "layers" as a tuple of one tree a layer.
  """
  params = lora.merged(params)
  stored = config.dtype if dtype in ("", "int8") else dtype
  # A copy even where nothing changes: the policy's own buffers are donated.
  copied = jax.tree.map(lambda x: jnp.array(x, stored), params)
  copied = _padded(copied, -config.vocab_size % vocabulary)
  if dtype == "int8":
    copied = {**copied, "layers": quantize(params["layers"])}
  if weights_first:
    copied = _transposed(copied)

  def layer(index: int) -> Params:
    return jax.tree.map(lambda x: x[index], copied["layers"])

  return {**copied, "layers": tuple(map(layer, range(config.num_layers)))}


def _padded(params: Params, extra: int) -> Params:
  """With zeros for `extra` more tokens behind the vocabulary."""
  embedding = params["embed"]["embedding"]
  padded = {"embed": {"embedding": jnp.pad(embedding, ((0, extra), (0, 0)))}}
  if "lm_head" in params:
    kernel = params["lm_head"]["kernel"]
    padded["lm_head"] = {"kernel": jnp.pad(kernel, ((0, 0), (0, extra)))}
  return {**params, **padded}


def _transposed(params: Params) -> Params:
  """Every "kernel" [..., I, O] as "transposed" [..., O, I]."""
  turned = {}
  for name, child in params.items():
    if isinstance(child, Mapping):
      turned[name] = _transposed(child)
    elif name == "kernel":
      turned["transposed"] = child.swapaxes(-2, -1)
    else:
      turned[name] = child
  return turned


def quantize(params: Params) -> Params:
  """Every kernel [..., I, O] as int8, and the scale [..., O] of its columns."""
  if "kernel" not in params:
    return {
      name: quantize(child) if isinstance(child, Mapping) else child
      for name, child in params.items()
    }
  kernel = params["kernel"].astype(jnp.float32)
  scale = jnp.abs(kernel).max(axis=-2) / 127
  steps = kernel / jnp.where(scale > 0, scale, 1.0)[..., None, :]
  return {**params, "kernel": jnp.round(steps).astype(jnp.int8), "scale": scale}


def init_cache(
  config: TransformerConfig, pages: int, page_size: int, kernel: bool = False
) -> Cache:
  """Zeroed pages for every layer, in the compute dtype.

  Args:
    config: the model.
    pages: of each layer.
    page_size: tokens a page holds.
    kernel: for the TPU kernel of `ops.ragged_attention`, in its layout.
  """
  heads, dim = config.num_kv_heads, config.head_dim

  def layer() -> Pages | RaggedPages:
    if kernel:
      shape = (pages, page_size, 2 * heads, dim)
      return RaggedPages(jnp.zeros(shape, config.dtype))
    shape = (pages, heads, page_size, dim)
    return Pages(jnp.zeros(shape, config.dtype), jnp.zeros(shape, config.dtype))

  return tuple(layer() for _ in range(config.num_layers))


def forward(
  params: Params,
  config: TransformerConfig,
  cache: Cache,
  tokens: Int[Array, "B T"],
  view: View,
) -> tuple[Float[Array, "B T D"], Cache]:
  """Puts the tokens in the cache and lets them attend to all before them.

  A prompt's chunk (T tokens) and a decode step (T = 1) are the same call.

  Args:
    params: as `weights` makes them.
    config: the model.
    cache: updated in place where the caller donates it.
    tokens: ids; any at padding.
    view: which pages and positions the tokens have.

  Returns:
    Hidden states after the final norm, and the cache with the tokens in it.
  """
  rows, length = tokens.shape
  positions = view.positions(length).reshape(-1)
  # Else XLA would compute them again in each layer.
  rotation = jax.lax.optimization_barrier(
    rope.rotations(config.rope, config.head_dim, positions)
  )
  x = embed(params, config, tokens.reshape(-1))
  block = Block(config)
  filled = []
  layers = zip(params["layers"], cache, config.windows, strict=True)
  for layer, pages, window in layers:
    run: Callable[..., Any] = functools.partial(block.apply, {"params": layer})
    q, k, v = (
      heads.reshape(rows, length, *heads.shape[1:])
      for heads in run(x, rotation, method="qkv")
    )
    pages = pages.write(k, v, view)
    mixed = pages.attend(q, view, window)
    x = run(x, mixed.reshape(x.shape[0], -1, config.head_dim), method="finish")
    filled.append(pages)
  hidden = final_norm(params, config, x).reshape(rows, length, -1)
  return hidden, tuple(filled)


def logits(
  params: Params,
  config: TransformerConfig,
  hidden: Float[Array, "B D"],
  weights_first: bool = False,
) -> Float[Array, "B V"]:
  """Float32 logits of the next token; V as `weights` padded it.

  Args:
    params: as `weights` makes them.
    config: the model.
    hidden: after the final norm.
    weights_first: as `weights` was told.
  """
  if weights_first:
    head = params["embed"]["embedding"]
    if "lm_head" in params:
      head = params["lm_head"]["transposed"]
    scores = layers_lib.weights_first(
      head.astype(hidden.dtype), hidden, jnp.float32
    )
  else:
    head = lm_head(params, config).astype(hidden.dtype)
    scores = jnp.matmul(hidden, head, preferred_element_type=jnp.float32)
  return mask_logits(config, scores)
