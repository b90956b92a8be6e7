"""Hugging Face's config.json <-> TransformerConfig.

Reads the forms of transformers 4 (`rope_theta`, `rope_scaling`) and 5
(`rope_parameters`); writes the first, which both understand. Every key is
either used, known to have no effect, or refused by name: a setting that is
silently ignored would change the maths.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

from jaxrl_entropy.models.config import (
  TransformerConfig,
  UnsupportedConfigError,
)
from jaxrl_entropy.models.io import hf_rope

# Values that transformers 5.24 assumes for keys that a config.json lacks. None:
# derived from other fields, or off.
_COMMON: dict[str, Any] = {
  "rms_norm_eps": 1e-6,
  "hidden_act": "silu",
  "tie_word_embeddings": False,
  "layer_types": None,
  "head_dim": None,
}
_QWEN: dict[str, Any] = _COMMON | {
  "num_key_value_heads": 32,
  "max_position_embeddings": 32768,
  "use_sliding_window": False,
  "sliding_window": 4096,
  "max_window_layers": 28,
}
DEFAULTS: dict[str, dict[str, Any]] = {
  "llama": _COMMON
  | {
    "num_key_value_heads": None,
    "max_position_embeddings": 2048,
    "attention_bias": False,
    "mlp_bias": False,
  },
  "mistral": _COMMON
  | {
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "sliding_window": 4096,
  },
  "qwen2": _QWEN,
  "qwen3": _QWEN | {"head_dim": 128, "attention_bias": False},
}

# Keys without effect on the forward pass.
_NO_EFFECT = """
  _attn_implementation _attn_implementation_autoset
  _attn_implementation_internal _commit_hash _flash_attn_2_enabled
  _name_or_path architectures attention_dropout attn_implementation auto_map
  bad_words_ids begin_suppress_tokens bos_token_id chunk_size_feed_forward
  classifier_dropout decoder_start_token_id diversity_penalty do_sample dtype
  early_stopping encoder_no_repeat_ngram_size eos_token_id
  exponential_decay_length_penalty finetuning_task forced_bos_token_id
  forced_eos_token_id gradient_checkpointing id2label initializer_range
  is_decoder is_llama_config label2id length_penalty max_length
  max_sequence_length min_length model_type name_or_path neftune_noise_alpha
  no_repeat_ngram_size num_beam_groups num_beams num_labels
  num_return_sequences output_attentions output_hidden_states output_scores
  pad_token_id prefix pretraining_tp problem_type remove_invalid_values
  repetition_penalty return_dict return_dict_in_generate sep_token_id
  suppress_tokens task_specific_params temperature tf_legacy_loss
  tokenizer_class top_k top_p torch_dtype torchscript transformers.js_config
  transformers_version typical_p unsloth_fixed unsloth_version
  use_bfloat16 use_cache use_labels
