"""The decoder: parameters, hidden states, and the LM head.

Parameters are one tree of arrays. Those of the layers are stacked on a leading
axis, so that the layers are one scan and the program does not grow with depth.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxrl_entropy import sharding
from jaxrl_entropy.models import prefix, rope
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.layers import (
  Block,
  Rotation,
  apply,
  norm,
  stream,
)
from jaxrl_entropy.ops.attention import attend
from jaxrl_entropy.ops.logprobs import head_copies
from jaxrl_entropy.ops.softcap import soft_cap
from jaxrl_entropy.types import Params

EMBEDDING_SCALE = 0.02

REMAT = {
  "none": None,
  "full": jax.checkpoint_policies.nothing_saveable,
  "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}
"""Activations of each layer that the backward pass finds saved, by name."""


def init(config: TransformerConfig, key: Key[Array, ""]) -> Params:
  """Draws random float32 parameters; kernels are stored [in, out].

  Args:
    config: the model.
    key: the draws of every parameter derive from it.

  Returns:
    {"embed": {"embedding" [V, D]}, "layers": {"attention": {"q_proj", ...},
    "mlp": {...}, and the norms of `Block`} stacked [L, ...],
    "final_norm": {"scale" [D]}, "lm_head": {"kernel" [D, V]} unless tied}
  """
  embed_key, head_key, layer_key = jax.random.split(key, 3)
  x = jnp.zeros((1, 1, config.hidden_size))
  rotation = rope.rotations(
    config.rope, config.head_dim, jnp.zeros((1, 1), int)
  )

  def layer(key: Key[Array, ""]) -> Params:
    variables = Block(config).init(key, x, rotation, lambda q, k, v: q)
    return variables["params"]

  normal = functools.partial(jax.random.normal, dtype=jnp.float32)
  vocab, width = config.vocab_size, config.hidden_size
  params = {
    "embed": {"embedding": EMBEDDING_SCALE * normal(embed_key, (vocab, width))},
    "layers": jax.vmap(layer)(jax.random.split(layer_key, config.num_layers)),
    "final_norm": {
      "scale": jnp.full(width, 0.0 if config.norm_offset else 1.0)
    },
  }
  if not config.tie_embeddings:
    kernel = EMBEDDING_SCALE * normal(head_key, (width, vocab))
    params["lm_head"] = {"kernel": kernel}
  return params


def embed(
  params: Params, config: TransformerConfig, tokens: Int[Array, "*B"]
) -> Float[Array, "*B D"]:
  """Computes the residual stream before the first layer, in compute dtype.

  Args:
    params: as `init` makes them.
    config: the model.
    tokens: ids of the vocabulary, or of the model's soft prefix.
  """
  x = prefix.look_up(params["embed"], tokens, config.vocab_size, config.dtype)
  if config.scaled_embedding:
    x = x * jnp.asarray(config.hidden_size**0.5, x.dtype)
  return x


def final_norm(
  params: Params, config: TransformerConfig, x: Float[Array, "*B D"]
) -> Float[Array, "*B D"]:
  """Normalizes the residual stream after the last layer.

  Args:
    params: as `init` makes them.
    config: the model.
    x: residual stream after the last layer.

  Returns:
    Hidden states in the dtype of `x`, which the LM head takes.
  """
  return apply(norm(config), params["final_norm"], x)


def lm_head(params: Params, config: TransformerConfig) -> Float[Array, "D V"]:
  """Returns the matrix from hidden states to logits, in the stored dtype.

  Args:
    params: as `init` makes them; an "lm_head" among them wins over a tied
      embedding (see `copy_head`).
    config: the model.
  """
  if config.tie_embeddings and "lm_head" not in params:
    return params["embed"]["embedding"].T
  return params["lm_head"]["kernel"]


def copy_head(params: Params) -> Params:
  """Returns `params` with the `head_copies` of their LM head, tied or not.

  Those of a single device, and those without a head, are returned as they are.
  """
  if sharding.token_parts() == 1:
    return params
  if "lm_head" in params:
    head = params["lm_head"]["kernel"]
  elif "embedding" in params.get("embed", {}):
    head = params["embed"]["embedding"].T
  else:
    return params
  return {**params, "lm_head": {"kernel": head_copies(head)}}


def hidden_states(
  params: Params,
  config: TransformerConfig,
  tokens: Int[Array, "B T"],
  positions: Int[Array, "B T"],
  segments: Int[Array, "B T"],
  *,
  remat: str = "none",
  attention: str = "auto",
  routes: Int[Array, "B T L k"] | None = None,
) -> Float[Array, "B T D"]:
  """Computes hidden states after the final norm, in the compute dtype.

  Args:
    params: as `init` makes them, in any dtype.
    config: the model.
    tokens: ids; at padding any id of the vocabulary.
    positions: of each token in its own sequence, from 0.
    segments: sequence of each token in its row, from 1; 0 is padding. Tokens
      see only their own sequence and its shared prefix (`ops.attention`).
    remat: what the backward pass recomputes, a key of `REMAT`.
    attention: the back-end, see `ops.attention`.
    routes: experts that the sampler chose in each layer, which are taken again;
      -1 where the router chooses itself. None: it does everywhere.

  Raises:
    ValueError: for an unknown remat policy or attention back-end.
  """
  where = tokens, positions, segments
  return run_layers(params, config, *where, remat, attention, routes)[0]


def run_layers(
  params: Params,
  config: TransformerConfig,
  tokens: Int[Array, "B T"],
  positions: Int[Array, "B T"],
  segments: Int[Array, "B T"],
  remat: str = "none",
  attention: str = "auto",
  routes: Int[Array, "B T L k"] | None = None,
  of_router: Callable[[jax.Array, Any], Any] | None = None,
) -> tuple[Float[Array, "B T D"], Any]:
  """Computes `hidden_states`, and `of_router` of each layer's router.

  Args:
    params: as `init` makes them, in any dtype.
    config: the model.
    tokens: see `hidden_states`, as for the next five.
    positions: of each token in its own sequence, from 0.
    segments: sequence of each token in its row, from 1; 0 is padding.
    remat: what the backward pass recomputes, a key of `REMAT`.
    attention: the back-end, see `ops.attention`.
    routes: experts that are taken again; None: the router chooses.
    of_router: called with a layer's router logits [B, T, E] and its routes
      [B, T, k] (None without `routes`); returns a tree of arrays.

  Returns:
    Hidden states after the final norm, and the results of `of_router` stacked
    over the layers, [L, ...]; None without it.

  Raises:
    ValueError: for an unknown remat policy or attention back-end.
  """
  if remat not in REMAT:
    raise ValueError(f"remat {remat!r} is unknown; one of {', '.join(REMAT)}")
  ropes = rotations(config, positions)
  block = Block(config)

  def layer(x: jax.Array, scanned: Any) -> Any:
    layer_params, slides, index, replayed = scanned
    rotation = ropes[0]
    if len(ropes) > 1:
      rotation = jax.tree.map(
        lambda *choices: jnp.where(index == 0, *choices), *ropes
      )

    def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
      return _attend(config, q, k, v, segments, slides, attention)

    if of_router is None:
      return apply(block, layer_params, x, rotation, attend, replayed), None
    inputs = x, rotation, attend, replayed
    x, sown = block.apply(
      {"params": layer_params}, *inputs, mutable="intermediates"
    )
    (scores,) = sown["intermediates"]["mlp"]["router_logits"]
    return x, of_router(scores, replayed)

  if remat != "none":
    layer = jax.checkpoint(layer, prevent_cse=False, policy=REMAT[remat])
  slides = jnp.asarray([window > 0 for window in config.windows])
  x = stream(embed(params, config, tokens))
  index = jnp.asarray(config.rope_index)
  if routes is not None:
    routes = jnp.moveaxis(routes, 2, 0)
  x, routed = jax.lax.scan(layer, x, (params["layers"], slides, index, routes))
  return final_norm(params, config, x), routed


def rotations(
  config: TransformerConfig, positions: Int[Array, "*B"]
) -> tuple[Rotation, ...]:
  """Computes cos and sin of every position for each of `config.ropes`.

  Args:
    config: the model.
    positions: place of each token in its sequence, from 0.

  Returns:
    One (cos, sin) for each of `config.ropes`, float32.
  """
  return tuple(
    rope.rotations(settings, config.head_dim, positions)
    for settings in config.ropes
  )


def _attend(
  config: TransformerConfig,
  q: Float[Array, "B T H h"],
  k: Float[Array, "B T K h"],
  v: Float[Array, "B T K h"],
  segments: Int[Array, "B T"],
  slides: Bool[Array, ""],
  backend: str,
) -> Float[Array, "B T H h"]:
  """Computes a layer's attention; kernels need its window to be static."""
  windows = sorted(set(config.windows))
  choices = [
    functools.partial(
      attend,
      window=window,
      softcap=config.attention_softcap,
      backend=backend,
    )
    for window in windows
  ]
  if len(choices) == 1:
    return choices[0](q, k, v, segments)
  return jax.lax.cond(slides, choices[1], choices[0], q, k, v, segments)


