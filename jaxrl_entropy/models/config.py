"""The decoder's configuration, and the published sizes by name."""

import dataclasses
import functools
from typing import Any

from jaxrl_entropy.models.rope import Rope

ACTIVATIONS = (
  "silu",
  "swish",
  "gelu",
  "gelu_new",
  "gelu_fast",
  "gelu_pytorch_tanh",
  "relu",
  "relu2",
  "quick_gelu",
)


QK_NORMS = ("none", "head", "width")


class UnsupportedConfigError(ValueError):
  """The decoder does not compute this model, or a setting is missing."""


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
  """A decoder with rotary grouped-query attention and a gated MLP.

  Attributes:
    vocab_size: rows of the embedding.
    hidden_size: width D of the residual stream.
    intermediate_size: width of the gated MLP.
    num_layers: decoder blocks.
    num_heads: query heads.
    num_kv_heads: key and value heads; divides num_heads.
    head_dim: width of one head; need not be hidden_size / num_heads.
    rope: rotary frequencies.
    second_rope: rotary frequencies of the layers in `second_rope_layers`.
    second_rope_layers: whether each layer uses `second_rope`; empty: none.
    norm_eps: added to the mean square inside RMSNorm.
    norm_offset: RMSNorm multiplies by `1 + scale` rather than `scale`.
    input_norms: RMSNorm before the attention and before the MLP.
    output_norms: RMSNorm of the outputs of the attention and of the MLP.
    activation: of the MLP's gate, one of `ACTIVATIONS`.
    tie_embeddings: the LM head is the embedding, transposed.
    scaled_embedding: embeddings are multiplied by hidden_size**0.5 (the tied
      head is not).
    logits_softcap: c, if not 0: logits become `c tanh(logits / c)`.
    qkv_bias: biases on the query, key and value projections.
    output_bias: a bias on the attention's output projection.
    mlp_bias: biases on the MLP's projections.
    qk_norm: RMSNorm of queries and keys before rotation: "none", over each
      "head", or over the "width" of all heads.
    query_pre_attn_scalar: scores are divided by its root; 0: by head_dim's.
    attention_softcap: c, if not 0: scores become `c tanh(scores / c)`.
    num_experts: experts in place of the MLP; 0: one MLP for all tokens.
    num_experts_per_tok: experts that each token is given to.
    moe_intermediate_size: width of each expert; 0: intermediate_size.
    norm_topk_prob: the weights of a token's experts sum to 1.
    sliding_window: tokens a query sees, itself included; 0: all before it.
    sliding_layers: which layers have the window; empty: every layer.
    max_length: longest context the weights were made for, tokens.
    family: Hugging Face's model type in which the weights are exchanged.
    tokenizer_size: ids that the tokenizer has; the embedding's rows from here
      on have probability 0, in the sampler and in training. 0: all rows count.
    prefix_length: vectors of a soft prefix, whose ids are those from
      `vocab_size` on (`models.prefix`).
    dtype: of activations and of parameters at use; masters stay as stored.
  """

  vocab_size: int
  hidden_size: int
  intermediate_size: int
  num_layers: int
  num_heads: int
  num_kv_heads: int
  head_dim: int
  rope: Rope = dataclasses.field(default_factory=Rope)
  second_rope: Rope | None = None
  second_rope_layers: tuple[bool, ...] = ()
  norm_eps: float = 1e-6
  norm_offset: bool = False
  input_norms: bool = True
  output_norms: bool = False
  activation: str = "silu"
  tie_embeddings: bool = False
  scaled_embedding: bool = False
  logits_softcap: float = 0.0
  qkv_bias: bool = False
  output_bias: bool = False
  mlp_bias: bool = False
  qk_norm: str = "none"
  query_pre_attn_scalar: float = 0.0
  attention_softcap: float = 0.0
  num_experts: int = 0
  num_experts_per_tok: int = 0
  moe_intermediate_size: int = 0
  norm_topk_prob: bool = False
  sliding_window: int = 0
  sliding_layers: tuple[bool, ...] = ()
  max_length: int = 4096
  family: str = "llama"
  tokenizer_size: int = 0
  prefix_length: int = 0
  dtype: str = "float32"

  def __post_init__(self) -> None:
    if self.num_heads % self.num_kv_heads:
      raise ValueError(
        f"num_kv_heads={self.num_kv_heads} must divide "
        f"num_heads={self.num_heads}"
      )
    if self.activation not in ACTIVATIONS:
      raise ValueError(
        f"activation {self.activation!r} is not supported; one of "
        + ", ".join(ACTIVATIONS)
      )
    if self.qk_norm not in QK_NORMS:
      raise ValueError(
        f"qk_norm {self.qk_norm!r} is unknown; one of {', '.join(QK_NORMS)}"
      )
    if self.head_dim % 2:
      raise ValueError(f"head_dim={self.head_dim} must be even for rotation")
    if self.num_experts and not (
      0 < self.num_experts_per_tok <= self.num_experts
    ):
      raise ValueError(
        f"num_experts_per_tok={self.num_experts_per_tok} must be from 1 to "
        f"num_experts={self.num_experts}"
      )
    for name in ("sliding_layers", "second_rope_layers"):
      entries = len(getattr(self, name))
      if entries not in (0, self.num_layers):
        raise ValueError(
          f"{name} has {entries} entries for num_layers={self.num_layers}"
        )

  @property
  def real_vocab_size(self) -> int:
    """Number of ids with a token: only ids below this can be drawn."""
    return min(self.tokenizer_size or self.vocab_size, self.vocab_size)

  @property
  def expert_width(self) -> int:
    """Width of each expert's MLP."""
    return self.moe_intermediate_size or self.intermediate_size

  @property
  def slides(self) -> tuple[bool, ...]:
    """Whether each layer has the sliding window."""
    return self.sliding_layers or (self.sliding_window > 0,) * self.num_layers

  @property
  def windows(self) -> tuple[int, ...]:
    """Attention window of each layer in tokens; 0: the whole context."""
    reach = self.sliding_window if self.sliding_window < self.max_length else 0
    return tuple(reach if slides else 0 for slides in self.slides)

  @property
  def ropes(self) -> tuple[Rope, ...]:
    """Distinct rotary settings of the layers."""
    return (
      (self.rope,)
      if self.second_rope is None
      else (
        self.rope,
        self.second_rope,
      )
    )

  @property
  def rope_index(self) -> tuple[int, ...]:
    """Index into `ropes` of each layer's rotary settings."""
    return tuple(map(int, self.second_rope_layers)) or (0,) * self.num_layers

  def with_max_length(self, length: int) -> "TransformerConfig":
    """Returns the configuration for contexts of up to `length` tokens.

    Args:
      length: tokens; beyond its original length LongRoPE takes its divisors for
        long contexts.
    """
    rope = self.rope
    if rope.kind == "longrope":
      rope = dataclasses.replace(rope, long=length > rope.original_length)
    return dataclasses.replace(self, rope=rope, max_length=length)


