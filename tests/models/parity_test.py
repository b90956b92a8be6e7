"""Logits equal those of `transformers`, from committed files and live."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.io import checkpoints, hf_config
from tests.models import peers

TOLERANCE = 2e-4


_logits = jax.jit(transformer.logits, static_argnums=1)


def _our_logits(folder, ids):
  config, params = checkpoints.load(folder)
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
  config, params = checkpoints.load(peers.FOLDER / name)
  checkpoints.save(tmp_path, config, params, shard_bytes=15_000)
  again_config, again = checkpoints.load(tmp_path)
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
  config, params = checkpoints.load(peers.FOLDER / name)
  checkpoints.save(tmp_path, config, params, shard_bytes=15_000)
  model, report = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path, attn_implementation="eager", output_loading_info=True
  )
  assert not any(report[k] for k in ("missing_keys", "unexpected_keys"))
  theirs = peers.logits(model.eval(), peers.tokens(1))
  _assert_close(_our_logits(tmp_path, peers.tokens(1)), theirs)


def _random_rope(pick):
  """Rotary parameters of any supported kind."""
  yarn = {
    "factor": pick(2.5, 8.0),
    "original_max_position_embeddings": pick(8, 10, 16),
    "beta_fast": pick(32.0, 4.0),
    "beta_slow": pick(1.0, 0.5),
    "truncate": pick(True, False),
  }
  settings = {
    "default": {},
    "linear": {"factor": 3.0},
    "llama3": {
      "factor": 4.0,
      "low_freq_factor": 0.5,
      "high_freq_factor": 2.5,
      "original_max_position_embeddings": 12,
    },
    "yarn": yarn
    | pick({}, {"attention_factor": 1.3}, {"mscale": 0.7, "mscale_all_dim": 2}),
  }
  kind = pick(*settings)
  theta = pick(500.0, 1e4, 5e5)
  return {"rope_type": kind, "rope_theta": theta} | settings[kind]


def _random_case(seed):
  """A model type and settings drawn from all that are supported."""
  rng = np.random.default_rng(seed)

  def pick(*options):
    return options[rng.integers(len(options))]

  kind = pick("llama", "mistral", "qwen2", "qwen3")
  kv_heads = int(rng.integers(1, 4))
  heads = kv_heads * int(rng.integers(1, 4))
  head_dim = 2 * int(rng.integers(2, 8))
  layers = int(rng.integers(1, 5))
  settings = {
    "vocab_size": pick(peers.VOCAB, 64, 97),
    "num_attention_heads": heads,
    "num_key_value_heads": kv_heads,
    "hidden_size": heads * 2 * int(rng.integers(2, 6)),
    "intermediate_size": pick(20, 37),
    "num_hidden_layers": layers,
    "rms_norm_eps": float(pick(1e-6, 1e-5, 1e-3)),
    "tie_word_embeddings": pick(True, False),
    "hidden_act": pick("silu", "gelu", "relu", "gelu_new", "quick_gelu"),
    "rope_parameters": _random_rope(pick),
    "attention_dropout": 0.1,
  }
  if pick(True, False):
    settings["head_dim"] = head_dim
  if kind in ("llama", "qwen3"):
    settings["attention_bias"] = pick(True, False)
  if kind == "llama":
    settings["mlp_bias"] = pick(True, False)
  if kind in ("qwen2", "qwen3"):
    settings["use_sliding_window"] = pick(True, False)
    settings["max_window_layers"] = int(rng.integers(0, 4))
    if settings["use_sliding_window"] and pick(True, False):
      kinds = ("sliding_attention", "full_attention")
      settings["layer_types"] = [pick(*kinds) for _ in range(layers)]
  if kind != "llama":
    settings["sliding_window"] = int(rng.integers(1, 30))
  if kind == "mistral" and pick(True, False):
    settings["sliding_window"] = None
  return kind, settings


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(40))
def test_random_settings_live(seed, tmp_path):
  """Import, export and import again: one model, theirs and ours."""
  transformers = pytest.importorskip("transformers")
  kind, settings = _random_case(seed)
  model = peers.make(kind, settings, seed)
  theirs, ours = tmp_path / "theirs", tmp_path / "ours"
  model.save_pretrained(theirs)
  ids = peers.tokens(seed)
  want = peers.logits(model, ids)
  _assert_close(_our_logits(theirs, ids), want)

  config, params = checkpoints.load(theirs)
  checkpoints.save(ours, config, params)
  assert checkpoints.load(ours)[0] == config
  jax.tree.map(np.testing.assert_array_equal, checkpoints.load(ours)[1], params)
  again = transformers.AutoModelForCausalLM.from_pretrained(
    ours, attn_implementation="eager"
  )
  np.testing.assert_allclose(
    peers.logits(again.eval(), ids), want, rtol=0, atol=1e-5
  )
  described = json.loads((theirs / "config.json").read_text())
  assert hf_config.from_hf(peers.transformers_4_form(described)) == config
