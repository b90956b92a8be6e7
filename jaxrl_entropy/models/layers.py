"""The decoder's layers: Linen modules, applied functionally.

A block's attention is a function of (q, k, v), handed in by the caller: packed
rows for training, a KV cache for decoding. Both share every other line.
"""

from collections.abc import Callable
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxrl_entropy import sharding
from jaxrl_entropy.models import experts, rope
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.types import Params

_gelu_tanh = functools.partial(jax.nn.gelu, approximate=True)
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  "silu": jax.nn.silu,
  "swish": jax.nn.silu,
  "gelu": functools.partial(jax.nn.gelu, approximate=False),
  "gelu_new": _gelu_tanh,
  "gelu_fast": _gelu_tanh,
  "gelu_pytorch_tanh": _gelu_tanh,
  "relu": jax.nn.relu,
  "relu2": lambda x: jnp.square(jax.nn.relu(x)),
  "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
}
"""The gate's activation, by Hugging Face's name."""

MAX_TRANSPOSED_TOKENS = 64
"""Most tokens for which `transposed_matmul` puts the kernel on the left."""

Rotation = tuple[Float[Array, "*B half"], Float[Array, "*B half"]]
Heads = Float[Array, "*B heads dim"]
KVHeads = Float[Array, "*B kv_heads dim"]
QKV = tuple[Heads, KVHeads, KVHeads]
Stream = Float[Array, "*B D"]
Routes = Int[Array, "*B k"]


def apply(
  module: nn.Module, params: Params, *inputs: Any, **options: Any
) -> Any:
  """Applies `module` as a pure function of its parameters.

  Args:
    module: a Linen module, unbound.
    params: its own "params" collection, of one layer.
    *inputs: positional arguments of its `__call__`.
    **options: other arguments of `nn.Module.apply`, such as `method`.

  Returns:
    What the module computes.
  """
  return module.apply({"params": params}, *inputs, **options)


def matmul(
  x: Float[Array, "*B I"], kernel: Float[Array, "I O"]
) -> Float[Array, "*B O"]:
  """Computes `x kernel`, on one device as one product of all tokens.

  With two axes of tokens XLA transposes each gradient on CPU before it
  multiplies, which takes as long as the product. Axes of a mesh stay apart:
  merging them could move tokens between devices.

  Args:
    x: tokens, with any number of leading axes.
    kernel: weights in the dtype of `x`.

  Returns:
    The product, in the dtype of `x`.
  """
  if not sharding.single_device():
    return x @ kernel
  y = x.reshape(-1, x.shape[-1]) @ kernel
  return y.reshape(*x.shape[:-1], -1)


def transposed_matmul(
  kernel: Float[Array, "O I"],
  x: Float[Array, "*B I"],
  dtype: Any = None,
) -> Float[Array, "*B O"]:
  """Computes `x kernel^T` as `(kernel x^T)^T` where there are few tokens.

  XLA on CPU copies the right operand of a product into another layout at each
  call. With few tokens and a large kernel, the tokens are cheaper to copy.
  Above `MAX_TRANSPOSED_TOKENS` the plain order is at least as fast.

  Args:
    kernel: transposed, in the layout it should have in memory.
    x: tokens.
    dtype: of the result; by default that of `x`.
  """
  flat = x.reshape(-1, x.shape[-1])
  dot = functools.partial(jnp.matmul, preferred_element_type=dtype)
  if flat.shape[0] > MAX_TRANSPOSED_TOKENS:
    product = dot(flat, kernel.T)
  else:
    # Without the barrier XLA swaps the operands back.
    product = jax.lax.optimization_barrier(dot(kernel, flat.T)).T
  return product.reshape(*x.shape[:-1], -1)