def finish_logits(
  config: TransformerConfig, scores: Float[Array, "*B V"]
) -> Float[Array, "*B V"]:
  """Computes logits from the head's products.

  Caps them, and sets those of ids that the tokenizer lacks to minus infinity.

  Args:
    config: the model; its `logits_softcap` and `real_vocab_size` are used.
    scores: products of hidden states and the LM head's columns, from the first
      column on; there may be columns of padding.
  """
  scores = soft_cap(scores, config.logits_softcap)
  if scores.shape[-1] == config.real_vocab_size:
    return scores
  real = jnp.arange(scores.shape[-1]) < config.real_vocab_size
  return jnp.where(jnp.broadcast_to(real, scores.shape), scores, -jnp.inf)


def logits(
  params: Params,
  config: TransformerConfig,
  tokens: Int[Array, "B T"],
) -> Float[Array, "B T V"]:
  """Computes float32 logits of unpacked rows, for tests and inspection.

  Args:
    params: as `init` makes them.
    config: the model.
    tokens: one sequence a row, positions from 0, without padding.

  Returns:
    Logits of the token after each; -inf for ids that no token has.
  """
  positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
  hidden = hidden_states(
    params, config, tokens, positions, jnp.ones_like(tokens)
  )
  head = sharding.constrain(lm_head(params, config), None, "tensor")
  scores = (hidden @ head.astype(hidden.dtype)).astype(jnp.float32)
  return finish_logits(config, scores)
