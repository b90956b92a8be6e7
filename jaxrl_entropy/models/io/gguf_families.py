"""The architectures of GGUF that can be read.

One table, after llama.cpp's converter and its loader: names of tensors, what
was done to them, and what the loader knows without being told.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

from jaxrl_entropy.models.rope import Rope

_MODULES = {
  "token_embd": "model.embed_tokens",
  "output_norm": "model.norm",
  "output": "lm_head",
  "attn_norm": "input_layernorm",
  "ffn_norm": "post_attention_layernorm",
  "attn_q": "self_attn.q_proj",
  "attn_k": "self_attn.k_proj",
  "attn_v": "self_attn.v_proj",
  "attn_output": "self_attn.o_proj",
  "attn_q_norm": "self_attn.q_norm",
  "attn_k_norm": "self_attn.k_norm",
  "ffn_gate": "mlp.gate_proj",
  "ffn_up": "mlp.up_proj",
  "ffn_down": "mlp.down_proj",
}
_OUTPUT_NORMS = _MODULES | {
  "post_attention_norm": "post_attention_layernorm",
  "ffn_norm": "pre_feedforward_layernorm",
  "post_ffw_norm": "post_feedforward_layernorm",
}
_EXPERTS = _MODULES | {
  "ffn_gate_inp": "mlp.gate",
  "ffn_gate_exps": "mlp.experts.{}.gate_proj",
  "ffn_up_exps": "mlp.experts.{}.up_proj",
  "ffn_down_exps": "mlp.experts.{}.down_proj",
}


def _nothing(layers: int, width: int, heads: int, dim: int) -> dict[str, Any]:
  del layers, width, heads, dim
  return {}


@dataclasses.dataclass(frozen=True)
class Architecture:
  """An architecture of GGUF.

  Attributes:
    family: its model type in Hugging Face.
    implied: fields of TransformerConfig that no metadata set.
    fields: metadata that set further fields, by field.
    layers: (layers, hidden size, heads, head size) -> further fields, which
      llama.cpp derives from these numbers.
    modules: our source's names of modules, `{}` an expert, by GGUF's.
    permuted: queries and keys are stored interleaved.
    norm_offset: norms are stored with their one added.
    linear_rope: rotary frequencies may be scaled linearly.
  """

  family: str
  implied: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  fields: Mapping[str, str] = dataclasses.field(default_factory=dict)
  layers: Callable[[int, int, int, int], dict[str, Any]] = _nothing
  modules: Mapping[str, str] = dataclasses.field(
    default_factory=lambda: _MODULES
  )
  permuted: bool = False
  norm_offset: bool = False
  linear_rope: bool = False


_GEMMA = {
  "activation": "gelu_pytorch_tanh",
  "norm_offset": True,
  "output_norms": True,
  "scaled_embedding": True,
}
_WINDOW = {"sliding_window": "attention.sliding_window"}


def _gemma(every: int, largest: int) -> Callable[..., dict[str, Any]]:
  """Returns Gemma's derived fields.

  Args:
    every: this many layers have one without the window, the last of them.
    largest: layers of the size whose queries are scaled by hidden size / heads.
  """

  def derive(layers: int, width: int, heads: int, dim: int) -> dict[str, Any]:
    scalar = width // heads if layers == largest else dim
    return {
      "sliding_layers": tuple((i + 1) % every != 0 for i in range(layers)),
      "query_pre_attn_scalar": 0 if scalar == dim else scalar,
    }

  return derive


def _gemma3(layers: int, width: int, heads: int, dim: int) -> dict[str, Any]:
  derived = _gemma(6, 62)(layers, width, heads, dim)
  local = {"second_rope_layers": derived["sliding_layers"]}
  return derived | local | {"second_rope": Rope(10000.0)}


def _smollm3(layers: int, width: int, heads: int, dim: int) -> dict[str, Any]:
  del width, heads, dim
  plain = tuple((i + 1) % 4 == 0 for i in range(layers))
  if not any(plain):
    return {}
  return {"second_rope": Rope(kind="none"), "second_rope_layers": plain}


ARCHITECTURES: dict[str, Architecture] = {
  "llama": Architecture("llama", permuted=True),
  "qwen2": Architecture("qwen2"),
  "qwen3": Architecture("qwen3", {"qk_norm": "head"}),
  "qwen3moe": Architecture(
    "qwen3_moe",
    {"qk_norm": "head", "norm_topk_prob": True},
    {
      "num_experts": "expert_count",
      "num_experts_per_tok": "expert_used_count",
      "moe_intermediate_size": "expert_feed_forward_length",
    },
    modules=_EXPERTS,
  ),
  "gemma2": Architecture(
    "gemma2",
    _GEMMA,
    _WINDOW
    | {
      "attention_softcap": "attn_logit_softcapping",
      "logits_softcap": "final_logit_softcapping",
    },
    _gemma(2, 46),
    _OUTPUT_NORMS,
    norm_offset=True,
  ),
  "gemma3": Architecture(
    "gemma3_text",
    _GEMMA | {"qk_norm": "head"},
    _WINDOW,
    _gemma3,
    _OUTPUT_NORMS,
    norm_offset=True,
    linear_rope=True,
  ),
  "olmo2": Architecture(
    "olmo2",
    {"input_norms": False, "output_norms": True, "qk_norm": "width"},
    modules=_OUTPUT_NORMS,
  ),
  "smollm3": Architecture("smollm3", layers=_smollm3, permuted=True),
}