"""
NO_EFFECT = frozenset(_NO_EFFECT.split())
# Keys without effect at this value only.
_NEUTRAL: dict[str, Any] = {
  # Falcon 3 names its gated MLP; `hidden_act` is what transformers reads.
  "activation": "swiglu",
  "add_cross_attention": False,
  "attention_bias": False,
  "is_encoder_decoder": False,
  "mlp_bias": False,
  "partial_rotary_factor": 1.0,
  "pruned_heads": {},
  "rope_interleaved": False,
  "tie_encoder_decoder": False,
  "use_mrope": False,
  "use_sliding_window": False,
}


def from_hf(hf: Mapping[str, Any]) -> TransformerConfig:
  """The configuration that a config.json describes.

  Raises:
    UnsupportedConfigError: names the key that is missing or not supported.
  """
  family = hf.get("model_type")
  if family not in DEFAULTS:
    raise UnsupportedConfigError(
      f"model_type {family!r} is not supported; one of {', '.join(DEFAULTS)}"
    )
  for name in hf.get("architectures") or ():
    if not name.endswith("ForCausalLM"):
      raise UnsupportedConfigError(
        f"architectures has {name!r}: only ...ForCausalLM models are supported"
      )
  fields = dict(hf)
  defaults = DEFAULTS[family]

  def take(key: str) -> Any:
    if key not in fields and key not in defaults:
      raise UnsupportedConfigError(f"config.json has no {key!r}")
    return fields.pop(key, defaults.get(key))

  heads, width = take("num_attention_heads"), take("hidden_size")
  max_length = take("max_position_embeddings")
  layers = take("num_hidden_layers")
  attention_bias = bool(take("attention_bias") if _has_bias(family) else False)
  window, sliding_layers = _windows(family, layers, take)
  rope = hf_rope.take(fields, max_length)
  config = TransformerConfig(
    family=family,
    vocab_size=take("vocab_size"),
    hidden_size=width,
    intermediate_size=take("intermediate_size"),
    num_layers=layers,
    num_heads=heads,
    num_kv_heads=take("num_key_value_heads") or heads,
    head_dim=take("head_dim") or width // heads,
    rope=rope,
    norm_eps=take("rms_norm_eps"),
    activation=take("hidden_act"),
    tie_embeddings=bool(take("tie_word_embeddings")),
    qkv_bias=attention_bias or family == "qwen2",
    output_bias=attention_bias,
    mlp_bias=bool(take("mlp_bias")) if family == "llama" else False,
    qk_norm=family == "qwen3",
    sliding_window=window,
    sliding_layers=sliding_layers,
    max_length=max(max_length, rope.stretched_length),
  )
  _refuse_rest(fields)
  return config


def to_hf(config: TransformerConfig) -> dict[str, Any]:
  """The config.json (transformers 4 form, read by 5 as well) of a model.

  Raises:
    UnsupportedConfigError: names the fields that the model type of
      `config.family` cannot express.
  """
  full = {
    "model_type": config.family,
    "architectures": [config.family.title() + "ForCausalLM"],
    "vocab_size": config.vocab_size,
    "hidden_size": config.hidden_size,
    "intermediate_size": config.intermediate_size,
    "num_hidden_layers": config.num_layers,
    "num_attention_heads": config.num_heads,
    "num_key_value_heads": config.num_kv_heads,
    "head_dim": config.head_dim,
    "max_position_embeddings": config.max_length,
    "rms_norm_eps": config.norm_eps,
    "hidden_act": config.activation,
    "tie_word_embeddings": config.tie_embeddings,
    "rope_theta": config.rope.theta,
    "rope_scaling": hf_rope.scaling(config.rope),
  }
  allowed = DEFAULTS[config.family]
  if "attention_bias" in allowed:
    full["attention_bias"] = config.output_bias
  if "mlp_bias" in allowed:
    full["mlp_bias"] = config.mlp_bias
  if "sliding_window" in allowed:
    full["sliding_window"] = config.sliding_window or None
  if "use_sliding_window" in allowed:
    full["use_sliding_window"] = config.sliding_window > 0
    full["layer_types"] = [
      "sliding_attention" if window else "full_attention"
      for window in config.windows
    ]
  _check_round_trip(config, full)
  return full


def _has_bias(family: str) -> bool:
  return "attention_bias" in DEFAULTS[family]


def _windows(
  family: str, layers: int, take: Any
) -> tuple[int, tuple[bool, ...]]:
  """The window in tokens (0: none), and the layers that have it."""
  has_window = "sliding_window" in DEFAULTS[family]
  window = take("sliding_window") if has_window else None
  kinds = take("layer_types")
  first = 0
  if "use_sliding_window" in DEFAULTS[family]:
    first = take("max_window_layers")
    window = window if take("use_sliding_window") else None
  slides = [window is not None and i >= first for i in range(layers)]
  if kinds is not None:
    slides = _explicit_layers(family, kinds, layers, window)
  if not any(slides):
    return 0, ()
  return window or 0, () if all(slides) else tuple(slides)


def _explicit_layers(
  family: str, kinds: list[str], layers: int, window: int | None
) -> list[bool]:
  slides = [kind == "sliding_attention" for kind in kinds]
  known = set(kinds) <= {"sliding_attention", "full_attention"}
  mixed = family == "mistral" and not all(s == bool(window) for s in slides)
  if not known or len(kinds) != layers or mixed or (any(slides) > bool(window)):
    raise UnsupportedConfigError(
      f"layer_types {kinds} is not supported for {family} with {layers} layers "
      f"and sliding window {window}"
    )
  return slides


def _refuse_rest(fields: Mapping[str, Any]) -> None:
  for key, value in fields.items():
    neutral = key in _NEUTRAL and value == _NEUTRAL[key]
    if value is not None and key not in NO_EFFECT and not neutral:
      raise UnsupportedConfigError(
        f"config.json has {key}={value!r}, which this decoder does not compute"
      )


def _check_round_trip(config: TransformerConfig, hf: Mapping[str, Any]) -> None:
  back = dataclasses.replace(
    from_hf(hf), dtype=config.dtype, tokenizer_size=config.tokenizer_size
  )
  lost = [
    field.name
    for field in dataclasses.fields(config)
    if getattr(back, field.name) != getattr(config, field.name)
    and field.name != "sliding_layers"
  ]
  if back.windows != config.windows:
    lost.append("sliding_layers")
  if lost:
    raise UnsupportedConfigError(
      f"a Hugging Face {config.family} model cannot have "
      + ", ".join(f"{name}={getattr(config, name)!r}" for name in lost)
      + "; choose another family"
    )
