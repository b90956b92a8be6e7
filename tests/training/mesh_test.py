"""One training step gives the same numbers on every mesh, in any job."""

import dataclasses
import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl_entropy import distributed, sharding
from jaxrl_entropy.models import experts, transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.planning import hlo, traffic
from jaxrl_entropy.training import packed_batch, state as state_lib
from jaxrl_entropy.training.update import loss_and_gradient, make_update
from tests import devices
from tests.training.update_test import (
  CAPACITY,
  FORWARD,
  MODEL,
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
EXPERTS = preset(
  "tiny-moe", hidden_size=32, num_heads=2, num_kv_heads=1, vocab_size=32
)
# Sizes of data, fsdp, tensor, context and expert, of a mixture of experts, and
# the tokens that a device gives to its experts at once.
EXPERT_MESHES = {
  (1, 1, 1, 1, 8): experts.CHUNK,
  (1, 2, 2, 1, 2): 8,
  (2, 1, 1, 2, 2): experts.CHUNK,
}
# fsdp lies across the border of the processes, tensor and context within.
ACROSS = {(1, 2, 2, 2): "kl_cov"}


def train_step(name, sizes, model=MODEL):
  """Loss, gradient and new parameters of one SGD step."""
  mesh = sharding.make_mesh(*sizes)
  # Momentum is kept beside the parameters, and is the gradient after one step.
  optimizer = optax.sgd(0.1, momentum=0.9)
  with jax.set_mesh(mesh):
    first = jax.device_get(params(model))
    state = state_lib.init_state(first, optimizer, 0, mesh)
    update = make_update(
      lambda _: OBJECTIVES[name],
      optimizer,
      dataclasses.replace(FORWARD, model=model),
      sharding.param_shardings(state, mesh),
      **CAPACITY,
    )
    state, metrics = update(state, packed_batch.put(make_rows(), 2, mesh))
    (gradient,) = optax.tree.get_all_with_path(state.opt_state, "trace")
    found = (metrics["loss"].compute(), gradient[1], state.params)
    return jax.tree.map(distributed.fetch, found)


def train_steps(cases):
  return [train_step(name, sizes) for sizes, name in cases.items()]


def train_experts(meshes):
  results = []
  for sizes, chunk in meshes.items():
    with mock.patch.object(experts, "CHUNK", chunk):
      results.append(train_step("kl_cov", sizes, EXPERTS))
  return results


def assert_same(result, expected, model=MODEL, of_gradient=1e-5):
  (loss, gradient, after), (loss_, gradient_, after_) = result, expected
  np.testing.assert_allclose(loss, loss_, rtol=1e-5)
  assert relative(gradient, gradient_) < of_gradient
  assert relative(after, after_) < 1e-5
  # The step is not lost in the size of the parameters.
  before = jax.device_get(params(model))
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


def test_experts_on_eight_devices_train_as_on_one():
  (alone,) = train_experts({(1,): experts.CHUNK})
  for result in devices.run(train_experts, EXPERT_MESHES):
    # Sums in another order; 1.7e-5 apart on one processor, and less on others.
    assert_same(result, alone, EXPERTS, of_gradient=3e-5)


def test_two_processes_of_four_devices_train_as_one_device_does(alone):
  answers = devices.run_together(train_steps, ACROSS, processes=2, devices=4)
  for results in answers:
    for name, result in zip(ACROSS.values(), results, strict=True):
      assert_same(result, alone[name])


def untied_gradient(sizes):
  """The gradient over 4 micro-batches of a head of its own; reductions of it.

  Returns:
    The gradient, and how often a device takes part in a reduction of the
    head's, [D, V].
  """
  model = dataclasses.replace(MODEL, tie_embeddings=False)
  mesh = sharding.make_mesh(*sizes)
  with jax.set_mesh(mesh):
    tree = transformer.init(model, jax.random.key(0))
    tree = jax.tree.map(lambda x: x * jnp.float32(1.5), tree)
    tree = jax.device_put(tree, sharding.param_shardings(tree, mesh))
    step = functools.partial(
      loss_and_gradient,
      objective=OBJECTIVES["clip_cov"],
      key=jax.random.key(1),
      forward=dataclasses.replace(FORWARD, model=model),
      **CAPACITY,
    )
    rows = packed_batch.put(make_rows(), 4, mesh)
    compiled = jax.jit(step).lower(tree, rows).compile()
    *_, gradient = compiled(tree, rows)
  widths = {model.vocab_size, model.vocab_size // mesh.shape["tensor"]}
  found = hlo.collectives(compiled.as_text(), mesh.shape)
  return gradient, sum(
    one.count
    for one in found
    if one.kind in traffic.REDUCTIONS
    and len(one.shape) == 2
    and one.shape[-1] in widths
  )


def test_the_gradient_of_the_head_is_reduced_once_for_all_micro_batches():
  alone, _ = untied_gradient((1, 1, 1, 1))
  gradient, reductions = devices.run(untied_gradient, (1, 4, 2, 1))
  assert reductions == 1
  assert relative(gradient, alone) < 1e-5
