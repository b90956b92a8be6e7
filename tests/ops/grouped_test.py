import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.ops import grouped


def product(dot, x, kernel):
  return dot(x, kernel)


def mlp(dot, x, gate, up, down):
  return dot(jax.nn.silu(dot(x, gate)) * dot(x, up), down)


@pytest.mark.parametrize(
  ("function", "shapes"),
  [(product, [(6, 5)]), (mlp, [(6, 7), (6, 7), (7, 5)])],
  ids=["product", "mlp"],
)
@pytest.mark.parametrize(
  "sizes",
  [(5, 0, 40, 1), (0, 0, 0, 0), (0, 61, 0, 0), (16, 16, 16, 16)],
  ids=["ragged", "empty", "one", "even"],
)
def test_results_and_gradients_are_those_of_ragged_dot(sizes, function, shapes):
  rows, used = 64, sum(sizes)
  x_key, weight_key, *keys = jax.random.split(jax.random.key(0), 5)
  x = jax.random.normal(x_key, (rows, 6))
  kernels = tuple(
    jax.random.normal(key, (4, *shape))
    for key, shape in zip(keys, shapes, strict=False)
  )
  # Nothing reads the rows after the last group.
  weight = jax.random.normal(weight_key, (rows, 5)).at[used:].set(0)
  sizes = jnp.array(sizes)

  def blocks(x, kernels):
    return grouped.grouped_map(function, x, kernels, sizes)

  def ragged(x, kernels):
    dot = functools.partial(jax.lax.ragged_dot, group_sizes=sizes)
    return function(dot, x, *kernels)

  def run(compute):
    def loss(x, kernels):
      y = jnp.where(weight != 0, compute(x, kernels), 0)
      return jnp.sum(weight * y), y

    return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(x, kernels)

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5),
    run(blocks),
    run(ragged),
  )
