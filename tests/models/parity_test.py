"""Logits equal those of `transformers`, from committed files and live."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.models import convert, transformer
from tests.models import peers

TOLERANCE = 2e-4


_logits = jax.jit(transformer.logits, static_argnums=1)


def _our_logits(folder, ids):
  config, params = convert.load(folder)
  return _logits(params, config, jnp.asarray(ids))


def _assert_close(ours, theirs):
  assert np.abs(theirs).max() > 1.0
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", peers.CASES)
def test_committed_logits(name):
  folder = peers.FOLDER / name
  theirs = np.load(folder / "logits.npy")
  _assert_close(_our_logits(folder, peers.tokens()), theirs)


@pytest.mark.parametrize("name", peers.CASES)
def test_export_and_import_are_bit_identical(name, tmp_path):
  config, params = convert.load(peers.FOLDER / name)
  convert.save(tmp_path, config, params, shard_bytes=15_000)
  again_config, again = convert.load(tmp_path)
  assert again_config == config
  jax.tree.map(np.testing.assert_array_equal, again, params)
  weights = json.loads((tmp_path / "model.safetensors.index.json").read_text())[
    "weight_map"
  ]
  theirs = peers.FOLDER / name / "model.safetensors.index.json"
  assert set(weights) == set(json.loads(theirs.read_text())["weight_map"])


@pytest.mark.parity
@pytest.mark.parametrize("name", peers.CASES)
def test_transformers_reads_our_export(name, tmp_path):
  transformers = pytest.importorskip("transformers")
  config, params = convert.load(peers.FOLDER / name)
  convert.save(tmp_path, config, params, shard_bytes=15_000)
  model, report = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path, attn_implementation="eager", output_loading_info=True
  )
  assert not any(report[k] for k in ("missing_keys", "unexpected_keys"))
  theirs = peers.logits(model.eval(), peers.tokens(1))
  _assert_close(_our_logits(tmp_path, peers.tokens(1)), theirs)


_ROPES = (
  {"rope_type": "default", "rope_theta": 5e5},
  {"rope_type": "linear", "rope_theta": 1e4, "factor": 3.0},
  {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 0.5,
    "high_freq_factor": 2.5,
    "original_max_position_embeddings": 12,
  },
  {
    "rope_type": "yarn",
    "rope_theta": 1e3,
    "factor": 2.5,
    "original_max_position_embeddings": 10,
    "attention_factor": 1.3,
  },
)


def _random_case(seed):
  """A model type and settings drawn from all that are supported."""
  rng = np.random.default_rng(seed)

  def pick(*options):
    return options[rng.integers(len(options))]

  kind = pick("llama", "mistral", "qwen2", "qwen3")
  kv_heads = int(rng.integers(1, 4))
  heads = kv_heads * int(rng.integers(1, 4))
  head_dim = 2 * int(rng.integers(2, 8))
  settings = {
    "num_attention_heads": heads,
    "num_key_value_heads": kv_heads,
    "hidden_size": heads * 2 * int(rng.integers(2, 6)),
    "num_hidden_layers": int(rng.integers(1, 5)),
    "rms_norm_eps": float(pick(1e-6, 1e-5, 1e-3)),
    "tie_word_embeddings": pick(True, False),
    "hidden_act": pick("silu", "gelu", "relu", "gelu_new", "quick_gelu"),
    "rope_parameters": dict(pick(*_ROPES)),
    "attention_dropout": 0.1,
  }
  if kind != "qwen2":
    settings["head_dim"] = head_dim
  if kind in ("llama", "qwen3"):
    settings["attention_bias"] = pick(True, False)
  if kind == "llama":
    settings["mlp_bias"] = pick(True, False)
  if kind in ("qwen2", "qwen3"):
    settings["use_sliding_window"] = pick(True, False)
    settings["max_window_layers"] = int(rng.integers(0, 4))
  if kind != "llama":
    settings["sliding_window"] = int(rng.integers(1, 30))
  return kind, settings


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(40))
def test_live_logits_of_random_settings(seed, tmp_path):
  pytest.importorskip("torch")
  kind, settings = _random_case(seed)
  model = peers.make(kind, settings, seed)
  model.save_pretrained(tmp_path)
  ids = peers.tokens(seed)
  _assert_close(_our_logits(tmp_path, ids), peers.logits(model, ids))
