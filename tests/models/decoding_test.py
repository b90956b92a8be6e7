"""The paged forward against the training forward, for unlike models."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.models import (
  config as config_lib,
  decoding,
  lora,
  transformer,
)
from jaxrl_entropy.models.rope import Rope
from jaxrl_entropy.ops.attention.paged import View

TINY = config_lib.preset(
  "tiny",
  hidden_size=24,
  intermediate_size=40,
  num_layers=2,
  num_heads=6,
  num_kv_heads=2,
  head_dim=8,
  vocab_size=40,
)
CONFIGS = {
  "tied": TINY,
  "untied, biases": dataclasses.replace(
    TINY, tie_embeddings=False, qkv_bias=True, mlp_bias=True
  ),
  "query and key norms": dataclasses.replace(TINY, qk_norm="head"),
  "sliding window": dataclasses.replace(TINY, sliding_window=4),
  "one sliding layer": dataclasses.replace(
    TINY, sliding_window=4, sliding_layers=(False, True)
  ),
  "soft caps, output norms and a query scale": dataclasses.replace(
    TINY,
    attention_softcap=1.5,
    logits_softcap=2.0,
    norm_offset=True,
    output_norms=True,
    query_pre_attn_scalar=3,
    scaled_embedding=True,
  ),
  "output norms alone, wide query norms": dataclasses.replace(
    TINY, input_norms=False, output_norms=True, qk_norm="width"
  ),
  "experts": dataclasses.replace(
    TINY, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=12
  ),
  "two ropes, one partial": dataclasses.replace(
    TINY,
    rope=Rope(100.0, rotated=0.5),
    second_rope=Rope(kind="none", rotated=0.5),
    second_rope_layers=(False, True),
  ),
}
ROWS, LENGTH, SIZE = 2, 10, 4


def make_params(config):
  params = transformer.init(config, jax.random.key(0))
  noise = iter(jax.random.split(jax.random.key(1), 100))
  return jax.tree.map(
    lambda x: x + 0.1 * jax.random.normal(next(noise), x.shape), params
  )


def through_pages(weights, config, tokens, chunk, transposed_kernels=False):
  """Logits of every token, `chunk` of them a call."""
  cache = decoding.init_cache(config, pages=7, page_size=SIZE)
  table = jnp.array([[1, 2, 3], [6, 5, 4]])
  step = jax.jit(decoding.forward, static_argnums=1)
  pieces = []
  for start in range(0, LENGTH, chunk):
    piece = tokens[:, start : start + chunk]
    view = View(
      table,
      jnp.full(ROWS, start),
      jnp.full(ROWS, piece.shape[1]),
      jnp.int32(3),
    )
    hidden, cache = step(weights, config, cache, piece, view)
    flat = hidden.reshape(-1, config.hidden_size)
    logits = decoding.logits(weights, config, flat, transposed_kernels)
    pieces.append(logits.reshape(*piece.shape, -1))
  return jnp.concatenate(pieces, axis=1)


@pytest.mark.parametrize("transposed_kernels", [False, True])
@pytest.mark.parametrize("chunk", [1, 5])
@pytest.mark.parametrize("name", CONFIGS)
def test_logits_equal_the_training_forward(name, chunk, transposed_kernels):
  config = CONFIGS[name]
  params = make_params(config)
  tokens = jax.random.randint(jax.random.key(2), (ROWS, LENGTH), 0, 40)
  weights = decoding.weights(
    params, config, transposed_kernels=transposed_kernels
  )
  np.testing.assert_allclose(
    through_pages(weights, config, tokens, chunk, transposed_kernels),
    transformer.logits(params, config, tokens),
    atol=2e-5,
  )


def test_adapters_are_merged():
  params = lora.add(make_params(TINY), 2, ("q_proj",), jax.random.key(3))
  params = jax.tree.map(lambda x: x + 0.05, params)
  weights = decoding.weights(params, TINY)
  assert set(weights["layers"][0]["attention"]["q_proj"]) == {"kernel"}
  tokens = jnp.ones((ROWS, LENGTH), jnp.int32)
  np.testing.assert_allclose(
    through_pages(weights, TINY, tokens, 5),
    transformer.logits(params, TINY, tokens),
    atol=5e-5,
  )


def test_transposed_int8_kernels_compute_the_same():
  params = make_params(TINY)
  tokens = jnp.ones((ROWS, LENGTH), jnp.int32)
  expected, found = (
    through_pages(
      decoding.weights(params, TINY, "int8", transposed_kernels=first),
      TINY,
      tokens,
      5,
      first,
    )
    for first in (False, True)
  )
  np.testing.assert_allclose(found, expected, atol=2e-5)


def test_int8_experts_are_close():
  config = CONFIGS["experts"]
  params = make_params(config)
  tokens = jnp.ones((ROWS, LENGTH), jnp.int32)
  weights = decoding.weights(params, config, "int8")
  kernels = weights["layers"][0]["mlp"]["experts"]["up_proj"]
  assert kernels["kernel"].dtype == jnp.int8
  found = through_pages(weights, config, tokens, 5)
  expected = transformer.logits(params, config, tokens)
  assert 0 < jnp.abs(found - expected).max() < 0.2


def test_int8_kernels_round_to_half_a_step_of_their_column():
  kernel = jax.random.normal(jax.random.key(0), (3, 16, 8))
  kernel = kernel.at[:, :, 2].set(0.0)
  stored = decoding.quantize({"q_proj": {"kernel": kernel}})["q_proj"]
  assert stored["kernel"].dtype == jnp.int8
  back = stored["kernel"].astype(jnp.float32) * stored["scale"][:, None]
  limit = jnp.broadcast_to(stored["scale"][:, None] * 0.5001, back.shape)
  assert (jnp.abs(back - kernel) <= limit).all()


@pytest.mark.parametrize("transposed_kernels", [False, True])
@pytest.mark.parametrize("name", ["tied", "untied, biases"])
def test_a_padded_vocabulary_changes_no_logits(name, transposed_kernels):
  config = CONFIGS[name]
  params = make_params(config)
  hidden = jax.random.normal(jax.random.key(2), (3, config.hidden_size))
  expected = decoding.logits(decoding.weights(params, config), config, hidden)
  padded = decoding.weights(params, config, "", 64, transposed_kernels)
  found = decoding.logits(padded, config, hidden, transposed_kernels)
  assert found.shape == (3, 64)
  np.testing.assert_allclose(found[:, : config.vocab_size], expected, atol=1e-5)
  assert (found[:, config.vocab_size :] == -jnp.inf).all()
