import dataclasses
import json
from pathlib import Path

import pytest
from transformers import AutoConfig

from jaxrl_entropy.models.config import preset
from jaxrl_entropy.models.io import hf_config
from jaxrl_entropy.models.rope import Rope
from tests.models import peers

LLAMA = {
  "model_type": "llama",
  "vocab_size": 61,
  "hidden_size": 24,
  "intermediate_size": 36,
  "num_hidden_layers": 3,
  "num_attention_heads": 6,
}
PUBLISHED = Path(__file__).parents[2] / "fixtures" / "hf_configs"
"""The config.json of published models, as they are on the hub."""

REFUSED = {
  "MiMo-7B-Base": "model_type 'mimo' is not supported",
  "gpt-oss-20b": "model_type 'gpt_oss' is not supported",
}

PRESET_FILES = {
  "smollm2-135m": "SmolLM2-135M",
  "qwen2.5-0.5b": "Qwen2.5-0.5B",
  "qwen2.5-1.5b": "Qwen2.5-1.5B",
  "qwen2.5-3b": "Qwen2.5-3B",
  "qwen2.5-7b": "Qwen2.5-7B",
  "qwen2.5-14b": "Qwen2.5-14B",
  "qwen2.5-32b": "Qwen2.5-32B",
  "qwen3-0.6b": "Qwen3-0.6B",
  "qwen3-1.7b": "Qwen3-1.7B",
  "qwen3-4b": "Qwen3-4B",
  "qwen3-8b": "Qwen3-8B",
  "qwen3-14b": "Qwen3-14B",
  "qwen3-30b-a3b": "Qwen3-30B-A3B",
  "llama3.2-1b": "Llama-3.2-1B",
  "llama3.2-3b": "Llama-3.2-3B-Instruct",
  "llama3.1-8b": "Llama-3.1-8B",
  "mistral-7b-v0.3": "Mistral-7B-v0.3",
  "mistral-nemo-12b": "Mistral-Nemo-Base-2407",
  "deepseek-math-7b": "deepseek-math-7b-base",
}

# eps, head_dim, tied, rope theta, rope kind, max_length: read off the files.
FACTS = {
  "DeepSeek-R1-Distill-Llama-8B": (1e-5, 128, False, 5e5, "llama3", 131072),
  "DeepSeek-R1-Distill-Qwen-1.5B": (1e-6, 128, False, 1e4, "default", 131072),
  "Llama-3.2-1B-Instruct": (1e-5, 64, True, 5e5, "llama3", 131072),
  "Mistral-Nemo-Base-2407": (1e-5, 128, False, 1e6, "default", 131072),
  "Qwen2.5-0.5B": (1e-6, 64, True, 1e6, "default", 32768),
  "Qwen2.5-32B": (1e-5, 128, False, 1e6, "default", 131072),
  "Qwen2.5-7B": (1e-6, 128, False, 1e6, "default", 131072),
  # The cards' recipe for long inputs leaves max_position_embeddings alone.
  "Qwen2.5-7B-Instruct+yarn": (1e-6, 128, False, 1e6, "yarn", 131072),
  "Qwen3-8B+yarn": (1e-6, 128, False, 1e6, "yarn", 131072),
  "Qwen2.5-Math-7B": (1e-6, 128, False, 1e4, "default", 4096),
  "Qwen3-0.6B": (1e-6, 128, True, 1e6, "default", 40960),
  "SmolLM2-1.7B-Instruct": (1e-5, 64, True, 130000, "default", 8192),
  "gemma-2-2b": (1e-6, 256, True, 1e4, "default", 8192),
  "OLMo-2-1124-7B": (1e-6, 128, False, 5e5, "default", 4096),
  "Qwen3-30B-A3B": (1e-6, 128, False, 1e6, "default", 40960),
  "deepseek-math-7b-rl": (1e-6, 128, False, 1e4, "default", 4096),
}


def _published(name):
  return json.loads((PUBLISHED / f"{name}.json").read_text())


@pytest.mark.parametrize(
  "file", sorted(PUBLISHED.iterdir()), ids=lambda f: f.stem
)
def test_published_configs_are_read_as_transformers_reads_them(file):
  published = _published(file.stem)
  if file.stem in REFUSED:
    with pytest.raises(ValueError, match=REFUSED[file.stem]):
      hf_config.from_hf(published)
    return
  config = hf_config.from_hf(published)
  theirs = AutoConfig.for_model(**published)
  rope = theirs.rope_parameters
  assert (config.norm_eps, config.tie_embeddings) == (
    theirs.rms_norm_eps,
    theirs.tie_word_embeddings,
  )
  assert config.num_kv_heads == theirs.num_key_value_heads
  assert config.head_dim == (
    getattr(theirs, "head_dim", None)
    or theirs.hidden_size // theirs.num_attention_heads
  )
  assert (config.rope.theta, config.rope.kind) == (
    rope["rope_theta"],
    rope["rope_type"],
  )
  assert config.rope.factor == rope.get("factor", 1.0)
  assert config.sliding_window == (getattr(theirs, "sliding_window", 0) or 0)


