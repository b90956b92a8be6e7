import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.errors import UserError
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
    checkpoints.save(
      step, state, {"next": step}, np.arange(step, dtype=np.uint8)
    )
  checkpoints.close()
  return plain(state)


def restore(folder, sizes):
  mesh = sharding.make_mesh(*sizes, devices=jax.devices()[: np.prod(sizes)])
  like = make_state(mesh, seed=4)
  checkpoints = Checkpoints(folder, keep=2)
  _, state, host, carried = checkpoints.restore(like)
  np.testing.assert_array_equal(carried, np.arange(host["next"]))
  same = jax.tree.map(lambda a, b: a.sharding == b.sharding, state, like)
  assert all(jax.tree.leaves(same))
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


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
  save(tmp_path, (1, 1))
  for file in (tmp_path / "3" / "params").rglob("*"):
    if file.is_file():
      file.write_bytes(file.read_bytes()[:10])
  with pytest.warns(UserWarning, match="cannot be read"):
    _, host = restore(tmp_path, (1, 1))
  assert host == {"next": 2}
  # Its step can be saved again.
  assert [p.name for p in tmp_path.iterdir()] == ["2"]


def test_parameters_can_be_read_alone(tmp_path):
  save(tmp_path, (1, 1))
  checkpoints = Checkpoints(tmp_path, keep=2)
  wanted = make_state(sharding.make_mesh(devices=jax.devices()[:1]), 3).params
  step, params = checkpoints.restore_params(
    jax.tree.map(jnp.zeros_like, wanted)
  )
  checkpoints.close()
  assert step == 3
  jax.tree.map(np.testing.assert_array_equal, params, wanted)


def test_checkpoints_of_another_model_are_refused(tmp_path):
  save(tmp_path, (1, 1))
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  other = state_lib.init_state(
    {"embed": {"embedding": jnp.zeros((3, 3))}}, optax.adamw(1e-3), 0, mesh
  )
  checkpoints = Checkpoints(tmp_path, keep=2)
  with pytest.raises(UserError, match="no checkpoint there fits"):
    checkpoints.restore(other)
  assert sorted(p.name for p in tmp_path.iterdir()) == ["2", "3"]
  checkpoints.close()
