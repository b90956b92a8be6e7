"""Tiny random models of `transformers`, with settings that are easy to miss.

`python -m tests.models.peers` writes the models that are missing: each as
`transformers` saves it, and the logits it gives (needs the `parity` extra).
With them parity stays under test where torch is not installed.
"""

from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parents[1] / "fixtures" / "models"
BATCH, LENGTH, VOCAB = 2, 24, 61

_SMALL = {
  "vocab_size": VOCAB,
  "hidden_size": 24,
  "intermediate_size": 36,
  "num_hidden_layers": 3,
  "num_attention_heads": 6,
  "num_key_value_heads": 2,
  "max_position_embeddings": 64,
}
_LLAMA3 = {
  "rope_type": "llama3",
  "rope_theta": 100.0,
  "factor": 8.0,
  "low_freq_factor": 1.0,
  "high_freq_factor": 4.0,
  "original_max_position_embeddings": 16,
}
_YARN = {
  "rope_type": "yarn",
  "rope_theta": 200.0,
  "factor": 4.0,
  "original_max_position_embeddings": 16,
  "beta_fast": 4.0,
}

_PHI = {
  "hidden_size": 48,
  "num_attention_heads": 4,
  "pad_token_id": 0,
  "original_max_position_embeddings": 32,
  "rope_parameters": {
    "rope_type": "longrope",
    "rope_theta": 100.0,
    "partial_rotary_factor": 0.5,
    "short_factor": [1.0, 1.5, 2.0],
    "long_factor": [1.0, 4.0, 9.0],
  },
}


def _mixed(kinds: str) -> list[str]:
  """Layer types by their first letters."""
  names = {"s": "sliding_attention", "f": "full_attention"}
  return [names[kind] for kind in kinds]


# Model type and settings, by the name of the case.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
  "qwen2_tied": ("qwen2", {"tie_word_embeddings": True}),
  "qwen2_window_in_upper_layers": (
    "qwen2",
    {
      "use_sliding_window": True,
      "sliding_window": 5,
      "max_window_layers": 1,
      "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    },
  ),
  "qwen2_linear_rope": (
    "qwen2",
    {
      "num_attention_heads": 3,
      "num_key_value_heads": 3,
      "rope_parameters": {
        "rope_type": "linear",
        "factor": 2.5,
        "rope_theta": 1e4,
      },
    },
  ),
  "qwen3_wide_heads": (
    "qwen3",
    {
      "num_attention_heads": 5,
      "num_key_value_heads": 1,
      "head_dim": 12,
      "attention_bias": True,
      "rms_norm_eps": 1e-2,
    },
  ),
  "qwen3_yarn_mixed_layers": (
    "qwen3",
    {
      "head_dim": 8,
      "tie_word_embeddings": True,
      "rope_parameters": _YARN,
      "use_sliding_window": True,
      "sliding_window": 7,
      "layer_types": _mixed("sfs"),
    },
  ),
  "llama_llama3_rope_biases": (
    "llama",
    {
      "attention_bias": True,
      "mlp_bias": True,
      "hidden_act": "gelu_pytorch_tanh",
      "rope_parameters": _LLAMA3,
    },
  ),
  "llama_yarn_magnitudes": (
    "llama",
    {
      "tie_word_embeddings": True,
      "head_dim": 10,
      "rope_parameters": _YARN
      | {"mscale": 0.7, "mscale_all_dim": 1.2, "truncate": False},
    },
  ),
  "gemma2_caps_and_mixed_layers": (
    "gemma2",
    {
      "head_dim": 10,
      "query_pre_attn_scalar": 7,
      "attn_logit_softcapping": 2.0,
      "final_logit_softcapping": 3.0,
      "sliding_window": 5,
    },
  ),
  "gemma3_two_ropes": (
    "gemma3_text",
    {
      "head_dim": 8,
      "sliding_window": 6,
      "layer_types": _mixed("sf") * 2,
      "num_hidden_layers": 4,
      "rope_parameters": {
        "full_attention": {
          "rope_type": "linear",
          "factor": 8.0,
          "rope_theta": 1e4,
        },
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
      },
    },
  ),
  "olmo2_wide_norms": ("olmo2", {"num_key_value_heads": 3}),
  "olmo3_windows_yarn": (
    "olmo3",
    {
      "num_hidden_layers": 4,
      "sliding_window": 4,
      "rope_parameters": {
        "full_attention": _YARN | {"rope_theta": 5e5},
        "sliding_attention": {"rope_type": "default", "rope_theta": 5e5},
      },
    },
  ),
  "smollm3_layers_without_rope": (
    "smollm3",
    {
      "no_rope_layers": [1, 0, 1],
      "attention_bias": True,
      "pad_token_id": 0,
    },
  ),
  "phi3_partial_short_factors": ("phi3", _PHI | {"sliding_window": 9}),
  "phi3_partial_long_factors": (
    "phi3",
    _PHI
    | {"original_max_position_embeddings": 16, "tie_word_embeddings": True},
  ),
  "qwen3_moe_normalized": (
    "qwen3_moe",
    {
      "head_dim": 8,
      "moe_intermediate_size": 12,
      "norm_topk_prob": True,
      "num_experts": 5,
      "num_experts_per_tok": 2,
    },
  ),
  "olmoe_plain_weights": (
    "olmoe",
    {
      "intermediate_size": 16,
      "num_experts": 4,
      "num_experts_per_tok": 3,
      "pad_token_id": 0,
    },
  ),
  "mixtral_window": (
    "mixtral",
    {
      "intermediate_size": 8,
      "num_local_experts": 4,
      "sliding_window": 6,
    },
  ),
  "mistral_short_window": (
    "mistral",
    {"sliding_window": 4, "head_dim": 14, "hidden_act": "relu"},
  ),
}


