"""Equal tokens, another layout: the same tokens picked, the same loss."""

import functools
import math

from hypothesis import given, settings, strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import losses, objectives
from jaxrl_entropy.planning import hlo
from jaxrl_entropy.sharding import make_mesh, row_sharding
from jaxrl_entropy.types import TokenBatch
from tests import devices
from tests.losses import batches

METHODS = {
  "clip_cov": {
    "fraction": 0.1,
    "cov_low": 0.05,
    "cov_high": 2.0,
    "min_tokens": 1,
  },
  "kl_cov": {"fraction": 0.1, "min_tokens": 1},
  "htpo": {"least_share": 0.3, "most_share": 0.3},
  "aem": {"rate": 2.0},
}
RULES = {
  "clip_cov": losses.random_covariance(0.1, 0.05, 2.0, min_tokens=1),
  "kl_cov": losses.top_covariance(0.1, min_tokens=1),
  "htpo": losses.top_fraction(losses.entropy_score, 0.3, within="response"),
  "aem": losses.top_fraction(losses.entropy_score, 0.3, within="group"),
}


def unclipped(batch):
  grid = jnp.zeros(batch.mask.shape)
  return losses.TokenLoss(grid, grid, grid.astype(bool), {})


def outcome(name, batch, seed):
  """Chosen tokens of a rule; loss, gradient and its norm of its method."""
  key = jax.random.key(seed)
  objective = objectives.resolve(name, METHODS[name])

  def loss(logp):
    return objective(batch.replace(logp=logp), key)[0]

  value, gradient = jax.value_and_grad(loss)(batch.logp)
  picked = RULES[name](unclipped(batch), batch, key).chosen
  return picked, value, gradient, jnp.linalg.norm(gradient)


@functools.cache
def compiled(name):
  return jax.jit(functools.partial(outcome, name))


def by_token(batch, grid):
  """The values of valid tokens, in the order of (response, position)."""
  order = np.lexsort((batch.position[batch.mask], batch.response[batch.mask]))
  return np.asarray(grid)[batch.mask][order]


def check(name, batch, other, seed):
  picked, loss, gradient, norm = compiled(name)(batch, seed)
  picked2, loss2, gradient2, norm2 = compiled(name)(other, seed)
  assert batches.tokens(batch, picked) == batches.tokens(other, picked2)
  np.testing.assert_allclose(loss2, loss, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(norm2, norm, rtol=1e-5)
  np.testing.assert_allclose(
    by_token(other, gradient2), by_token(batch, gradient), rtol=1e-5, atol=1e-9
  )


def quantized(batch, coarse):
  """With ties: scores that differ by less than `coarse` become equal."""
  if not coarse:
    return batch
  return batch.replace(
    **{
      name: (np.round(array / coarse) * coarse).astype(np.float32)
      for name, array in (("logp", batch.logp), ("entropy", batch.entropy))
    }
  )


LAYOUTS = {
  "permuted rows": (batches.RESPONSES, batches.LENGTH),
  "padding added": (11, 17),
  "packed": (3, 40),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25, deadline=None)
@given(
  seed=st.integers(0, 2**31 - 1),
  masked=st.sampled_from([0.0, 0.3, 0.95]),
  coarse=st.sampled_from([0.0, 0.5]),
  junk=st.sampled_from([0.0, np.nan, np.inf]),
)
def test_layout_does_not_show(name, layout, seed, masked, coarse, junk):
  batch = quantized(batches.make(seed, masked=masked), coarse)
  rows, width = LAYOUTS[layout]
  rng = np.random.default_rng(seed)
  if layout == "packed":  # whole responses, in any order, anywhere in a row
    slots = [(row, 13 * i) for row in range(rows) for i in range(3)]
    starts = rng.permutation(slots)[: batches.RESPONSES]
    start = starts[:, 0] * width + starts[:, 1]
  else:
    room = width - batches.LENGTH + 1
    start = rng.permutation(rows)[: batches.RESPONSES] * width
    start = start + rng.integers(0, room, batches.RESPONSES)
  places = start[:, None] + np.arange(batches.LENGTH)
  other = batches.laid_out(batch, rows, width, places, junk)
  check(name, batch, other, seed)


@pytest.mark.parametrize("name", METHODS)
def test_single_tokens_may_stand_anywhere(name):
  batch = batches.make(5)
  rng = np.random.default_rng(0)
  places = rng.permutation(3 * 40)[: batch.mask.size]
  check(name, batch, batches.laid_out(batch, 3, 40, places, np.nan), 5)


MESHES = ((1, 1, 1), (2, 1, 1), (1, 2, 2), (2, 2, 2), (2, 4, 1))
# Rules within segments are compiled for the first and the last of them.
CASES = [
  (name, sizes)
  for name in METHODS
  for sizes in (MESHES if name in ("clip_cov", "kl_cov") else MESHES[::4])
]


def large():
  """A mini-batch of 16 x 256 tokens with ties."""
  rng = np.random.default_rng(11)
  shape = (16, 256)
  logp = -rng.exponential(size=shape).astype(np.float32)
  logp = np.where(rng.random(shape) < 0.2, np.float32(-1.5), logp)
  response, position = np.indices(shape, dtype=np.int32)
  advantages = np.repeat(rng.normal(size=(16, 1)), 256, 1).astype(np.float32)
  return TokenBatch(
    logp=logp,
    old_logp=logp + rng.normal(size=shape).astype(np.float32) / 5,
    advantages=advantages,
    mask=rng.random(shape) < 0.8,
    response=response,
    position=position,
    entropy=np.round(-logp, 1),
    correct=(response % 3 == 0).astype(np.float32),
    group=response // 4,
    group_accuracy=(response // 4 / np.float32(3)),
    num_responses=16,
    max_length=256,
  )


def on_mesh(name, batch, sizes):
  """`outcome` with the rows spread over a mesh, and the compiled program."""
  count = int(np.prod(sizes))
  mesh = make_mesh(*sizes, devices=jax.devices()[:count])
  with jax.set_mesh(mesh):
    spread = jax.device_put(batch, row_sharding(mesh))
    program = jax.jit(functools.partial(outcome, name)).lower(spread, 3)
    program = program.compile()
    return program(spread, 3), program.as_text()


def on_meshes(batch):
  return {case: on_mesh(case[0], batch, case[1]) for case in CASES}


@pytest.fixture(scope="module")
def spread():
  return devices.run(on_meshes, large())


@pytest.mark.parametrize(
  ("name", "sizes"), [case for case in CASES if case[1] != MESHES[0]]
)
def test_devices_do_not_show(name, sizes, spread):
  (picked, loss, gradient, norm), _ = spread[name, MESHES[0]]
  (picked2, loss2, gradient2, norm2), _ = spread[name, sizes]
  assert picked.sum() > 100
  np.testing.assert_array_equal(picked2, picked)
  np.testing.assert_allclose(loss2, loss, rtol=1e-5)
  np.testing.assert_allclose(norm2, norm, rtol=1e-5)
  np.testing.assert_allclose(gradient2, gradient, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_no_token_scores_are_gathered(name, spread):
  _, program = spread[name, (2, 4, 1)]
  sizes = {"data": 2, "fsdp": 4, "tensor": 1, "context": 1}
  moved = hlo.collectives(program, sizes)
  histograms = [
    one.shape for one in moved if one.kind == "all-reduce" and one.shape
  ]
  within = name not in ("clip_cov", "kl_cov")
  assert max(map(math.prod, histograms)) == (16 * 2**8 if within else 2**11)
  for one in moved:
    if one.kind != "all-reduce":
      assert math.prod(one.shape) < large().logp.size / 64, one