@pytest.mark.parametrize("name", FACTS)
def test_facts_of_published_configs(name):
  config = hf_config.from_hf(_published(name))
  assert FACTS[name] == (
    config.norm_eps,
    config.head_dim,
    config.tie_embeddings,
    config.rope.theta,
    config.rope.kind,
    config.max_length,
  )


@pytest.mark.parametrize("name", PRESET_FILES)
def test_presets_are_the_published_models(name):
  published = _published(PRESET_FILES[name])
  assert preset(name) == hf_config.from_hf(published)


def _parse(**changes):
  return hf_config.from_hf(LLAMA | changes)


@pytest.mark.parametrize("name", peers.CASES)
def test_transformers_4_form_means_the_same(name):
  new = json.loads((peers.FOLDER / name / "config.json").read_text())
  old = peers.transformers_4_form(new)
  assert hf_config.from_hf(old) == hf_config.from_hf(new)


def test_what_is_not_said_is_as_the_model_type_assumes():
  config = _parse()
  assert config.num_kv_heads == 6
  assert config.head_dim == 4
  assert config.rope == Rope(10000.0)
  assert not config.tie_embeddings
  mistral = hf_config.from_hf(LLAMA | {"model_type": "mistral"} | _heads(8))
  assert mistral.sliding_window == 4096
  qwen = hf_config.from_hf(LLAMA | {"model_type": "qwen2"} | _heads(32))
  assert qwen.qkv_bias
  assert not qwen.output_bias
  assert qwen.sliding_window == 0


def _heads(heads):
  return {"num_attention_heads": heads, "hidden_size": 4 * heads}


def test_no_window_where_it_is_null():
  mistral = LLAMA | {"model_type": "mistral", "sliding_window": None}
  assert hf_config.from_hf(mistral | _heads(8)).sliding_window == 0


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"model_type": "mamba"}, "model_type 'mamba' is not supported"),
    (
      {"model_type": "mistral3", "text_config": {}},
      "model_type 'mistral3' is multimodal and not supported",
    ),
    ({"attention_multiplier": 0.5}, "attention_multiplier=0.5"),
    ({"logit_scale": 2.0}, "logit_scale=2.0"),
    ({"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5"),
    ({"quantization_config": {"bits": 4}}, "quantization_config"),
    ({"use_mrope": True}, "use_mrope=True"),
    ({"activation": "relu"}, "activation='relu'"),
    (
      {
        "rope_scaling": {
          "type": "yarn",
          "factor": 4.0,
          "original_max_position_embeddings": 512,
          "attn_factor": 0.878,
        }
      },
      "attn_factor=0.878.*replace it by attention_factor",
    ),
    ({"sliding_window": 8}, "sliding_window=8"),
    ({"rope_interleaved": True}, "rope_interleaved=True"),
    ({"hidden_act": "mish"}, "'mish' is not supported"),
    ({"architectures": ["LlamaForSequenceClassification"]}, "ForCausalLM"),
    ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "'dynamic'"),
    ({"rope_parameters": {"rope_type": "linear"}}, r"lacks \['factor'\]"),
    (
      {"rope_parameters": {"rope_type": "default", "mrope_section": [1]}},
      r"\['mrope_section'\] is not supported",
    ),
    (
      {"rope_parameters": {"rope_type": "yarn", "partial_rotary_factor": 0.5}},
      "partial_rotary_factor is not supported",
    ),
    ({"layer_types": ["sliding_attention"] * 3}, "layer_types"),
    ({"layer_types": ["full_attention"] * 2}, "layer_types"),
  ],
)
def test_what_would_change_the_maths_is_refused_by_name(changes, message):
  with pytest.raises(ValueError, match=message):
    _parse(**changes)


@pytest.mark.parametrize("key", ["vocab_size", "num_hidden_layers"])
def test_missing_keys_are_named(key):
  hf = {k: v for k, v in LLAMA.items() if k != key}
  with pytest.raises(hf_config.UnsupportedConfigError, match=key):
    hf_config.from_hf(hf)


def test_harmless_keys_are_ignored():
  harmless = {
    "_flash_attn_2_enabled": True,
    "activation": "swiglu",
    "attention_dropout": 0.1,
    "attn_implementation": "sdpa",
    "auto_map": {"AutoModel": "x.Y"},
    "gradient_checkpointing": False,
    "is_llama_config": True,
    "max_sequence_length": 2048,
    "neftune_noise_alpha": 5,
    "pretraining_tp": 2,
    "rope_interleaved": False,
    "torch_dtype": "bfloat16",
    "some_unset_key": None,
    "use_labels": True,
    "use_mrope": False,
  }
  assert _parse(**harmless) == _parse()