def transformers_4_form(described: dict[str, Any]) -> dict[str, Any]:
  """A config.json of transformers 5 as version 4 would have written it."""
  old = dict(described)
  rope = dict(old.pop("rope_parameters"))
  old["torch_dtype"] = old.pop("dtype")
  if "full_attention" in rope:
    local = rope["sliding_attention"]["rope_theta"]
    old["rope_local_base_freq"] = local
    rope = dict(rope["full_attention"])
  if "partial_rotary_factor" in rope:
    old["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
  old["rope_theta"] = rope.pop("rope_theta")
  rope["type"] = rope.pop("rope_type")
  old["rope_scaling"] = None if rope == {"type": "default"} else rope
  return old


def tokens(seed: int = 0) -> np.ndarray:
  """int32 [BATCH, LENGTH] of random ids."""
  rng = np.random.default_rng(seed)
  return rng.integers(VOCAB, size=(BATCH, LENGTH)).astype(np.int32)


def make(kind: str, settings: dict[str, Any], seed: int = 0) -> Any:
  """A torch model with every parameter random, norms and biases included."""
  import torch
  from transformers import AutoConfig, AutoModelForCausalLM

  config = AutoConfig.for_model(kind, **(_SMALL | settings))
  config._attn_implementation = "eager"
  torch.manual_seed(seed)
  model = AutoModelForCausalLM.from_config(config).eval()
  # The norms of Gemma add the one themselves.
  norm = 0.0 if kind.startswith("gemma") else 1.0
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      center = norm if "norm" in name else 0.0
      parameter.copy_(center + 0.25 * torch.randn(parameter.shape))
  return model


def logits(model: Any, ids: np.ndarray) -> np.ndarray:
  """float32 [BATCH, LENGTH, VOCAB] of a torch model."""
  import torch

  with torch.no_grad():
    return model(torch.as_tensor(ids, dtype=torch.long)).logits.numpy()


def main() -> None:
  for seed, (name, (kind, settings)) in enumerate(CASES.items()):
    if (FOLDER / name).exists():
      continue
    model = make(kind, settings, seed)
    # Small files, so that a model has several.
    model.save_pretrained(FOLDER / name, max_shard_size="20KB")
    (FOLDER / name / "generation_config.json").unlink(missing_ok=True)
    np.save(FOLDER / name / "logits.npy", logits(model, tokens()))


if __name__ == "__main__":
  main()
