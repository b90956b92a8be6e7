"""Batches made from arrays: what is spread over tokens, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import objectives
from jaxrl_entropy.types import token_batch

SQUARE = jnp.zeros((3, 3))  # [B] would broadcast over the wrong axis.
MASK = jnp.ones((3, 3), bool)


@pytest.mark.parametrize("field", ["logp", "advantages", "entropy"])
def test_a_number_per_response_needs_its_axis(field):
  arrays = {
    **dict(logp=SQUARE, old_logp=SQUARE, advantages=SQUARE, mask=MASK),
    field: jnp.arange(3.0),
  }
  with pytest.raises(ValueError, match=rf"give {field}\[:, None\]"):
    token_batch(**arrays)


@pytest.mark.parametrize("shape", [(1, 3), (3, 2), (2, 3), (3, 3, 1), ()])
def test_another_shape_is_refused(shape):
  with pytest.raises(ValueError, match=r"advantages has shape \("):
    token_batch(SQUARE, SQUARE, jnp.ones(shape), MASK)


def test_one_advantage_per_response_is_that_of_its_tokens():
  advantages = jnp.array([[1.0], [-2.0], [3.0]])

  def loss(a):
    batch = token_batch(SQUARE, SQUARE, a, MASK)
    return objectives.grpo()(batch, jax.random.key(0))[0]

  np.testing.assert_allclose(loss(advantages), -advantages.mean(), rtol=1e-6)
  np.testing.assert_array_equal(
    loss(advantages), loss(jnp.tile(advantages, (1, 3)))
  )
