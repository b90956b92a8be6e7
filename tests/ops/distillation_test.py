import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.ops.distillation import Head, head_divergence
from tests import devices

OWN, TEACHER = Head(29, temperature=0.8), Head(29, softcap=3.0, temperature=0.8)


def inputs():
  rng = np.random.default_rng(0)
  shapes = (4, 6, 8), (8, 32), (4, 6, 5), (5, 32)
  return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def naive(hidden, kernel, teacher_hidden, teacher_kernel):
  own = jax.nn.log_softmax((hidden @ kernel)[..., :29] / 0.8)
  capped = 3.0 * jnp.tanh((teacher_hidden @ teacher_kernel)[..., :29] / 3.0)
  other = jax.nn.log_softmax(capped / 0.8)
  return (jnp.exp(own) * (own - other)).sum(-1)


def total(divergence, hidden, kernel, *teacher):
  weights = np.arange(24, dtype=np.float32).reshape(4, 6)
  found = divergence(hidden, kernel, *teacher)
  return jnp.sum(weights * found), found


def step(divergence):
  return jax.jit(
    jax.value_and_grad(
      functools.partial(total, divergence), (0, 1), has_aux=True
    )
  )


def chunked(chunk):
  return lambda *args: head_divergence(*args, OWN, TEACHER, chunk)


close = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("chunk", [5, 100])
def test_the_divergence_is_that_of_the_whole_logits(chunk):
  jax.tree.map(close, step(chunked(chunk))(*inputs()), step(naive)(*inputs()))


def test_the_teacher_gets_no_gradient():
  def loss(teacher_hidden):
    hidden, kernel, _, teacher_kernel = inputs()
    return chunked(7)(hidden, kernel, teacher_hidden, teacher_kernel).sum()

  assert not jax.grad(loss)(inputs()[2]).any()


def on_a_mesh():
  mesh = sharding.make_mesh(fsdp=2, tensor=2, devices=jax.devices()[:4])
  with jax.set_mesh(mesh):
    return step(chunked(5))(*inputs())


def test_a_mesh_changes_nothing():
  jax.tree.map(close, devices.run(on_a_mesh), step(naive)(*inputs()))


def test_all_logits_never_exist():
  rng = np.random.default_rng(0)
  big = [
    rng.normal(size=shape).astype(np.float32)
    for shape in ((8, 64, 8), (8, 2000), (8, 64, 8), (8, 2000))
  ]

  def loss(hidden, kernel):
    whole = Head(2000)
    return head_divergence(hidden, kernel, *big[2:], whole, whole, 64).sum()

  program = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(*big[:2]).compile()
  logits = 8 * 64 * 2000 * 4
  assert program.memory_analysis().temp_size_in_bytes < logits
