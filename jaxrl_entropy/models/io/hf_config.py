"""Hugging Face's config.json <-> TransformerConfig.

Reads the forms of transformers 4 (`rope_theta`, `rope_scaling`) and 5
(`rope_parameters`); writes the first, which both understand. Every key is
either used, known to have no effect, or refused by name: a setting that is
silently ignored would change the maths.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

from jaxrl_entropy.models.config import (
  TransformerConfig,
  UnsupportedConfigError,
)
from jaxrl_entropy.models.io import hf_rope
from jaxrl_entropy.models.io.hf_families import FAMILIES, Family
from jaxrl_entropy.models.rope import Rope

TEXT_TYPES = {"gemma3": "gemma3_text"}
"""Multimodal model types that are read, and the type of their text model."""

Take = Callable[[str], Any]

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
  num_return_sequences output_attentions output_hidden_states
  output_router_logits output_scores router_aux_loss_coef
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
  "decoder_sparse_step": 1,
  "is_encoder_decoder": False,
  "lm_head_bias": False,
  "mlp_bias": False,
  "mlp_only_layers": [],
  "partial_rotary_factor": 1.0,
  "pruned_heads": {},
  "rope_interleaved": False,
  "router_jitter_noise": 0.0,
  "tie_encoder_decoder": False,
  "use_bidirectional_attention": False,
  "use_mrope": False,
  "use_sliding_window": False,
}


def from_hf(hf: Mapping[str, Any]) -> TransformerConfig:
  """Returns the configuration that a config.json describes.

  Of a multimodal model in `TEXT_TYPES` it is that of the text model.

  Raises:
    UnsupportedConfigError: names the key that is missing or not supported.
  """
  name = str(hf.get("model_type"))
  if name in TEXT_TYPES:
    name, hf = TEXT_TYPES[name], hf.get("text_config", {})
  _check_type(name, hf)
  family, fields = FAMILIES[name], dict(hf)
  if (
    "num_local_experts" in fields
  ):  # Mixtral's name, and that of transformers 5.
    fields["num_experts"] = fields.pop("num_local_experts")

  def take(key: str) -> Any:
    if key not in fields and key not in family.defaults:
      raise UnsupportedConfigError(f"config.json has no {key!r}")
    return fields.pop(key, family.defaults.get(key))

  def option(key: str) -> Any:
    """Takes a key that not every model type reads."""
    return take(key) if key in family.defaults else None

  heads, width = take("num_attention_heads"), take("hidden_size")
  head_dim = take("head_dim") or width // heads
  max_length, layers = (
    take("max_position_embeddings"),
    take("num_hidden_layers"),
  )
  rope, local = hf_rope.take(fields, family.defaults, max_length)
  window, sliding = _windows(family, layers, take, option)
  second, second_layers = _second_rope(local, layers, window, sliding, option)
  biases = bool(option("attention_bias"))
  scalar = option("query_pre_attn_scalar")
  settings = {
    "vocab_size": take("vocab_size"),
    "hidden_size": width,
    "intermediate_size": take("intermediate_size"),
    "num_layers": layers,
    "num_heads": heads,
    "num_kv_heads": take("num_key_value_heads") or heads,
    "head_dim": head_dim,
    "rope": rope,
    "second_rope": second,
    "second_rope_layers": second_layers,
    "norm_eps": take("rms_norm_eps"),
    "activation": option("hidden_act") or option("hidden_activation"),
    "tie_embeddings": bool(take("tie_word_embeddings")),
    "logits_softcap": option("final_logit_softcapping") or 0.0,
    "qkv_bias": biases,
    "output_bias": biases,
    "mlp_bias": bool(option("mlp_bias")),
    "query_pre_attn_scalar": 0 if scalar in (None, head_dim) else scalar,
    "attention_softcap": option("attn_logit_softcapping") or 0.0,
    "num_experts": option("num_experts") or 0,
    "num_experts_per_tok": option("num_experts_per_tok") or 0,
    "moe_intermediate_size": option("moe_intermediate_size") or 0,
    "norm_topk_prob": bool(option("norm_topk_prob")),
    "sliding_window": window,
    "sliding_layers": sliding,
    "max_length": hf_rope.context(rope, max_length),
  }
  _refuse_rest(fields, family)
  return TransformerConfig(family=name, **settings | dict(family.implied))


def to_hf(config: TransformerConfig) -> dict[str, Any]:
  """Returns the config.json of a model, in the form of transformers 4.

  Raises:
    UnsupportedConfigError: names the fields that the model type of
      `config.family` cannot express.
  """
  if config.prefix_length:
    raise UnsupportedConfigError(
      f"the model has a soft prefix of {config.prefix_length} vectors "
      "(config.model.prefix_length), which a Hugging Face folder cannot hold: "
      "evaluate the run itself, or train without one"
    )
  family, rope = FAMILIES[config.family], config.rope
  optional = {
    "attention_bias": config.output_bias,
    "attn_logit_softcapping": config.attention_softcap or None,
    "final_logit_softcapping": config.logits_softcap or None,
    "hidden_act": config.activation,
    "hidden_activation": config.activation,
    "mlp_bias": config.mlp_bias,
    "moe_intermediate_size": config.moe_intermediate_size,
    "norm_topk_prob": config.norm_topk_prob,
    "num_experts": config.num_experts,
    "num_experts_per_tok": config.num_experts_per_tok,
    "no_rope_layers": [1 - index for index in config.rope_index],
    "original_max_position_embeddings": rope.original_length
    or config.max_length,
    "partial_rotary_factor": rope.rotated,
    "query_pre_attn_scalar": config.query_pre_attn_scalar or config.head_dim,
    "rope_local_base_freq": (config.second_rope or rope).theta,
    "sliding_window": config.sliding_window or None,
    "use_sliding_window": config.sliding_window > 0,
  }
  described = {
    "model_type": config.family,
    "architectures": [family.architecture],
    "vocab_size": config.vocab_size,
    "hidden_size": config.hidden_size,
    "intermediate_size": config.intermediate_size,
    "num_hidden_layers": config.num_layers,
    "num_attention_heads": config.num_heads,
    "num_key_value_heads": config.num_kv_heads,
    "head_dim": config.head_dim,
    "max_position_embeddings": max(config.max_length, rope.stretched_length),
    "rms_norm_eps": config.norm_eps,
    "tie_word_embeddings": config.tie_embeddings,
    "rope_theta": rope.theta,
    "rope_scaling": hf_rope.scaling(rope),
  }
  described |= {k: v for k, v in optional.items() if k in family.defaults}
  if "sliding_window_pattern" in family.defaults:
    # Transformers wants a window even where no layer has it.
    described["sliding_window"] = config.sliding_window or config.max_length
  if config.num_experts:
    described["num_local_experts"] = config.num_experts
  if family.windows == "mixed":
    described["layer_types"] = [
      "sliding_attention" if slides else "full_attention"
      for slides in config.slides
    ]
  _check_round_trip(config, described)
  return described


def _check_type(name: str, hf: Mapping[str, Any]) -> None:
  if name not in FAMILIES:
    kind = "is multimodal and" if "text_config" in hf else "is"
    raise UnsupportedConfigError(
      f"model_type {name!r} {kind} not supported; one of {', '.join(FAMILIES)}"
    )
  for architecture in hf.get("architectures") or ():
    if not architecture.endswith("ForCausalLM"):
      raise UnsupportedConfigError(
        f"architectures has {architecture!r}: only ...ForCausalLM models are "
        "supported"
      )


def _windows(
  family: Family, layers: int, take: Take, option: Take
) -> tuple[int, tuple[bool, ...]]:
  """Returns the window in tokens (0: none), and the layers that have it."""
  window, kinds = option("sliding_window"), take("layer_types")
  pattern, first = option("sliding_window_pattern"), option("max_window_layers")
  if option("use_sliding_window") is False:
    window = None
  slides = [
    window is not None
    and index >= (first or 0)
    and (not pattern or (index + 1) % pattern != 0)
    for index in range(layers)
  ]
  if kinds is not None:
    slides = _explicit_layers(family, kinds, layers, window)
  if not any(slides):
    return 0, ()
  return window or 0, () if all(slides) else tuple(slides)


def _explicit_layers(
  family: Family, kinds: list[str], layers: int, window: int | None
) -> list[bool]:
  slides = [kind == "sliding_attention" for kind in kinds]
  known = set(kinds) <= {"sliding_attention", "full_attention"}
  uniform = all(slide == bool(window) for slide in slides)
  fits = uniform if family.windows == "all" else any(slides) <= bool(window)
  if not (known and fits and len(kinds) == layers):
    raise UnsupportedConfigError(
      f"layer_types {kinds} is not supported for {family.architecture} with "
      f"{layers} layers and sliding window {window}"
    )
  return slides


def _second_rope(
  local: Rope | None,
  layers: int,
  window: int,
  sliding: tuple[bool, ...],
  option: Take,
) -> tuple[Rope | None, tuple[bool, ...]]:
  """Returns the other rotary settings, and the layers that have them.

  These are the sliding layers of a model type with `local` settings, or layers
  without rotation.
  """
  rotated, every = option("no_rope_layers"), option("no_rope_layer_interval")
  if local is not None:
    second = local, sliding or (window > 0,) * layers
  elif rotated or every:
    rotated = rotated or [(i + 1) % every for i in range(layers)]
    second = Rope(kind="none"), tuple(not i for i in rotated)
  else:
    return None, ()
  return second if any(second[1]) else (None, ())


def _refuse_rest(fields: Mapping[str, Any], family: Family) -> None:
  for key, value in fields.items():
    neutral = key in _NEUTRAL and value == _NEUTRAL[key]
    known = key in NO_EFFECT or key in family.ignored
    if value is not None and not known and not neutral:
      raise UnsupportedConfigError(
        f"config.json has {key}={value!r}, which this decoder does not compute"
      )


def _check_round_trip(config: TransformerConfig, hf: Mapping[str, Any]) -> None:
  back = dataclasses.replace(
    from_hf(hf).with_max_length(config.max_length),
    dtype=config.dtype,
    tokenizer_size=config.tokenizer_size,
  )
  lost = [
    field.name
    for field in dataclasses.fields(config)
    if getattr(back, field.name) != getattr(config, field.name)
    and field.name != "sliding_layers"
  ]
  if back.slides != config.slides:
    lost.append("sliding_layers")
  if lost:
    raise UnsupportedConfigError(
      f"a Hugging Face {config.family} model cannot have "
      + ", ".join(f"{name}={getattr(config, name)!r}" for name in lost)
      + "; choose another family"
    )
