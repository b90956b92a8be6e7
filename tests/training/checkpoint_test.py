import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrl_entropy import sharding
from jaxrl_entropy.training import state as state_lib
from jaxrl_entropy.training.checkpoint import Checkpoints
from tests import devices


def make_state(mesh, seed):
  key = jax.random.key(seed)
  params = {
    "embed": {"embedding": jax.random.normal(key, (8, 4))},
    "layers": {
      "mlp": {"up_proj": {"kernel": jax.random.normal(key, (2, 4, 8))}}
    },
  }
  params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
  return state_lib.init_state(params, optax.adamw(1e-3), seed, mesh)


def plain(state):
  state = state.replace(key=jax.random.key_data(state.key))
  return [np.asarray(x.astype(jnp.float32)) for x in jax.tree.leaves(state)]


def save(folder, sizes, seed=3):
  mesh = sharding.make_mesh(*sizes, devices=jax.devices()[: np.prod(sizes)])
  state = make_state(mesh, seed)
  checkpoints = Checkpoints(folder, keep=2)
  for step in (1, 2, 3):
    checkpoints.save(step, state, {"next": step})
  checkpoints.close()
  return plain(state)


def restore(folder, sizes):
  mesh = sharding.make_mesh(*sizes, devices=jax.devices()[: np.prod(sizes)])
  checkpoints = Checkpoints(folder, keep=2)
  like = make_state(mesh, seed=4)
  state, host = checkpoints.restore(checkpoints.latest(), like)
  kernel = state.params["layers"]["mlp"]["up_proj"]["kernel"]
  assert (
    kernel.sharding
    == like.params["layers"]["mlp"]["up_proj"]["kernel"].sharding
  )
  checkpoints.close()
  return plain(state), host


def test_state_comes_back_bit_for_bit(tmp_path):
  saved = save(tmp_path, (1, 1))
  state, host = restore(tmp_path, (1, 1))
  assert host == {"next": 3}
  for a, b in zip(state, saved, strict=True):
    np.testing.assert_array_equal(a, b)


def test_state_comes_back_on_another_mesh(tmp_path):
  saved = devices.run(save, tmp_path, (2, 2, 2))
  state, _ = devices.run(restore, tmp_path, (1, 8))
  for a, b in zip(state, saved, strict=True):
    np.testing.assert_array_equal(a, b)


def test_only_the_last_ones_are_kept(tmp_path):
  save(tmp_path, (1, 1))
  assert sorted(p.name for p in tmp_path.iterdir()) == ["2", "3"]
