"""The model types of Hugging Face that can be read and written.

One table: the keys of config.json that a type reads, the fields of
TransformerConfig that it implies, and the names of its tensors.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Family:
  """A model type.

  Attributes:
    architecture: its class in transformers.
    defaults: keys of config.json that it reads, with the values assumed where
      they are missing (transformers 5.24). None: derived from other keys, or
      off.
    implied: fields of TransformerConfig that no key sets.
    windows: layers that may have a sliding window: "none", "all" or none of
      them ("all"), or any ("mixed").
    modules: tensor names, by our names within a layer, where they differ from
      Llama's.
    fused: our modules, in order, of each tensor that holds several.
    ignored: further keys that it does not read.
  """

  architecture: str
  defaults: Mapping[str, Any]
  implied: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  windows: str = "none"
  modules: Mapping[str, str] = dataclasses.field(default_factory=dict)
  fused: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
  ignored: tuple[str, ...] = ()


_COMMON: dict[str, Any] = {
  "head_dim": None,
  "hidden_act": "silu",
  "layer_types": None,
  "num_key_value_heads": None,
  "rms_norm_eps": 1e-6,
  "rope_theta": 10000.0,
  "tie_word_embeddings": False,
}
_QWEN: dict[str, Any] = _COMMON | {
  "max_position_embeddings": 32768,
  "max_window_layers": 28,
  "num_key_value_heads": 32,
  "sliding_window": 4096,
  "use_sliding_window": False,
}
_GEMMA: dict[str, Any] = _COMMON | {
  "attention_bias": False,
  "attn_logit_softcapping": None,
  "final_logit_softcapping": None,
  "head_dim": 256,
  "hidden_activation": "gelu_pytorch_tanh",
  "num_key_value_heads": 4,
  "query_pre_attn_scalar": 256,
  "sliding_window": 4096,
  "tie_word_embeddings": True,
}
del _GEMMA["hidden_act"]
_GEMMA_IMPLIED: dict[str, Any] = {
  "norm_offset": True,
  "output_norms": True,
  "scaled_embedding": True,
}
_OLMO: dict[str, Any] = _COMMON | {
  "attention_bias": False,
  "max_position_embeddings": 2048,
  "rms_norm_eps": 1e-5,
}
_OLMO_IMPLIED: dict[str, Any] = {
  "input_norms": False,
  "output_norms": True,
  "qk_norm": "width",
}
_EXPERTS: dict[str, Any] = {"num_experts": 128, "num_experts_per_tok": 8}
_OUTPUT_NORMS = {
  "attention_output_norm": "post_attention_layernorm",
  "post_attention_norm": "pre_feedforward_layernorm",
  "mlp_output_norm": "post_feedforward_layernorm",
}

FAMILIES: dict[str, Family] = {
  "llama": Family(
    "LlamaForCausalLM",
    _COMMON
    | {
      "attention_bias": False,
      "max_position_embeddings": 2048,
      "mlp_bias": False,
    },
  ),
  "mistral": Family(
    "MistralForCausalLM",
    _COMMON
    | {
      "max_position_embeddings": 131072,
      "num_key_value_heads": 8,
      "sliding_window": 4096,
    },
    windows="all",
  ),
  "qwen2": Family(
    "Qwen2ForCausalLM", _QWEN, {"qkv_bias": True}, windows="mixed"
  ),
  "qwen3": Family(
    "Qwen3ForCausalLM",
    _QWEN | {"attention_bias": False, "head_dim": 128},
    {"qk_norm": "head"},
    windows="mixed",
  ),
  "gemma2": Family(
    "Gemma2ForCausalLM",
    _GEMMA
    | {
      "attn_logit_softcapping": 50.0,
      "final_logit_softcapping": 30.0,
      "max_position_embeddings": 8192,
      "sliding_window_pattern": 2,
    },
    _GEMMA_IMPLIED,
    windows="mixed",
    modules=_OUTPUT_NORMS,
    ignored=("cache_implementation", "hidden_act", "sliding_window_size"),
  ),
  "gemma3_text": Family(
    "Gemma3ForCausalLM",
    _GEMMA
    | {
      "max_position_embeddings": 131072,
      "num_attention_heads": 8,
      "rope_local_base_freq": 10000.0,
      "rope_theta": 1e6,
      "sliding_window_pattern": 6,
      "vocab_size": 262208,
    },
    _GEMMA_IMPLIED | {"qk_norm": "head"},
    windows="mixed",
    modules=_OUTPUT_NORMS,
    ignored=("_sliding_window_pattern", "cache_implementation", "hidden_act"),
  ),
  "olmo2": Family(
    "Olmo2ForCausalLM", _OLMO, _OLMO_IMPLIED, modules=_OUTPUT_NORMS
  ),
  "olmo3": Family(
    "Olmo3ForCausalLM",
    _OLMO
    | {
      "rope_local_base_freq": None,
      "rope_theta": 5e5,
      "sliding_window": 4096,
      "sliding_window_pattern": 4,
    },
    _OLMO_IMPLIED,
    windows="mixed",
    modules=_OUTPUT_NORMS,
  ),
  "qwen3_moe": Family(
    "Qwen3MoeForCausalLM",
    _COMMON
    | _EXPERTS
    | {
      "attention_bias": False,
      "max_position_embeddings": 32768,
      "moe_intermediate_size": 768,
      "norm_topk_prob": False,
      "num_key_value_heads": 4,
      "sliding_window": 4096,
      "use_sliding_window": False,
    },
    {"qk_norm": "head"},
    windows="all",
    ignored=("max_window_layers",),
  ),
  "olmoe": Family(
    "OlmoeForCausalLM",
    _COMMON
    | _EXPERTS
    | {
      "attention_bias": False,
      "max_position_embeddings": 4096,
      "norm_topk_prob": False,
      "num_experts": 64,
      "rms_norm_eps": 1e-5,
    },
    {"qk_norm": "width"},
  ),
  "mixtral": Family(
    "MixtralForCausalLM",
    _COMMON
    | {
      "max_position_embeddings": 131072,
      "num_experts": 8,
      "num_experts_per_tok": 2,
      "num_key_value_heads": 8,
      "rms_norm_eps": 1e-5,
      "rope_theta": 1e6,
      "sliding_window": None,
    },
    {"norm_topk_prob": True},
    windows="all",
    modules={
      "mlp/router": "block_sparse_moe.gate",
      "mlp/experts/gate_proj": "block_sparse_moe.experts.{}.w1",
      "mlp/experts/up_proj": "block_sparse_moe.experts.{}.w3",
      "mlp/experts/down_proj": "block_sparse_moe.experts.{}.w2",
    },
  ),
  "smollm3": Family(
    "SmolLM3ForCausalLM",
    _COMMON
    | {
      "attention_bias": False,
      "max_position_embeddings": 32768,
      "mlp_bias": False,
      "no_rope_layers": None,
      "no_rope_layer_interval": 4,
      "num_key_value_heads": 4,
      "rope_theta": 2e6,
      "tie_word_embeddings": True,
    },
    ignored=("max_window_layers",),
  ),
  "phi3": Family(
    "Phi3ForCausalLM",
    _COMMON
    | {
      "max_position_embeddings": 4096,
      "original_max_position_embeddings": 4096,
      "partial_rotary_factor": 1.0,
      "rms_norm_eps": 1e-5,
      "sliding_window": None,
    },
    windows="all",
    fused={
      "self_attn.qkv_proj": (
        "attention/q_proj",
        "attention/k_proj",
        "attention/v_proj",
      ),
      "mlp.gate_up_proj": ("mlp/gate_proj", "mlp/up_proj"),
    },
    ignored=(
      "embd_pdrop",
      "full_attn_mod",
      "interpolate_factor",
      "resid_pdrop",
    ),
  ),
}
