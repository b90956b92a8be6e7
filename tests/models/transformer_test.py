import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.data import packing
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.models.io import checkpoints
from jaxrl_entropy.ops.logprobs import token_stats
from tests import devices
from tests.models import peers

close = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4)
LENGTHS = (9, 4, 12, 7, 3)
WINDOWED = "mistral_short_window"
# Each axis splits the weights or the rows of one of them at least.
MESH_CASES = {
  WINDOWED: {"data": 2, "fsdp": 2, "tensor": 2},
  "mixtral_window": {"fsdp": 2, "tensor": 2, "context": 2},
  "gemma3_two_ropes": {"fsdp": 4, "context": 2},
}
MIXED = "qwen3_yarn_mixed_layers"


def _rows(placement, rows, length):
  """Sequences of LENGTHS laid into rows: tokens, positions, segments, ids."""
  arrays = np.zeros((4, rows, length), np.int32)
  rng = np.random.default_rng(0)
  for i, (size, (row, start)) in enumerate(
    zip(LENGTHS, placement, strict=True)
  ):
    place = (slice(None), row, slice(start, start + size))
    arrays[place] = (
      rng.integers(peers.VOCAB, size=size),
      np.arange(size),
      np.full(size, i + 1),
      sum(LENGTHS[:i]) + np.arange(size),
    )
  return arrays


def _loss(params, config, rows, **options):
  """A loss in which each token has its own weight, wherever it is stored."""
  tokens, positions, segments, ids = rows
  hidden = transformer.hidden_states(
    params, config, tokens, positions, segments, **options
  )
  head = transformer.lm_head(params, config)
  stats = token_stats(hidden, head, jnp.roll(tokens, -1, 1), chunk=8)
  counted = (segments > 0) & (jnp.roll(positions, -1, 1) == positions + 1)
  weight = jnp.where(counted, jnp.sin(ids.astype(jnp.float32)), 0.0)
  return jnp.sum(weight * (stats.logp + 0.3 * stats.entropy))


def _gradient(config, params, rows, **options):
  step = jax.value_and_grad(functools.partial(_loss, **options))
  return jax.jit(step, static_argnums=1)(params, config, rows)


@functools.cache
def _packed_gradient(name=WINDOWED):
  config, params = checkpoints.load(peers.FOLDER / name)
  return _gradient(config, params, _packed())


def _packed():
  return _rows(packing.first_fit(LENGTHS, 16), 3, 16)


def _one_per_row():
  return _rows([(i, 0) for i in range(len(LENGTHS))], len(LENGTHS), 12)


@pytest.mark.parametrize("name", MESH_CASES)
def test_packing_changes_neither_loss_nor_gradient(name):
  config, params = checkpoints.load(peers.FOLDER / name)
  unpacked = _gradient(config, params, _one_per_row())
  jax.tree.map(close, _packed_gradient(name), unpacked)


@pytest.mark.parametrize("policy", sorted(set(transformer.REMAT) - {"none"}))
def test_remat_changes_nothing(policy):
  config, params = checkpoints.load(peers.FOLDER / WINDOWED)
  gradient = _gradient(config, params, _packed(), remat=policy)
  jax.tree.map(close, gradient, _packed_gradient())


def test_unknown_remat():
  config, params = checkpoints.load(peers.FOLDER / WINDOWED)
  with pytest.raises(ValueError, match="remat 'most' is unknown; one of"):
    _gradient(config, params, _packed(), remat="most")


def test_a_token_sees_neither_the_future_nor_another_sequence():
  config, params = checkpoints.load(peers.FOLDER / MIXED)
  tokens, positions, segments, _ = _packed()
  run = jax.jit(transformer.hidden_states, static_argnums=1)
  before = run(params, config, tokens, positions, segments)
  changed = tokens.copy()
  changed[0, 5] = (changed[0, 5] + 1) % peers.VOCAB
  after = run(params, config, changed, positions, segments)
  same = np.all(np.asarray(before == after), axis=-1)
  reached = (segments == segments[0, 5]) & (np.arange(16) >= 5)
  reached[1:] = False
  np.testing.assert_array_equal(same, ~reached)


def test_bfloat16_compute_keeps_float32_masters():
  config, params = checkpoints.load(peers.FOLDER / WINDOWED)
  half = dataclasses.replace(config, dtype="bfloat16")
  loss, gradient = _gradient(half, params, _packed())
  assert {g.dtype for g in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}
  np.testing.assert_allclose(loss, _packed_gradient()[0], rtol=0.1, atol=0.3)
  hidden = jax.eval_shape(
    lambda p: transformer.hidden_states(p, half, *_packed()[:3]), params
  )
  assert hidden.dtype == jnp.bfloat16


def test_depth_does_not_grow_the_program():
  def size(layers):
    config = preset("tiny", num_layers=layers)
    shapes = jax.eval_shape(
      functools.partial(transformer.init, config), jax.random.key(0)
    )
    ids = jax.ShapeDtypeStruct((1, 8), jnp.int32)
    run = jax.jit(transformer.hidden_states, static_argnums=1)
    return len(run.lower(shapes, config, ids, ids, ids).as_text())

  assert size(12) < 1.05 * size(2)


def _on_meshes():
  rows = _rows([(i, 0) for i in range(5)], 8, 16)
  results = []
  for name, sizes in MESH_CASES.items():
    mesh = sharding.make_mesh(**sizes)
    with jax.set_mesh(mesh):
      config, params = checkpoints.load(peers.FOLDER / name, mesh)
      gradient = _gradient(config, params, rows, remat="full")
      results.append((name, gradient))
  return results


def test_a_mesh_changes_neither_loss_nor_gradient():
  for name, result in devices.run(_on_meshes):
    jax.tree.map(close, result, _packed_gradient(name))
