"""One training step gives the same numbers on every mesh, in any job."""

import jax
import numpy as np
import optax
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.training import (
  multihost,
  rows as rows_lib,
  state as state_lib,
)
from jaxrl_entropy.training.step import make_update
from tests import devices
from tests.training.step_test import (
  CAPACITY,
  FORWARD,
  OBJECTIVES,
  make_rows,
  params,
  relative,
)

# Sizes of data, fsdp, tensor and context.
MESHES = {
  (8, 1, 1, 1): "clip_cov",
  (1, 8, 1, 1): "kl_cov",
  (2, 2, 2, 1): "clip_cov",
  (1, 2, 2, 2): "kl_cov",
  (2, 1, 1, 4): "kl_cov",
}
# fsdp lies across the border of the processes, tensor and context within.
ACROSS = {(1, 2, 2, 2): "kl_cov"}


def train_step(name, sizes):
  """Loss, gradient and new parameters of one SGD step."""
  mesh = sharding.make_mesh(*sizes)
  # Momentum is kept beside the parameters, and is the gradient after one step.
  optimizer = optax.sgd(0.1, momentum=0.9)
  with jax.set_mesh(mesh):
    state = state_lib.init_state(jax.device_get(params()), optimizer, 0, mesh)
    update = make_update(
      lambda _: OBJECTIVES[name],
      optimizer,
      FORWARD,
      sharding.param_shardings(state, mesh),
      **CAPACITY,
    )
    state, metrics = update(state, rows_lib.put(make_rows(), 2, mesh))
    (gradient,) = optax.tree.get_all_with_path(state.opt_state, "trace")
    found = (metrics["loss"].compute(), gradient[1], state.params)
    return jax.tree.map(multihost.fetch, found)


def train_steps(cases):
  return [train_step(name, sizes) for sizes, name in cases.items()]


def assert_same(result, expected):
  (loss, gradient, after), (loss_, gradient_, after_) = result, expected
  np.testing.assert_allclose(loss, loss_, rtol=1e-5)
  assert relative(gradient, gradient_) < 1e-5
  assert relative(after, after_) < 1e-5
  # The step is not lost in the size of the parameters.
  before = jax.device_get(params())
  moved, moved_ = (
    jax.tree.map(np.subtract, p, before) for p in (after, after_)
  )
  assert relative(moved, moved_) < 1e-3


@pytest.fixture(scope="module")
def alone():
  """The steps on one device, by objective."""
  names = set(MESHES.values())
  return {name: train_step(name, (1, 1, 1, 1)) for name in names}


def test_eight_devices_in_any_shape_train_as_one_does(alone):
  results = devices.run(train_steps, MESHES)
  for name, result in zip(MESHES.values(), results, strict=True):
    assert_same(result, alone[name])


def test_two_processes_of_four_devices_train_as_one_device_does(alone):
  answers = devices.run_together(train_steps, ACROSS, processes=2, devices=4)
  for results in answers:
    for name, result in zip(ACROSS.values(), results, strict=True):
      assert_same(result, alone[name])
