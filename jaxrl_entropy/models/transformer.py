"""The decoder: parameters, hidden states, and the LM head.

Parameters are one tree of arrays. Those of the layers are stacked on a leading
axis, so that the layers are one scan and the program does not grow with depth.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxrl_entropy import sharding
from jaxrl_entropy.models import rope
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.layers import Block, RMSNorm, stream
from jaxrl_entropy.ops import attention as attention_ops
from jaxrl_entropy.types import Params

EMBEDDING_SCALE = 0.02

REMAT = {
  "none": None,
  "full": jax.checkpoint_policies.nothing_saveable,
  "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}
"""What the backward pass finds saved of each layer, by name."""


def init(config: TransformerConfig, key: Key[Array, ""]) -> Params:
  """Random float32 parameters, kernels stored [in, out].

  Returns:
    {"embed": {"embedding" [V, D]}, "layers": {"attention": {"q_proj", ...},
    "mlp": {...}, "input_norm", "post_attention_norm"} stacked [L, ...],
    "final_norm": {"scale" [D]}, "lm_head": {"kernel" [D, V]} unless tied}
  """
  embed_key, head_key, layer_key = jax.random.split(key, 3)
  x = jnp.zeros((1, 1, config.hidden_size))
  rotation = rope.rotations(
    config.rope, config.head_dim, jnp.zeros((1, 1), int)
  )

  def layer(key: Key[Array, ""]) -> Params:
    return Block(config).init(key, x, rotation, lambda q, k, v: q)["params"]

  normal = functools.partial(jax.random.normal, dtype=jnp.float32)
  vocab, width = config.vocab_size, config.hidden_size
  params = {
    "embed": {"embedding": EMBEDDING_SCALE * normal(embed_key, (vocab, width))},
    "layers": jax.vmap(layer)(jax.random.split(layer_key, config.num_layers)),
    "final_norm": {"scale": jnp.ones(width)},
  }
  if not config.tie_embeddings:
    kernel = EMBEDDING_SCALE * normal(head_key, (width, vocab))
    params["lm_head"] = {"kernel": kernel}
  return params


def embed(
  params: Params, config: TransformerConfig, tokens: Int[Array, "*B"]
) -> Float[Array, "*B D"]:
  """The residual stream before the first layer, in the compute dtype."""
  return params["embed"]["embedding"][tokens].astype(config.dtype)


def final_norm(
  params: Params, config: TransformerConfig, x: Float[Array, "*B D"]
) -> Float[Array, "*B D"]:
  norm = RMSNorm(config.norm_eps)
  return norm.apply({"params": params["final_norm"]}, x)


def lm_head(params: Params, config: TransformerConfig) -> Float[Array, "D V"]:
  """The matrix from hidden states to logits, as stored (not cast)."""
  if config.tie_embeddings:
    return params["embed"]["embedding"].T
  return params["lm_head"]["kernel"]


def hidden_states(
  params: Params,
  config: TransformerConfig,
  tokens: Int[Array, "B T"],
  positions: Int[Array, "B T"],
  segments: Int[Array, "B T"],
  *,
  remat: str = "none",
  attention: str = "auto",
) -> Float[Array, "B T D"]:
  """Hidden states after the final norm, in the compute dtype.

  Args:
    params: as `init` makes them, in any dtype.
    config: the model.
    tokens: ids; at padding any id of the vocabulary.
    positions: of each token in its own sequence, from 0.
    segments: sequence of each token in its row, from 1; 0 is padding. Tokens
      of a sequence are contiguous and see only their own sequence.
    remat: what the backward pass recomputes, a key of `REMAT`.
    attention: the back-end, see `ops.attention`.
  """
  del attention
  rotation = rope.rotations(config.rope, config.head_dim, positions)

  def layer(x, scanned):
    layer_params, window = scanned
    attend = functools.partial(
      attention_ops.attend, segments=segments, window=window
    )
    block = Block(config)
    return block.apply({"params": layer_params}, x, rotation, attend), None

  if REMAT[remat] is not None:
    layer = jax.checkpoint(layer, policy=REMAT[remat])
  windows = jnp.asarray(config.windows, jnp.int32)
  x = stream(embed(params, config, tokens))
  x, _ = jax.lax.scan(layer, x, (params["layers"], windows))
  return final_norm(params, config, x)


def logits(
  params: Params,
  config: TransformerConfig,
  tokens: Int[Array, "B T"],
) -> Float[Array, "B T V"]:
  """Float32 logits of whole, unpacked rows: for tests and inspection only."""
  positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
  hidden = hidden_states(
    params, config, tokens, positions, jnp.ones_like(tokens)
  )
  head = sharding.constrain(lm_head(params, config), None, "tensor")
  return (hidden @ head.astype(hidden.dtype)).astype(jnp.float32)
