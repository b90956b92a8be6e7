"""The update is exact over the mini-batch, whatever the layout."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl_entropy import losses, objectives, sharding
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.training import packed_batch, state as state_lib
from jaxrl_entropy.training.forward import Forward, forward_slices
from jaxrl_entropy.training.update import (
  apply_gradient,
  loss_and_gradient,
  make_update,
  objective_batch,
)
from tests import devices

MODEL = preset("tiny", vocab_size=32, num_layers=2)
FORWARD = Forward(MODEL, temperature=0.8, chunk=32)
RESPONSES, LENGTH = 16, 12
CAPACITY = {"num_responses": RESPONSES, "max_length": 8}
OBJECTIVES = {
  "grpo": objectives.resolve("grpo"),
  "clip_cov": objectives.resolve(
    "clip_cov", {"fraction": 0.2, "cov_low": 0.0, "cov_high": 9.0}
  ),
  "kl_cov": objectives.resolve("kl_cov", {"fraction": 0.2}),
  "entropy_bonus": losses.objective(
    losses.policy_gradient(),
    losses.add_entropy(0.1),
    aggregate=losses.token_mean(),
  ),
}


def make_rows(seed=0):
  """Ragged responses with random signals, one a row, on the host."""
  rng = np.random.default_rng(seed)
  prompts = [rng.integers(2, 32, rng.integers(1, 4)) for _ in range(RESPONSES)]
  responses = [
    rng.integers(2, 32, rng.integers(1, 9)) for _ in range(RESPONSES)
  ]
  rows = packed_batch.fill_rows(
    prompts,
    responses,
    packed_batch.one_per_row(RESPONSES),
    rows=RESPONSES,
    length=LENGTH,
  )
  signals = {
    "advantages": rng.normal(size=(RESPONSES, 8)),
    "old_logp": rng.normal(size=(RESPONSES, 8)) * 0.1 - 3.4,
  }
  return packed_batch.with_signals(rows, signals)


@functools.cache
def params(model=MODEL):
  tree = transformer.init(model, jax.random.key(0))
  # Away from initialization, where all distributions are nearly uniform.
  return jax.tree.map(lambda x: x * jnp.float32(1.5), tree)


@functools.cache
def jitted(name, statistics):
  def call(params, rows):
    key = jax.random.key(1)
    return loss_and_gradient(
      params,
      rows,
      OBJECTIVES[name],
      key,
      FORWARD,
      statistics=statistics,
      **CAPACITY,
    )

  return jax.jit(call)


def compute(name, micro, mesh, order=None, statistics="minibatch"):
  """Loss, metrics and gradient of one mini-batch."""
  rows = make_rows()
  if order is not None:
    rows = jax.tree.map(lambda x: x[order], rows)
  with jax.set_mesh(mesh):
    rows = packed_batch.put(rows, micro, mesh)
    placed = jax.device_put(params(), sharding.param_shardings(params(), mesh))
    return jax.device_get(jitted(name, statistics)(placed, rows))


def one_device():
  return sharding.make_mesh(devices=jax.devices()[:1])


def relative(a, b):
  gap = optax.tree.norm(jax.tree.map(np.subtract, a, b))
  return float(gap / optax.tree.norm(b))


def assert_same(result, expected):
  np.testing.assert_allclose(result[0], expected[0], rtol=1e-5)
  assert relative(result[2], expected[2]) < 1e-5
  for name, mean in expected[1].items():
    np.testing.assert_allclose(
      result[1][name].total, mean.total, rtol=1e-4, atol=1e-5, err_msg=name
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradient_is_that_of_the_objective_of_the_model(name):
  rows = packed_batch.put(make_rows(), 1, one_device())
  only = jax.tree.map(lambda x: x[0], rows)

  def direct(p):
    stats = jax.tree.map(lambda x: x[None], FORWARD(p, only))
    batch = objective_batch(rows, stats, **CAPACITY)
    return OBJECTIVES[name](batch, jax.random.key(1))[0]

  loss, gradient = jax.value_and_grad(direct)(params())
  result = compute(name, 1, one_device())
  np.testing.assert_allclose(result[0], loss, rtol=1e-6)
  assert relative(result[2], gradient) < 1e-6
  assert optax.tree.norm(result[2]) > 1e-3


# The covariance rules: invariance_test.py.
@pytest.mark.parametrize("name", ["grpo", "entropy_bonus"])
def test_micro_batches_and_row_order_do_not_show(name):
  expected = compute(name, 1, one_device())
  assert_same(compute(name, 8, one_device()), expected)
  order = np.random.default_rng(1).permutation(RESPONSES)
  assert_same(compute(name, 2, one_device(), order), expected)


def test_a_forward_pass_that_is_known_is_not_made_again():
  mesh = one_device()
  with jax.set_mesh(mesh):
    rows = packed_batch.put(make_rows(), 4, mesh)
    stats = forward_slices(FORWARD, params(), rows)
    known = {"logp": stats.logp, "entropy": stats.entropy}
    scored = rows.replace(signals=rows.signals | known)
    call = jitted("kl_cov", "mini")
    assert_same(call(params(), scored), call(params(), rows))
    first, again = (
      call.lower(params(), each).compile().cost_analysis()["flops"]
      for each in (rows, scored)
    )
  # A backward pass and the forward pass that it repeats are three units.
  assert again < 0.8 * first


def test_microbatch_statistics_show_the_layout():
  whole = compute("kl_cov", 1, one_device())
  micro = compute("kl_cov", 8, one_device(), statistics="microbatch")
  assert relative(micro[2], whole[2]) > 1e-3
  # A single micro-batch is the mini-batch.
  assert_same(
    compute("kl_cov", 1, one_device(), statistics="microbatch"), whole
  )


def gathered_sizes():
  """Elements of every all-gather in the compiled update of KL-Cov."""
  mesh = sharding.make_mesh(2, 2, 2)
  optimizer = optax.sgd(1e-2)
  with jax.set_mesh(mesh):
    state = state_lib.init_state(params(), optimizer, 0, mesh)
    update = make_update(
      lambda _: OBJECTIVES["kl_cov"],
      optimizer,
      FORWARD,
      sharding.param_shardings(state, mesh),
      **CAPACITY,
    )
    rows = packed_batch.put(make_rows(), 2, mesh)
    text = update.lower(state, rows).compile().as_text()
  shapes = re.findall(r"= ?\(?\w+\[([\d,]*)\][^=]* all-gather", text)
  return [int(np.prod([int(n) for n in s.split(",") if n])) for s in shapes]


def test_compiled_update_gathers_no_scores_of_tokens():
  sizes = devices.run(gathered_sizes)
  # Parameters are gathered, so the pattern finds what there is to find.
  assert sizes
  assert RESPONSES * LENGTH not in sizes


def make_state(optimizer):
  # The update donates its state; the shared parameters must survive it.
  copy = jax.tree.map(jnp.copy, params())
  return state_lib.init_state(copy, optimizer, 0, one_device())


def test_update_that_is_not_finite_changes_nothing_and_is_counted():
  optimizer = optax.adamw(1e-2)
  state = make_state(optimizer)
  gradient = jax.tree.map(jnp.ones_like, state.params)
  bad = jax.tree.map(lambda x: x.at[(0,) * x.ndim].set(jnp.nan), gradient)
  loss = jnp.float32(1)
  skipped, metrics = apply_gradient(state, loss, bad, optimizer)
  assert int(skipped.skipped) == 1
  assert float(metrics["update/skipped"].compute()) == 1
  jax.tree.map(np.testing.assert_array_equal, skipped.params, state.params)
  jax.tree.map(
    np.testing.assert_array_equal, skipped.opt_state, state.opt_state
  )
  taken, _ = apply_gradient(skipped, loss, gradient, optimizer)
  assert int(taken.skipped) == 0
  assert int(taken.update) == 2
  assert relative(taken.params, state.params) > 0


def test_jitted_update_descends_and_counts():
  optimizer = optax.sgd(1e-2)
  state = make_state(optimizer)
  shardings = sharding.param_shardings(state, one_device())
  update = make_update(
    lambda _: OBJECTIVES["grpo"], optimizer, FORWARD, shardings, **CAPACITY
  )
  rows = packed_batch.put(make_rows(), 2, one_device())
  values = []
  for _ in range(3):
    state, metrics = update(state, rows)
    values.append(float(metrics["loss"].compute()))
  assert values[2] < values[1] < values[0]
  assert int(state.update) == 3


def test_bfloat16_masters_would_not_move_at_the_papers_learning_rate():
  step = jnp.float32(5e-7)
  for dtype, moves in ((jnp.float32, True), (jnp.bfloat16, False)):
    weight = jnp.asarray(0.02, dtype)
    assert bool(weight - step.astype(dtype) != weight) == moves
