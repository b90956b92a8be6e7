"""The sampler's experts are taken again in training, whatever the layout."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import objectives
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.training.forward import Forward
from jaxrl_entropy.training.layout import score_of
from jaxrl_entropy.training.rollout import concatenate
from jaxrl_entropy.training.update import loss_and_gradient
from tests.training.layout_test import PACKED, PLAIN, SHARED, two_prompts

MODEL = preset(
  "tiny-moe",
  hidden_size=16,
  intermediate_size=8,
  num_layers=2,
  num_heads=2,
  num_kv_heads=1,
  head_dim=8,
  vocab_size=32,
)
FORWARD = Forward(MODEL, chunk=16, replay=True)
SCORE = score_of(dataclasses.replace(FORWARD, agreement=True))


@pytest.fixture(scope="module")
def params():
  params = transformer.init(MODEL, jax.random.key(0))
  return jax.tree.map(lambda x: x * 3, params)


def routed(choose):
  """A rollout whose sequences have `choose(tokens)` for routes."""
  rollout = two_prompts()
  pairs = zip(rollout.prompts, rollout.responses, strict=True)
  routes = [choose(np.concatenate(pair)[:-1]) for pair in pairs]
  return dataclasses.replace(rollout, routes=routes)


def arbitrary(tokens):
  """Distinct experts of each token in each layer, by its prefix's length."""
  rng = np.random.default_rng(0)
  shape = (20, MODEL.num_layers, MODEL.num_experts)
  order = rng.permuted(
    np.broadcast_to(np.arange(shape[-1]), shape).astype(np.int8), axis=-1
  )
  return order[: len(tokens), :, : MODEL.num_experts_per_tok]


def unknown(tokens):
  return np.full_like(arbitrary(tokens), -1)


def own(params):
  """Returns a function from tokens to the experts that the routers choose."""

  @jax.jit
  def choose(tokens):
    position = jnp.arange(tokens.shape[1])[None]
    _, chosen = transformer.run_layers(
      params,
      MODEL,
      tokens,
      position,
      jnp.ones_like(tokens),
      of_router=lambda scores, _: jax.lax.top_k(
        scores, MODEL.num_experts_per_tok
      )[1],
    )
    return jnp.moveaxis(chosen[:, 0], 0, 1).astype(jnp.int8)

  def routes(tokens):
    padded = jnp.zeros((1, 12), jnp.int32).at[0, : len(tokens)].set(tokens)
    return np.asarray(choose(padded))[: len(tokens)]

  return routes


def test_the_routers_own_experts_change_nothing(params):
  plain = PLAIN.score(score_of(FORWARD), params, two_prompts())
  mask = two_prompts().mask
  for choose, agreement in ((own(params), 1.0), (unknown, 0.0)):
    stats = PLAIN.score(SCORE, params, routed(choose))
    np.testing.assert_array_equal(stats["router_agreement"][mask], agreement)
    np.testing.assert_allclose(stats["logp"], plain["logp"], atol=1e-5)


def test_other_experts_count_in_every_layout_alike(params):
  rollout = routed(arbitrary)
  plain = PLAIN.score(SCORE, params, rollout)
  without = PLAIN.score(SCORE, params, routed(unknown))
  assert np.abs(plain["logp"] - without["logp"])[rollout.mask].max() > 0.1
  assert 0 < plain["router_agreement"][rollout.mask].mean() < 1
  for layout in (PACKED, SHARED):
    stats = layout.score(SCORE, params, rollout)
    for name, values in plain.items():
      np.testing.assert_allclose(stats[name], values, atol=1e-5)


def test_the_gradient_is_that_of_the_replayed_experts(params):
  rollout = routed(arbitrary)
  results = []
  for layout in (PLAIN, dataclasses.replace(PACKED, micro_batches=1)):
    rows = layout.minibatch(rollout, ["advantages", "old_logp"], responses=4)
    results.append(
      jax.jit(
        lambda params, rows: loss_and_gradient(
          params,
          rows,
          objectives.resolve("grpo"),
          jax.random.key(1),
          FORWARD,
          num_responses=4,
          max_length=5,
        )
      )(params, rows)
    )
  (loss, _, gradient), (packed_loss, _, packed) = results
  np.testing.assert_allclose(packed_loss, loss, rtol=1e-5)
  norm = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(gradient))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * norm),
    packed,
    gradient,
  )
  # Only experts that some token was given to have a gradient.
  kernel = gradient["layers"]["mlp"]["experts"]["up_proj"]["kernel"]
  touched = np.abs(np.asarray(kernel)).max((2, 3)) > 0
  for layer in range(MODEL.num_layers):
    used = np.concatenate(rollout.routes)[:, layer]
    # The last token of a response chooses for itself, and no loss reads it.
    assert set(np.flatnonzero(touched[layer])) <= set(used.ravel().tolist())


def test_routes_stay_with_their_responses():
  rollout = routed(arbitrary)
  twice = concatenate([rollout, rollout])
  picked = twice.select(np.array([5, 2]))
  np.testing.assert_array_equal(picked.routes[0], rollout.routes[1])
  np.testing.assert_array_equal(picked.routes[1], rollout.routes[2])
