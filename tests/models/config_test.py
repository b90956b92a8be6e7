import jax
import pytest

from jaxrl_entropy.models import config, layers, transformer
from jaxrl_entropy.models.io import hf_config

# As published (total parameters, tied weights counted once).
SIZES = {
  "smollm2-135m": 134_515_008,
  "qwen2.5-0.5b": 494_032_768,
  "qwen2.5-1.5b": 1_543_714_304,
  "qwen2.5-3b": 3_085_938_688,
  "qwen2.5-7b": 7_615_616_512,
  "qwen2.5-14b": 14_770_033_664,
  "qwen2.5-32b": 32_763_876_352,
  "qwen3-0.6b": 596_049_920,
  "qwen3-1.7b": 1_720_574_976,
  "qwen3-4b": 4_022_468_096,
  "qwen3-8b": 8_190_735_360,
  "qwen3-14b": 14_768_307_200,
  "qwen3-30b-a3b": 30_532_122_624,
  "llama3.2-1b": 1_235_814_400,
  "llama3.2-3b": 3_212_749_824,
  "llama3.1-8b": 8_030_261_248,
  "mistral-7b-v0.3": 7_248_023_552,
  "mistral-nemo-12b": 12_247_782_400,
  "mistral-small-24b": 23_572_403_200,
  "llama3.1-70b": 70_553_706_496,
  "gemma3-27b": 27_009_346_304,
  "deepseek-math-7b": 6_910_365_696,
}


@pytest.mark.parametrize("name", SIZES)
def test_presets_have_the_published_sizes(name):
  shapes = jax.eval_shape(
    lambda key: transformer.init(config.preset(name), key), jax.random.key(0)
  )
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == SIZES[name]


def test_every_published_preset_is_checked():
  assert set(config.PRESETS) - {
    *("pico", "nano", "tiny", "mini", "tiny-moe")
  } == set(SIZES)


@pytest.mark.parametrize("name", config.PRESETS)
def test_presets_survive_hugging_face_form(name):
  original = config.preset(name)
  assert hf_config.from_hf(hf_config.to_hf(original)) == original


def test_overrides():
  assert config.preset("tiny", vocab_size=9).vocab_size == 9


def test_unknown_preset_names_the_known():
  with pytest.raises(ValueError, match=r"unknown preset 'gpt2'; one of .*tiny"):
    config.preset("gpt2")


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"num_kv_heads": 3}, "num_kv_heads=3 must divide num_heads=4"),
    (
      {"num_experts": 4, "num_experts_per_tok": 5},
      "num_experts_per_tok=5 must be from 1 to num_experts=4",
    ),
    ({"qk_norm": "both"}, "qk_norm 'both' is unknown; one of none, head"),
    ({"head_dim": 7}, "head_dim=7 must be even"),
    ({"activation": "mish"}, "activation 'mish' is not supported"),
    ({"sliding_layers": (True,)}, "1 entries for num_layers=3"),
  ],
)
def test_impossible_settings(change, message):
  with pytest.raises(ValueError, match=message):
    config.preset("tiny", **change)


def test_every_activation_is_computed():
  assert set(config.ACTIVATIONS) == set(layers.ACTIVATIONS)


def test_windows():
  tiny = config.preset("tiny", sliding_window=8)
  assert tiny.windows == (8, 8, 8)
  mixed = config.preset(
    "tiny", sliding_window=8, sliding_layers=(False, True, False)
  )
  assert mixed.windows == (0, 8, 0)
  # A window of the whole context is none.
  whole = config.preset("tiny", sliding_window=512)
  assert whole.windows == (0, 0, 0)
