"""Three-pass updates, against the published rule written out in NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.training import state as state_lib
from jaxrl_entropy.training.lookahead import Lookahead
from jaxrl_entropy.training.update import apply_gradient

RATE = 0.1
CURVATURE = np.array([1.0, 9.0, -0.5, 0.0])  # of a quadratic loss
START = np.array([1.0, -2.0, 0.5, 3.0])
AHEAD = Lookahead(steps=5, share=0.5, threshold=1.0, window=2)


def run(ahead, updates=1, on=True):
  optimizer = optax.sgd(RATE)
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  params = {"w": jnp.asarray(START, jnp.float32)}
  state = state_lib.init_state(
    params, optimizer, 0, mesh, lookahead=ahead.init() | {"on": jnp.asarray(on)}
  )

  def step(state):
    def loss(params):
      return 0.5 * jnp.sum(jnp.float32(CURVATURE) * params["w"] ** 2)

    value, gradient = jax.value_and_grad(loss)(state.params)
    state, metrics = apply_gradient(state, value, gradient, optimizer)
    return state, gradient, metrics

  update = jax.jit(lambda state: ahead.run(state, step))
  for _ in range(updates):
    state, metrics = update(state)
  return state, metrics


def plain(w, passes=1):
  for _ in range(passes):
    w = w - RATE * CURVATURE * w
  return w


def expected(w, steps, share):
  g0, g1 = CURVATURE * w, CURVATURE * plain(w)
  end, jumped = plain(w, 2), []
  for a, z, x, y in zip(w, end, g0, g1, strict=True):
    scale = 1.0
    if abs(x) > 1e-8:
      q = min(max(y / x, -2.0), 3.0)
      if abs(1 + q) > 1e-8:
        scale = sum(q**k for k in range(steps)) / (1 + q)
        scale = min(max(scale, 1.0), steps / 2 + 1)
    jumped.append(a + share * scale * (z - a))
  return plain(np.array(jumped))


@pytest.mark.parametrize(("steps", "share"), [(5, 0.5), (10, 0.3), (2, 1.0)])
def test_an_update_is_the_published_one(steps, share):
  ahead = dataclasses.replace(AHEAD, steps=steps, share=share)
  state, metrics = run(ahead)
  np.testing.assert_allclose(
    state.params["w"], expected(START, steps, share), rtol=1e-5
  )
  assert int(state.update) == 1
  assert metrics["lookahead/on"].compute() == 1


def test_a_geometric_series_is_jumped_over_exactly():
  """Gradient descent on a quadratic is one: the jump is `steps` steps."""
  gentle = CURVATURE == 1.0  # a ratio of .9; those of others are clipped
  jumped = AHEAD.jump(
    {"w": jnp.asarray(START)},
    {"w": jnp.asarray(plain(START, 2))},
    {"w": jnp.asarray(CURVATURE * START)},
    {"w": jnp.asarray(CURVATURE * plain(START))},
  )
  half_way = START + 0.5 * (plain(START, 5) - START)
  np.testing.assert_allclose(
    np.asarray(jumped["w"])[gentle], half_way[gentle], rtol=1e-5
  )


def test_a_gradient_far_above_the_others_ends_the_jumps():
  gate = AHEAD.init()
  for norm in (1.0, 1.2, 1.1, 0.2):
    gate = AHEAD.observe(gate, jnp.float32(norm))
    assert gate["on"]
  gate = AHEAD.observe(gate, jnp.float32(5.0))
  assert not gate["on"]
  assert not AHEAD.observe(gate, jnp.float32(1.0))["on"]


def test_without_jumps_an_update_is_one_step():
  state, metrics = run(AHEAD, updates=2, on=False)
  np.testing.assert_allclose(state.params["w"], plain(START, 2), rtol=1e-5)
  assert metrics["lookahead/on"].compute() == 0
