"""The one decoder's configuration, and the published sizes by name."""

import dataclasses
from typing import Any

from jaxrl_entropy.models.rope import Rope


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
  """A pre-norm decoder with rotary grouped-query attention and a gated MLP.

  Attributes:
    vocab_size: rows of the embedding.
    hidden_size: width D of the residual stream.
    intermediate_size: width of the gated MLP.
    num_layers: decoder blocks.
    num_heads: query heads.
    num_kv_heads: key and value heads; divides num_heads.
    head_dim: width of one head; need not be hidden_size / num_heads.
    rope: rotary frequencies.
    norm_eps: added to the mean square inside RMSNorm.
    activation: of the MLP's gate, a key of `layers.ACTIVATIONS`.
    tie_embeddings: the LM head is the embedding, transposed.
    qkv_bias: biases on the query, key and value projections.
    output_bias: a bias on the attention's output projection.
    mlp_bias: biases on the MLP's projections.
    qk_norm: RMSNorm over each query and key head before rotation (Qwen3).
    sliding_window: tokens a query sees, itself included; 0: all before it.
    sliding_layers: which layers have the window; empty: every layer.
    max_length: longest context the weights were made for, tokens.
    dtype: of activations and of parameters at use; masters stay as stored.
  """

  vocab_size: int
  hidden_size: int
  intermediate_size: int
  num_layers: int
  num_heads: int
  num_kv_heads: int
  head_dim: int
  rope: Rope = Rope()
  norm_eps: float = 1e-6
  activation: str = "silu"
  tie_embeddings: bool = False
  qkv_bias: bool = False
  output_bias: bool = False
  mlp_bias: bool = False
  qk_norm: bool = False
  sliding_window: int = 0
  sliding_layers: tuple[bool, ...] = ()
  max_length: int = 4096
  dtype: str = "float32"

  def __post_init__(self):
    if self.num_heads % self.num_kv_heads:
      raise ValueError(
        f"num_kv_heads={self.num_kv_heads} must divide "
        f"num_heads={self.num_heads}"
      )
    if self.head_dim % 2:
      raise ValueError(f"head_dim={self.head_dim} must be even for rotation")
    if self.sliding_layers and len(self.sliding_layers) != self.num_layers:
      raise ValueError(
        f"sliding_layers has {len(self.sliding_layers)} entries for "
        f"num_layers={self.num_layers}"
      )

  @property
  def windows(self) -> tuple[int, ...]:
    """The attention window of each layer, tokens; 0: unlimited."""
    layers = self.sliding_layers or (True,) * self.num_layers
    return tuple(self.sliding_window if slides else 0 for slides in layers)


def _llama3(factor: float) -> Rope:
  return Rope(5e5, "llama3", factor=factor, original_length=8192)


_QWEN2 = dict(rope=Rope(1e6), qkv_bias=True, max_length=32768, head_dim=128)
_QWEN2_SMALL = dict(vocab_size=151936, tie_embeddings=True, **_QWEN2)
_QWEN2_LARGE = dict(vocab_size=152064, **_QWEN2)
_QWEN3 = dict(
  vocab_size=151936,
  rope=Rope(1e6),
  qk_norm=True,
  head_dim=128,
  num_kv_heads=8,
  max_length=40960,
)
_LLAMA3 = dict(
  vocab_size=128256, num_kv_heads=8, norm_eps=1e-5, max_length=131072
)
_MISTRAL = dict(num_heads=32, num_kv_heads=8, head_dim=128, norm_eps=1e-5)
_TIED = dict(tie_embeddings=True)


def _size(d: int, mlp: int, layers: int, **rest: Any) -> dict[str, Any]:
  return dict(hidden_size=d, intermediate_size=mlp, num_layers=layers, **rest)


def _heads(heads: int, kv: int, **rest: Any) -> dict[str, Any]:
  return dict(num_heads=heads, num_kv_heads=kv, **rest)


PRESETS: dict[str, dict[str, Any]] = {
  "tiny": _size(128, 352, 3, vocab_size=64, max_length=512)
  | _heads(4, 2, head_dim=32)
  | _TIED,
  "smollm2-135m": _size(576, 1536, 30, vocab_size=49152, max_length=8192)
  | _heads(9, 3, head_dim=64, rope=Rope(1e5), norm_eps=1e-5)
  | _TIED,
  "qwen2.5-0.5b": _QWEN2_SMALL
  | _size(896, 4864, 24, head_dim=64)
  | _heads(14, 2),
  "qwen2.5-1.5b": _QWEN2_SMALL | _size(1536, 8960, 28) | _heads(12, 2),
  "qwen2.5-3b": _QWEN2_SMALL | _size(2048, 11008, 36) | _heads(16, 2),
  "qwen2.5-7b": _QWEN2_LARGE | _size(3584, 18944, 28) | _heads(28, 4),
  "qwen2.5-14b": _QWEN2_LARGE | _size(5120, 13824, 48) | _heads(40, 8),
  "qwen2.5-32b": _QWEN2_LARGE | _size(5120, 27648, 64) | _heads(40, 8),
  "qwen3-0.6b": _QWEN3 | _size(1024, 3072, 28, num_heads=16) | _TIED,
  "qwen3-1.7b": _QWEN3 | _size(2048, 6144, 28, num_heads=16) | _TIED,
  "qwen3-4b": _QWEN3 | _size(2560, 9728, 36, num_heads=32) | _TIED,
  "qwen3-8b": _QWEN3 | _size(4096, 12288, 36, num_heads=32),
  "qwen3-14b": _QWEN3 | _size(5120, 17408, 40, num_heads=40),
  "llama3.2-1b": _LLAMA3
  | _size(2048, 8192, 16, num_heads=32, head_dim=64)
  | _TIED
  | dict(rope=_llama3(32.0)),
  "llama3.2-3b": _LLAMA3
  | _size(3072, 8192, 28, num_heads=24, head_dim=128)
  | _TIED
  | dict(rope=_llama3(32.0)),
  "llama3.1-8b": _LLAMA3
  | _size(4096, 14336, 32, num_heads=32, head_dim=128)
  | dict(rope=_llama3(8.0)),
  "mistral-7b-v0.3": _MISTRAL
  | _size(4096, 14336, 32)
  | dict(vocab_size=32768, rope=Rope(1e6), max_length=32768),
  "mistral-nemo-12b": _MISTRAL
  | _size(5120, 14336, 40)
  | dict(vocab_size=131072, rope=Rope(1e6), max_length=131072),
  "mistral-small-24b": _MISTRAL
  | _size(5120, 32768, 40)
  | dict(vocab_size=131072, rope=Rope(1e8), max_length=32768),
  "deepseek-math-7b": _size(4096, 11008, 30, vocab_size=102400)
  | _heads(32, 32, head_dim=128),
}


def preset(name: str, **overrides: Any) -> TransformerConfig:
  """The configuration of a published model, with fields replaced.

  Raises:
    ValueError: for an unknown name.
  """
  if name not in PRESETS:
    raise ValueError(f"unknown preset {name!r}; one of {', '.join(PRESETS)}")
  return TransformerConfig(**(PRESETS[name] | overrides))