def test_yarn_without_a_factor_stretches_to_the_maximum():
  rope = {"rope_type": "yarn", "original_max_position_embeddings": 16}
  config = _parse(rope_parameters=rope, max_position_embeddings=64)
  assert config.rope.factor == 4.0
  assert config.rope.attention_factor == pytest.approx(1.1386, abs=1e-4)


def test_export_refuses_what_the_model_type_cannot_express():
  odd = preset("tiny", qk_norm="head", family="llama")
  with pytest.raises(
    hf_config.UnsupportedConfigError, match="llama model cannot have qk_norm"
  ):
    hf_config.to_hf(odd)
  hf_config.to_hf(dataclasses.replace(odd, family="qwen3"))


GEMMA2 = {
  "model_type": "gemma2",
  "vocab_size": 256000,
  "hidden_size": 2304,
  "intermediate_size": 9216,
  "num_hidden_layers": 4,
  "num_attention_heads": 8,
}


def test_gemma2_files_of_transformers_4():
  """Keys as in the published gemma-2-2b."""
  config = hf_config.from_hf(
    GEMMA2
    | {
      "attn_logit_softcapping": 50.0,
      "cache_implementation": "hybrid",
      "final_logit_softcapping": 30.0,
      "head_dim": 256,
      "hidden_act": "gelu_pytorch_tanh",
      "hidden_activation": "gelu_pytorch_tanh",
      "max_position_embeddings": 8192,
      "num_key_value_heads": 4,
      "query_pre_attn_scalar": 224,
      "sliding_window": 4096,
      "sliding_window_size": 4096,
    }
  )
  assert config.windows == (4096, 0, 4096, 0)
  assert (config.attention_softcap, config.logits_softcap) == (50, 30)
  assert config.query_pre_attn_scalar == 224
  assert config.tie_embeddings


def test_gemma3_has_another_base_in_sliding_layers():
  config = hf_config.from_hf(
    GEMMA2
    | {
      "model_type": "gemma3_text",
      "num_hidden_layers": 6,
      "rope_local_base_freq": 10000,
      "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
      "rope_theta": 1000000,
      "sliding_window": 512,
      "sliding_window_pattern": 6,
    }
  )
  assert config.ropes == (Rope(1e6, "linear", factor=8.0), Rope(1e4))
  assert config.rope_index == (1, 1, 1, 1, 1, 0)
  assert config.windows == (512,) * 5 + (0,)


def test_olmo3_scales_the_layers_that_see_everything():
  yarn = {
    "attention_factor": 1.2079441541679836,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "factor": 8.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "yarn",
  }
  config = _parse(
    model_type="olmo3",
    num_hidden_layers=4,
    max_position_embeddings=65536,
    rope_scaling=yarn,
    rope_theta=500000,
    sliding_window=4096,
  )
  assert [rope.kind for rope in config.ropes] == ["yarn", "default"]
  assert config.rope_index == (1, 1, 1, 0)
  assert config.max_length == 65536


def test_smollm3_has_layers_without_rotation():
  config = _parse(
    model_type="smollm3",
    num_hidden_layers=8,
    num_key_value_heads=2,
    max_window_layers=28,
    use_sliding_window=False,
    sliding_window=None,
  )
  assert config.ropes[1].kind == "none"
  assert config.rope_index == (0, 0, 0, 1) * 2


def test_longrope_is_long_where_the_context_is():
  """Keys as in the published Phi-4-mini."""
  config = _parse(
    model_type="phi3",
    hidden_size=96,
    max_position_embeddings=131072,
    original_max_position_embeddings=4096,
    partial_rotary_factor=0.75,
    rope_scaling={
      "long_factor": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
      "short_factor": [1.0] * 6,
      "type": "longrope",
    },
    sliding_window=262144,
    full_attn_mod=1,
    interpolate_factor=1,
    lm_head_bias=False,
  )
  assert (config.max_length, config.rope.long) == (4096, False)
  assert config.rope.rotated == 0.75
  assert not any(config.windows)
  longer = config.with_max_length(16384)
  assert longer.rope.long
  assert longer.rope.attention_factor == pytest.approx(1.1902, abs=1e-4)
  assert hf_config.to_hf(longer)["max_position_embeddings"] == 131072


def test_gemma3_with_vision_is_its_text_model():
  """A text_config leaves out what is as in the 4B model."""
  text = {
    "hidden_size": 2560,
    "intermediate_size": 10240,
    "model_type": "gemma3_text",
    "num_hidden_layers": 34,
    "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    "sliding_window": 1024,
  }
  config = hf_config.from_hf(
    {
      "architectures": ["Gemma3ForConditionalGeneration"],
      "model_type": "gemma3",
      "text_config": text,
    }
  )
  theirs = AutoConfig.for_model(**text)
  assert config.family == "gemma3_text"
  assert (config.num_heads, config.num_kv_heads, config.head_dim) == (8, 4, 256)
  assert config.vocab_size == theirs.vocab_size == 262208
  kinds = [kind == "sliding_attention" for kind in theirs.layer_types]
  assert list(config.slides) == kinds
