import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.models import rope
from jaxrl_entropy.models.rope import Rope

LLAMA3 = Rope(5e5, "llama3", factor=8.0, original_length=8192)
YARN = Rope(1e4, "yarn", factor=4.0, original_length=2048)


def test_scores_depend_on_distance_alone():
  rng = np.random.default_rng(0)
  q, k = rng.normal(size=(2, 1, 1, 16)).astype(np.float32)

  def score(query_place, key_place):
    places = jnp.array([query_place, key_place])
    turned = rope.rotate(
      jnp.concatenate([q, k]), rope.rotations(Rope(), 16, places)
    )
    return jnp.vdot(turned[0], turned[1])

  np.testing.assert_allclose(score(7, 3), score(104, 100), rtol=1e-4)
  assert abs(score(7, 3) - score(7, 4)) > 1e-3


def test_rotation_keeps_lengths_and_position_0_turns_nothing():
  x = np.random.default_rng(0).normal(size=(5, 2, 8)).astype(np.float32)
  turned = rope.rotate(x, rope.rotations(Rope(), 8, jnp.arange(5)))
  np.testing.assert_allclose(
    np.linalg.norm(turned, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-5
  )
  np.testing.assert_array_equal(turned[0], x[0])


def test_linear_divides_every_frequency():
  np.testing.assert_allclose(
    rope.inverse_frequencies(Rope(1e4, "linear", factor=4.0), 64),
    rope.inverse_frequencies(Rope(1e4), 64) / 4,
  )


@pytest.mark.parametrize("scaled", [LLAMA3, YARN])
def test_fast_dimensions_are_kept_and_slow_ones_divided(scaled):
  plain = rope.inverse_frequencies(Rope(scaled.theta), 128)
  ratio = plain / rope.inverse_frequencies(scaled, 128)
  np.testing.assert_allclose(ratio[0], 1.0)
  np.testing.assert_allclose(ratio[-1], scaled.factor)
  assert np.all(np.diff(ratio) >= -1e-12)
  assert np.any((ratio > 1.0 + 1e-6) & (ratio < scaled.factor - 1e-6))


@pytest.mark.parametrize(
  ("scaled", "head_dim", "low", "high"),
  [
    (Rope(1e4, "yarn", factor=4.0, original_length=4), 64, 0, -1),
    (
      Rope(200.0, "yarn", factor=4.0, original_length=16, beta_slow=4.0),
      32,
      0,
      -1,
    ),
  ],
)
def test_yarn_of_a_short_context_is_that_of_transformers(
  scaled, head_dim, low, high
):
  plain = scaled.theta ** -(np.arange(0, head_dim, 2) / head_dim)
  ramp = np.clip((np.arange(head_dim // 2) - low) / (high - low), 0, 1)
  np.testing.assert_allclose(
    rope.inverse_frequencies(scaled, head_dim),
    plain / scaled.factor * ramp + plain * (1 - ramp),
  )


def test_yarn_scales_what_is_rotated():
  scaled = Rope(1e4, "yarn", original_length=64, attention_factor=1.5)
  cos, sin = rope.rotations(scaled, 8, jnp.arange(3))
  np.testing.assert_allclose(cos**2 + sin**2, 2.25, rtol=1e-5)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"kind": "dynamic"}, "rope kind 'dynamic' is not supported"),
    ({"kind": "yarn"}, "needs original_length"),
  ],
)
def test_impossible_settings(settings, message):
  with pytest.raises(ValueError, match=message):
    Rope(**settings)