class Linear(nn.Module):
  """`x W + b`, plus `x A B` where the parameters hold a low-rank adapter.

  An integer kernel comes with the scale of each of its columns. The sampler may
  store a kernel as "transposed" [O, I], see `transposed_matmul`.

  Attributes:
    features: outputs O.
    use_bias: whether b is a parameter, or 0.
  """

  features: int
  use_bias: bool = False

  @nn.compact
  def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
    shape = (x.shape[-1], self.features)
    if self.has_variable("params", "transposed"):
      stored: jax.Array = self.get_variable("params", "transposed")
      y = transposed_matmul(stored.astype(x.dtype), x)
    else:
      kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
      y = matmul(x, kernel.astype(x.dtype))
    if self.has_variable("params", "scale"):
      scale: jax.Array = self.get_variable("params", "scale")
      y = y * jnp.broadcast_to(scale.astype(y.dtype), y.shape)
    if self.has_variable("params", "lora_a"):
      a: jax.Array = self.get_variable("params", "lora_a")
      b: jax.Array = self.get_variable("params", "lora_b")
      y = y + matmul(matmul(x, a.astype(x.dtype)), b.astype(x.dtype))
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros, shape[1:])
      y = y + jnp.broadcast_to(bias.astype(y.dtype), y.shape)
    return y


class RMSNorm(nn.Module):
  """`x / rms(x) * scale` over the last axis (1910.07467).

  With `offset` the factor is `1 + scale`, multiplied in float32 (Gemma).

  Attributes:
    eps: added to the mean square.
    offset: whether the scale is stored less 1.
  """

  eps: float
  offset: bool = False

  @nn.compact
  def __call__(self, x: Stream) -> Stream:
    start = nn.initializers.zeros if self.offset else nn.initializers.ones
    scale = self.param("scale", start, x.shape[-1:])
    wide = x.astype(jnp.float32)
    mean_square = jnp.mean(wide * wide, axis=-1, keepdims=True)
    unit = wide * jax.lax.rsqrt(mean_square + self.eps)
    if self.offset:
      factor = 1.0 + scale.astype(jnp.float32)
      return (unit * jnp.broadcast_to(factor, x.shape)).astype(x.dtype)
    return unit.astype(x.dtype) * jnp.broadcast_to(
      scale.astype(x.dtype), x.shape
    )


def norm(config: TransformerConfig) -> RMSNorm:
  """Returns the normalization layer of a model."""
  return RMSNorm(config.norm_eps, config.norm_offset)


class Attention(nn.Module):
  """The projections around grouped-query attention.

  Attributes:
    config: the model.
  """

  config: TransformerConfig

  def setup(self) -> None:
    c = self.config
    self.q_proj = Linear(c.num_heads * c.head_dim, c.qkv_bias)
    self.k_proj = Linear(c.num_kv_heads * c.head_dim, c.qkv_bias)
    self.v_proj = Linear(c.num_kv_heads * c.head_dim, c.qkv_bias)
    self.o_proj = Linear(c.hidden_size, c.output_bias)
    if c.qk_norm != "none":
      self.q_norm, self.k_norm = norm(c), norm(c)

  def qkv(self, x: Stream, rotation: Rotation) -> QKV:
    """Computes queries, keys (both rotated) and values, split into heads.

    Args:
      x: normalized residual stream, [..., D].
      rotation: cos and sin of each token's position, see `rope.rotations`.

    Returns:
      Queries [..., H, d], keys and values [..., K, d], in the dtype of `x`. The
      queries carry what the model's scale differs from 1 / sqrt(d).
    """
    c = self.config
    q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
    if c.qk_norm == "width":
      q, k = self.q_norm(q), self.k_norm(k)
    split = (*x.shape[:-1], -1, c.head_dim)
    q, k, v = (heads.reshape(split) for heads in (q, k, v))
    if c.qk_norm == "head":
      q, k = self.q_norm(q), self.k_norm(k)
    q, k = rope.rotate(q, rotation), rope.rotate(k, rotation)
    if c.query_pre_attn_scalar:
      # Attention divides the scores by head_dim**0.5.
      q = q * (c.head_dim / c.query_pre_attn_scalar) ** 0.5
    return q, k, v

  def output(self, attended: Heads) -> Stream:
    """Projects the heads' results back to the residual stream's width.

    Args:
      attended: the attention's results, [..., H, d].
    """
    return self.o_proj(attended.reshape(*attended.shape[:-2], -1))


