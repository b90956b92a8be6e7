import dataclasses
import json

import pytest

from jaxrl_entropy.models import hf_config
from jaxrl_entropy.models.config import preset
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
    ({"model_type": "gemma3"}, "model_type 'gemma3' is not supported"),
    ({"attention_multiplier": 0.5}, "attention_multiplier=0.5"),
    ({"logit_scale": 2.0}, "logit_scale=2.0"),
    ({"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5"),
    ({"quantization_config": {"bits": 4}}, "quantization_config"),
    ({"auto_map": {"AutoModel": "x.Y"}}, "auto_map"),
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
    "attention_dropout": 0.1,
    "is_llama_config": True,
    "pretraining_tp": 2,
    "rope_interleaved": False,
    "torch_dtype": "bfloat16",
    "some_unset_key": None,
  }
  assert _parse(**harmless) == _parse()


def test_yarn_without_a_factor_stretches_to_the_maximum():
  rope = {"rope_type": "yarn", "original_max_position_embeddings": 16}
  config = _parse(rope_parameters=rope, max_position_embeddings=64)
  assert config.rope.factor == 4.0
  assert config.rope.attention_factor == pytest.approx(1.1386, abs=1e-4)


def test_export_refuses_what_the_model_type_cannot_express():
  odd = preset("tiny", qk_norm=True, family="llama")
  with pytest.raises(
    hf_config.UnsupportedConfigError, match="llama model cannot have qk_norm"
  ):
    hf_config.to_hf(odd)
  hf_config.to_hf(dataclasses.replace(odd, family="qwen3"))
