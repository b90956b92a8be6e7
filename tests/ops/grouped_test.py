import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.ops import grouped


@pytest.mark.parametrize(
  "sizes",
  [(5, 0, 40, 1), (0, 0, 0, 0), (0, 61, 0, 0), (16, 16, 16, 16)],
  ids=["ragged", "empty", "one", "even"],
)
def test_products_and_gradients_are_those_of_ragged_dot(sizes):
  rows, used = 64, sum(sizes)
  keys = jax.random.split(jax.random.key(0), 3)
  x = jax.random.normal(keys[0], (rows, 6))
  kernels = jax.random.normal(keys[1], (4, 6, 5))
  # Nothing reads the rows after the last group.
  weight = jax.random.normal(keys[2], (rows, 5)).at[used:].set(0)
  sizes = jnp.array(sizes)

  def run(dot):
    def loss(x, kernels):
      y = jnp.where(weight != 0, dot(x, kernels, sizes), 0)
      return jnp.sum(weight * y), y

    return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(x, kernels)

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    run(grouped.grouped_dot),
    run(jax.lax.ragged_dot),
  )
