"""The decoder over a paged cache: prefill and decoding share one forward.

The weights are the sampler's own copy of a policy's parameters: one tree per
layer, because a loop over stacked layers would copy each layer's weights before
use, and in the dtype that is cheapest to read.
"""

from collections.abc import Callable, Mapping
import functools
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxrl_entropy.models import layers as layers_lib, lora
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.layers import Block
from jaxrl_entropy.models.transformer import (
  embed,
  final_norm,
  finish_logits,
  lm_head,
  rotations,
)
from jaxrl_entropy.ops.attention.paged import Pages, View
from jaxrl_entropy.ops.attention.ragged import RaggedPages
from jaxrl_entropy.types import Params


@struct.dataclass
class Cache:
  """The pages of every layer.

  Attributes:
    layers: their keys and values.
    routes: experts of each token in each layer; None if they are not recorded.
  """

  layers: tuple[Pages | RaggedPages, ...]
  routes: Int[Array, "N P L k"] | None = None

  @property
  def page_size(self) -> int:
    """Tokens per page."""
    return self.layers[0].page_size


WEIGHT_DTYPES = ("", "float32", "bfloat16", "int8")
"""Dtypes that `weights` can store; "" is the compute dtype."""


def weights(
  params: Params,
  config: TransformerConfig,
  dtype: str = "",
  vocab_multiple: int = 1,
  transposed_kernels: bool = False,
) -> Params:
  """Converts a policy's parameters to the layout this module reads.

  Args:
    params: as `transformer.init` makes them. Adapters are merged into their
      kernels.
    config: the model.
    dtype: storage dtype; by default the compute dtype. "int8" quantizes the
      layers' kernels, with a float32 scale per column, and nothing else.
    vocab_multiple: the vocabulary is padded to a multiple of this; `logits`
      gives the added tokens -inf.
    transposed_kernels: store every kernel [I, O] as "transposed" [O, I].

  Returns:
    A copy of `params`, with "layers" as a tuple of one tree per layer.
  """
  params = lora.merged(params)
  stored = config.dtype if dtype in ("", "int8") else dtype
  # Always copies, because training donates the policy's own buffers.
  copied = jax.tree.map(lambda x: jnp.array(x, stored), params)
  copied = _pad_vocabulary(copied, -config.vocab_size % vocab_multiple)
  if dtype == "int8":
    copied = {**copied, "layers": quantize(params["layers"])}
  if transposed_kernels:
    copied = _transpose_kernels(copied)

  def layer(index: int) -> Params:
    return jax.tree.map(lambda x: x[index], copied["layers"])

  return {**copied, "layers": tuple(map(layer, range(config.num_layers)))}


def _pad_vocabulary(params: Params, extra: int) -> Params:
  """Appends zeros for `extra` tokens to the embedding and the head."""
  embedding = params["embed"]["embedding"]
  rows = jnp.pad(embedding, ((0, extra), (0, 0)))
  padded = {"embed": {**params["embed"], "embedding": rows}}
  if "lm_head" in params:
    kernel = params["lm_head"]["kernel"]
    padded["lm_head"] = {"kernel": jnp.pad(kernel, ((0, 0), (0, extra)))}
  return {**params, **padded}


def _transpose_kernels(params: Params) -> Params:
  """Replaces every "kernel" [..., I, O] by "transposed" [..., O, I]."""
  result = {}
  for name, child in params.items():
    if name == "experts":
      result[name] = child  # Their products are grouped, in one order only.
    elif isinstance(child, Mapping):
      result[name] = _transpose_kernels(child)
    elif name == "kernel":
      result["transposed"] = child.swapaxes(-2, -1)
    else:
      result[name] = child
  return result


def quantize(params: Params) -> Params:
  """Quantizes every kernel [..., I, O] to int8 with column scales [..., O].

  Args:
    params: a tree of float kernels; other leaves stay as they are.

  Returns:
    The tree with a float32 "scale" beside each kernel: a column's largest
    absolute value is 127 of it.
  """
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
  config: TransformerConfig,
  pages: int,
  page_size: int,
  kernel: bool = False,
  routes: bool = False,
) -> Cache:
  """Allocates zeroed pages for every layer, in the compute dtype.

  Args:
    config: the model.
    pages: pages per layer.
    page_size: tokens per page.
    kernel: use the layout of the TPU kernel in `ops.attention.ragged`.
    routes: record the experts of each token.
  """
  heads, dim = config.num_kv_heads, config.head_dim

  def layer() -> Pages | RaggedPages:
    if kernel:
      shape = (pages, page_size, 2 * heads, dim)
      return RaggedPages(jnp.zeros(shape, config.dtype))
    shape = (pages, heads, page_size, dim)
    return Pages(jnp.zeros(shape, config.dtype), jnp.zeros(shape, config.dtype))

  chosen = None
  if routes:
    shape = (pages, page_size, config.num_layers, config.num_experts_per_tok)
    chosen = jnp.zeros(shape, route_dtype(config))
  return Cache(tuple(layer() for _ in range(config.num_layers)), chosen)