def _sized(
  hidden_size: int,
  intermediate_size: int,
  num_layers: int,
  num_heads: int,
  num_kv_heads: int,
  head_dim: int = 128,
  tied: bool = False,
  **family: Any,
) -> TransformerConfig:
  return TransformerConfig(
    hidden_size=hidden_size,
    intermediate_size=intermediate_size,
    num_layers=num_layers,
    num_heads=num_heads,
    num_kv_heads=num_kv_heads,
    head_dim=head_dim,
    tie_embeddings=tied,
    **family,
  )


_qwen2 = functools.partial(
  _sized,
  vocab_size=152064,
  family="qwen2",
  rope=Rope(1e6),
  qkv_bias=True,
  max_length=131072,
)
_qwen2_small = functools.partial(_qwen2, vocab_size=151936, tied=True)
_qwen3 = functools.partial(
  _sized,
  family="qwen3",
  vocab_size=151936,
  rope=Rope(1e6),
  qk_norm="head",
  max_length=40960,
)
_llama3 = functools.partial(
  _sized, vocab_size=128256, norm_eps=1e-5, max_length=131072
)
_mistral = functools.partial(
  _sized, family="mistral", rope=Rope(1e6), norm_eps=1e-5, max_length=32768
)


def _gemma3_windows(layers: int) -> tuple[bool, ...]:
  """Returns which layers have a window: all but every sixth."""
  return tuple((index + 1) % 6 != 0 for index in range(layers))


_ROPE8 = Rope(5e5, "llama3", factor=8.0, original_length=8192)
_ROPE32 = dataclasses.replace(_ROPE8, factor=32.0)
_SMOL = {"vocab_size": 49152, "rope": Rope(1e5), "max_length": 8192}

