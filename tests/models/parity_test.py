"""Logits equal those of `transformers`, from committed files and live."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.io import checkpoints, export, hf_config
from tests.models import peers

TOLERANCE = 2e-4
KINDS = (
  *("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "olmo2"),
  *("olmo3", "smollm3", "phi3", "qwen3_moe", "olmoe", "mixtral"),
)
PAD = {"pad_token_id": 0}  # Some types default to one beyond this vocabulary.
NO_HEAD_DIM = ("olmo2", "olmo3", "olmoe", "phi3")
LAYER_KINDS = ("sliding_attention", "full_attention")


_logits = jax.jit(transformer.logits, static_argnums=1)


def _our_logits(folder, ids):
  config, params = checkpoints.load(folder)
  # LongRoPE has other frequencies for rows beyond its original context.
  config = config.with_max_length(max(config.max_length, peers.LENGTH))
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
  export.save(tmp_path, config, params, shard_bytes=15_000)
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
  export.save(tmp_path, config, params, token_ids=PAD, shard_bytes=15_000)
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


def _random_phi(pick, settings):
  """Phi 3's part of the head that is rotated, in multiples of what splits."""
  width = settings["num_attention_heads"] * 8
  factors = [1.0, 1.5, 2.5, 4.0]
  half = pick(2, 4)
  rope = {
    "rope_type": "longrope",
    "short_factor": factors[:half],
    "long_factor": [2 * factor for factor in factors[:half]],
  }
  chosen = pick({"rope_type": "default"}, rope)
  return {
    "hidden_size": width,
    "rope_parameters": chosen
    | {"rope_theta": pick(500.0, 1e4), "partial_rotary_factor": half / 4},
    "original_max_position_embeddings": pick(16, 32),
    "max_position_embeddings": 64,
  }


def _random_case(seed):
  """A model type and settings drawn from all that are supported."""
  rng = np.random.default_rng(seed)

  def pick(*options):
    return options[rng.integers(len(options))]

  kind = pick(*KINDS)
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
    "pad_token_id": 0,
  }
  if kind == "phi3":
    settings |= _random_phi(pick, settings)
  gemma = kind.startswith("gemma")  # Their default, 256, is ill-conditioned.
  # Transformers reads no YaRN of a Mixtral without a head_dim.
  if (
    gemma
    or kind == "mixtral"
    or (pick(True, False) and kind not in NO_HEAD_DIM)
  ):
    settings["head_dim"] = head_dim
  if kind not in ("mistral", "mixtral", "qwen2", "phi3"):
    settings["attention_bias"] = pick(True, False)
  if kind in ("qwen3_moe", "olmoe", "mixtral"):
    experts = int(rng.integers(2, 6))
    settings |= {
      "intermediate_size": 12,
      "num_local_experts": experts,
      "num_experts_per_tok": int(rng.integers(1, experts + 1)),
    }
    # The grouped product of torch needs strides of 16 bytes.
    settings["hidden_size"] = 8 * settings["num_attention_heads"]
  if kind == "qwen3_moe":
    settings["moe_intermediate_size"] = pick(4, 8)
  if kind in ("qwen3_moe", "olmoe"):
    settings["norm_topk_prob"] = pick(True, False)
  if kind in ("llama", "smollm3"):
    settings["mlp_bias"] = pick(True, False)
  if gemma:
    settings |= {
      "hidden_activation": settings.pop("hidden_act"),
      "query_pre_attn_scalar": int(rng.integers(4, 20)),
      "attn_logit_softcapping": pick(None, 1.5) if kind == "gemma2" else None,
      "final_logit_softcapping": pick(None, 2.5),
    }
  if kind == "smollm3":
    settings["no_rope_layers"] = [pick(0, 1) for _ in range(layers)]
  if kind in ("gemma3_text", "olmo3"):
    # Transformers reads one theta for both kinds of layers of OLMo 3.
    whole = _random_rope(pick)
    local = pick(50.0, 2e3)
    if kind == "olmo3":
      whole["rope_theta"] = local = 5e5
    settings["rope_parameters"] = {
      "full_attention": whole,
      "sliding_attention": {"rope_type": "default", "rope_theta": local},
    }
  if kind in ("gemma2", "gemma3_text", "olmo3") and pick(True, False):
    settings["layer_types"] = [pick(*LAYER_KINDS) for _ in range(layers)]
  if kind == "qwen3_moe":
    settings["use_sliding_window"] = pick(True, False)
  if kind in ("qwen2", "qwen3"):
    settings["use_sliding_window"] = pick(True, False)
    settings["max_window_layers"] = int(rng.integers(0, 4))
    if settings["use_sliding_window"] and pick(True, False):
      settings["layer_types"] = [pick(*LAYER_KINDS) for _ in range(layers)]
  if kind not in ("llama", "olmo2", "olmoe", "smollm3"):
    settings["sliding_window"] = int(rng.integers(1, 30))
  if kind in ("mistral", "mixtral") and pick(True, False):
    settings["sliding_window"] = None
  return kind, settings


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(100))
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
  export.save(ours, config, params, token_ids=PAD)
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