def route_dtype(config: TransformerConfig) -> Any:
  """Returns the smallest dtype of expert ids, and of -1 for none."""
  return jnp.int8 if config.num_experts <= 128 else jnp.int16


def forward(
  params: Params,
  config: TransformerConfig,
  cache: Cache,
  tokens: Int[Array, "B T"],
  view: View,
) -> tuple[Float[Array, "B T D"], Cache]:
  """Writes the tokens to the cache and runs the model over them.

  A chunk of a prompt (T tokens) and a decoding step (T = 1) are the same call.

  Args:
    params: as `weights` makes them.
    config: the model.
    cache: pages of every layer; updated in place where the caller donates it.
    tokens: ids; the values at padding do not matter.
    view: pages and positions of the tokens.

  Returns:
    Hidden states after the final norm, and the cache with the tokens in it.
  """
  rows, length = tokens.shape
  positions = view.positions(length).reshape(-1)
  # Without the barrier XLA computes these again in each layer.
  ropes = jax.lax.optimization_barrier(rotations(config, positions))
  x = embed(params, config, tokens.reshape(-1))
  block = Block(config)
  new_layers, chosen = [], []
  layers = zip(
    *(params["layers"], cache.layers, config.windows, config.rope_index),
    strict=True,
  )
  for layer, pages, window, index in layers:
    run: Callable[..., Any] = functools.partial(block.apply, {"params": layer})
    q, k, v = (
      heads.reshape(rows, length, *heads.shape[1:])
      for heads in run(x, ropes[index], method="qkv")
    )
    pages = pages.write(k, v, view)
    mixed = pages.attend(q, view, window, config.attention_softcap)
    mixed = mixed.reshape(x.shape[0], -1, config.head_dim)
    x, sown = run(x, mixed, method="finish", mutable="intermediates")
    new_layers.append(pages)
    chosen.append(sown)
  hidden = final_norm(params, config, x).reshape(rows, length, -1)
  routes = cache.routes
  if routes is not None:
    routes = _write_routes(routes, chosen, view, length)
  return hidden, Cache(tuple(new_layers), routes)


def _write_routes(
  routes: Int[Array, "N P L k"], sown: list[Any], view: View, length: int
) -> Int[Array, "N P L k"]:
  """Returns the routes with those of the rows' new tokens in them.

  Args:
    routes: of all pages.
    sown: intermediates of each layer.
    view: pages and positions of the tokens.
    length: tokens of a row.
  """
  chosen = [layer["intermediates"]["mlp"]["chosen"][0] for layer in sown]
  ids = jnp.stack(chosen, axis=1).astype(routes.dtype)
  ids = ids.reshape(-1, length, *ids.shape[1:])
  index = view.slots(length, routes.shape[1])
  return routes.at[index].set(ids, mode="promise_in_bounds")


def logits(
  params: Params,
  config: TransformerConfig,
  hidden: Float[Array, "B D"],
  transposed_kernels: bool = False,
) -> Float[Array, "B V"]:
  """Computes float32 logits of the next token.

  Args:
    params: as `weights` makes them.
    config: the model.
    hidden: states after the final norm.
    transposed_kernels: as passed to `weights`.

  Returns:
    Logits over the padded vocabulary; -inf for ids that no token has.
  """
  if transposed_kernels:
    head = params["embed"]["embedding"]
    if "lm_head" in params:
      head = params["lm_head"]["transposed"]
    scores = layers_lib.transposed_matmul(
      head.astype(hidden.dtype), hidden, jnp.float32
    )
  else:
    head = lm_head(params, config).astype(hidden.dtype)
    scores = jnp.matmul(hidden, head, preferred_element_type=jnp.float32)
  return finish_logits(config, scores)