PRESETS: dict[str, TransformerConfig] = {
  # hidden, MLP, layers, heads, key-value heads, head size, tied
  "pico": _sized(32, 88, 2, 2, 2, 16, True, vocab_size=64, max_length=512),
  "nano": _sized(64, 176, 3, 4, 4, 16, True, vocab_size=64, max_length=512),
  "tiny": _sized(128, 352, 3, 4, 2, 32, True, vocab_size=64, max_length=512),
  "mini": _sized(192, 528, 4, 6, 6, 32, True, vocab_size=64, max_length=512),
  "tiny-moe": _sized(
    *(128, 176, 3, 4, 2, 32, True),
    vocab_size=64,
    max_length=512,
    family="olmoe",
    qk_norm="width",
    num_experts=8,
    num_experts_per_tok=2,
  ),
  "smollm2-135m": _sized(576, 1536, 30, 9, 3, 64, True, norm_eps=1e-5, **_SMOL),
  "qwen2.5-0.5b": _qwen2_small(896, 4864, 24, 14, 2, 64, max_length=32768),
  "qwen2.5-1.5b": _qwen2_small(1536, 8960, 28, 12, 2),
  "qwen2.5-3b": _qwen2_small(2048, 11008, 36, 16, 2, max_length=32768),
  "qwen2.5-7b": _qwen2(3584, 18944, 28, 28, 4),
  "qwen2.5-14b": _qwen2(5120, 13824, 48, 40, 8, norm_eps=1e-5),
  "qwen2.5-32b": _qwen2(5120, 27648, 64, 40, 8, norm_eps=1e-5),
  "qwen3-0.6b": _qwen3(1024, 3072, 28, 16, 8, 128, True),
  "qwen3-1.7b": _qwen3(2048, 6144, 28, 16, 8, 128, True),
  "qwen3-4b": _qwen3(2560, 9728, 36, 32, 8, 128, True),
  "qwen3-8b": _qwen3(4096, 12288, 36, 32, 8),
  "qwen3-14b": _qwen3(5120, 17408, 40, 40, 8),
  "qwen3-30b-a3b": _qwen3(
    *(2048, 6144, 48, 32, 4),
    family="qwen3_moe",
    num_experts=128,
    num_experts_per_tok=8,
    moe_intermediate_size=768,
    norm_topk_prob=True,
  ),
  "llama3.2-1b": _llama3(2048, 8192, 16, 32, 8, 64, True, rope=_ROPE32),
  "llama3.2-3b": _llama3(3072, 8192, 28, 24, 8, 128, True, rope=_ROPE32),
  "llama3.1-8b": _llama3(4096, 14336, 32, 32, 8, rope=_ROPE8),
  "llama3.1-70b": _llama3(8192, 28672, 80, 64, 8, rope=_ROPE8),
  "gemma3-27b": _sized(
    *(5376, 21504, 62, 32, 16, 128, True),
    family="gemma3_text",
    vocab_size=262208,
    rope=Rope(1e6, "linear", factor=8.0),
    second_rope=Rope(),
    second_rope_layers=_gemma3_windows(62),
    norm_offset=True,
    output_norms=True,
    activation="gelu_pytorch_tanh",
    scaled_embedding=True,
    qk_norm="head",
    query_pre_attn_scalar=168,
    sliding_window=1024,
    sliding_layers=_gemma3_windows(62),
    max_length=131072,
  ),
  "mistral-7b-v0.3": _mistral(4096, 14336, 32, 32, 8, vocab_size=32768),
  "mistral-nemo-12b": _mistral(
    5120, 14336, 40, 32, 8, vocab_size=131072, max_length=131072
  ),
  "mistral-small-24b": _mistral(
    5120, 32768, 40, 32, 8, vocab_size=131072, rope=Rope(1e8)
  ),
  "deepseek-math-7b": _sized(4096, 11008, 30, 32, 32, vocab_size=102400),
}


def preset(name: str, **overrides: Any) -> TransformerConfig:
  """Returns the configuration of a published model, with fields replaced.

  Args:
    name: a key of `PRESETS`, such as "qwen2.5-7b".
    **overrides: new values of fields of `TransformerConfig`.

  Raises:
    ValueError: for an unknown name.
  """
  if name not in PRESETS:
    raise ValueError(f"unknown preset {name!r}; one of {', '.join(PRESETS)}")
  return dataclasses.replace(PRESETS[name], **overrides)