class MLP(nn.Module):
  """`down(act(gate(x)) * up(x))` (2002.05202).

  Attributes:
    config: the model.
  """

  config: TransformerConfig

  def setup(self) -> None:
    c = self.config
    self.gate_proj = Linear(c.intermediate_size, c.mlp_bias)
    self.up_proj = Linear(c.intermediate_size, c.mlp_bias)
    self.down_proj = Linear(c.hidden_size, c.mlp_bias)

  def __call__(self, x: Stream) -> Stream:
    gate = ACTIVATIONS[self.config.activation](self.gate_proj(x))
    return self.down_proj(gate * self.up_proj(x))


class MixtureMLP(nn.Module):
  """A router, and the experts that it gives each token to.

  Attributes:
    config: a model with experts.
  """

  config: TransformerConfig

  def setup(self) -> None:
    c = self.config
    self.router = Linear(c.num_experts)
    self.experts = experts.Experts(c, ACTIVATIONS[c.activation])

  def __call__(self, x: Stream, replayed: Routes | None = None) -> Stream:
    scores = self.router(x)
    self.sow("intermediates", "router_logits", scores)  # For router losses.
    weights, chosen = experts.route(scores, self.config, replayed)
    self.sow("intermediates", "chosen", chosen)  # For replay.
    return self.experts(x, weights, chosen)


class Block(nn.Module):
  """One decoder layer, in two halves with the attention between them.

  `post_attention_norm` is Llama's name for the norm before the MLP.

  Attributes:
    config: the model.
  """

  config: TransformerConfig

  def setup(self) -> None:
    c = self.config
    self.attention = Attention(c)
    self.mlp = MixtureMLP(c) if c.num_experts else MLP(c)
    if c.input_norms:
      self.input_norm, self.post_attention_norm = norm(c), norm(c)
    if c.output_norms:
      self.attention_output_norm, self.mlp_output_norm = norm(c), norm(c)

  def __call__(
    self,
    x: Stream,
    rotation: Rotation,
    attend: Callable[[Heads, KVHeads, KVHeads], Heads],
    replayed: Routes | None = None,
  ) -> Stream:
    return self.finish(x, attend(*self.qkv(x, rotation)), replayed)

  def qkv(self, x: Stream, rotation: Rotation) -> QKV:
    """Computes the layer's queries, keys and values.

    Args:
      x: residual stream before the layer, [..., D].
      rotation: cos and sin of each token's position, see `rope.rotations`.

    Returns:
      Queries [..., H, d], keys [..., K, d], both rotated, and values.
    """
    if self.config.input_norms:
      x = self.input_norm(x)
    return self.attention.qkv(x, rotation)

  def finish(
    self, x: Stream, attended: Heads, replayed: Routes | None = None
  ) -> Stream:
    """Computes the residual stream after the layer from its heads' results.

    Args:
      x: residual stream before the layer, [..., D].
      attended: the attention's results, [..., H, d].
      replayed: experts of each token, [..., k], that are taken instead of the
        router's own choice, see `experts.route`; None where there are none.
    """
    update = self.attention.output(attended)
    if self.config.output_norms:
      update = self.attention_output_norm(update)
    x = stream(x + update)
    update = self.post_attention_norm(x) if self.config.input_norms else x
    update = self.mlp(update, *(() if replayed is None else (replayed,)))
    if self.config.output_norms:
      update = self.mlp_output_norm(update)
    return stream(x + update)


def stream(x: Stream) -> Stream:
  """Shards arrays [B, T, D]: by `sharding.ROWS`, and tokens over context."""
  if x.ndim != 3:
    return x
  return sharding.constrain(x, sharding.ROWS, "context", None)
