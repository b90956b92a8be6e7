import errno
import os
import resource
import shutil
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.errors import WRITE_FAILED, UserError
from jaxrl_entropy.training import state as state_lib
from jaxrl_entropy.training.checkpoint import (
  BestPolicies,
  Checkpoints,
  restore_params,
)
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


def cut_short(checkpoint):
  for file in (checkpoint / "params").rglob("*"):
    if file.is_file():
      file.write_bytes(file.read_bytes()[:10])


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
  save(tmp_path, (1, 1))
  cut_short(tmp_path / "3")
  with pytest.warns(UserWarning, match="cannot be read"):
    _, host = restore(tmp_path, (1, 1))
  assert host == {"next": 2}
  # Its step can be saved again.
  assert [p.name for p in tmp_path.iterdir()] == ["2"]


def large_state(seed):
  """So large that every device's part of it is a file of its own."""
  mesh = sharding.make_mesh(fsdp=-1)
  key = jax.random.key(seed)
  params = {"embed": {"embedding": jax.random.normal(key, (2048, 512))}}
  return state_lib.init_state(params, optax.sgd(1e-3), seed, mesh)


def save_large(folder):
  checkpoints = Checkpoints(folder, keep=2)
  for step in (1, 2):
    checkpoints.save(step, large_state(step), {}, np.zeros(1, np.uint8))
  checkpoints.close()


def restore_large(folder):
  """The step that this process found, and whether it was warned."""
  checkpoints = Checkpoints(folder, keep=2)
  with warnings.catch_warnings(record=True) as caught:
    found = checkpoints.restore(large_state(9))
  checkpoints.close()
  return found.step, any("cannot be read" in str(w.message) for w in caught)


def test_all_processes_pass_over_what_one_of_them_cannot_read(tmp_path):
  job = {"processes": 2, "devices": 2, "timeout": 120}
  devices.run_together(save_large, tmp_path, **job)
  parts = (tmp_path / "2" / "params" / "ocdbt.process_1" / "d").iterdir()
  max(parts, key=lambda file: file.stat().st_size).write_bytes(b"")
  answers = devices.run_together(restore_large, tmp_path, **job)
  assert answers == [(1, True), (1, True)]
  assert [p.name for p in tmp_path.iterdir()] == ["1"]


def test_every_flipped_bit_of_the_host_s_position_is_seen(tmp_path):
  """Or does no harm; a smaller number there would repeat or skip problems."""
  save(tmp_path, (1, 1))
  rng = np.random.default_rng(0)
  for file in sorted((tmp_path / "3" / "host").rglob("*")):
    if file.is_file() and file.stat().st_size:
      data = bytearray(file.read_bytes())
      for at in rng.integers(0, len(data), 3):
        damaged = bytearray(data)
        damaged[at] ^= 1
        copy = tmp_path.with_name("copy")
        shutil.copytree(tmp_path, copy)
        (copy / file.relative_to(tmp_path)).write_bytes(damaged)
        with warnings.catch_warnings(action="ignore"):
          _, host = restore(copy, (1, 1))
        assert host in ({"next": 3}, {"next": 2})
        shutil.rmtree(copy)


def test_a_lost_process_is_not_taken_for_a_full_disk(tmp_path, monkeypatch):
  def lose(*args, **kwargs):
    raise ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer")

  checkpoints = Checkpoints(tmp_path, keep=1)
  monkeypatch.setattr(checkpoints._store._manager, "save", lose)
  with pytest.raises(RuntimeError, match="saving failed") as raised:
    checkpoints.save(1, one_state(3), {}, np.zeros(1, np.uint8))
  assert not isinstance(raised.value, UserError)
  checkpoints.close()


def one_state(seed):
  return make_state(sharding.make_mesh(devices=jax.devices()[:1]), seed)


def test_parameters_can_be_read_alone(tmp_path):
  save(tmp_path, (1, 1))
  wanted = one_state(3).params
  step, params = restore_params(tmp_path, one_state(4).params)
  assert step == 3
  jax.tree.map(np.testing.assert_array_equal, params, wanted)


def test_reading_parameters_leaves_a_damaged_checkpoint(tmp_path):
  save(tmp_path, (1, 1))
  cut_short(tmp_path / "3")
  with pytest.warns(UserWarning, match="step 2 is used"):
    step, _ = restore_params(tmp_path, one_state(4).params)
  assert step == 2
  assert sorted(p.name for p in tmp_path.iterdir()) == ["2", "3"]


def test_parameters_of_an_empty_folder_are_none(tmp_path):
  params = one_state(3).params
  assert restore_params(tmp_path, params) is None
  assert restore_params(tmp_path / "missing", params) is None
  assert not (tmp_path / "missing").exists()


def offer(folder, scores, keep):
  best = BestPolicies(folder, keep, "eval/a")
  for step, score in scores.items():
    best.offer(step, one_state(step).params, {"eval/a": score, "loss": 1.0})
  best.close()


@pytest.mark.parametrize(
  ("scores", "kept"),
  [
    ({1: 0.3, 2: 0.5, 3: 0.1, 4: 0.4}, ["2", "4"]),
    # Equals and what is not a number do not displace.
    ({1: 0.5, 2: 0.5, 3: 0.5, 4: float("nan")}, ["1", "2"]),
    ({1: float("nan")}, []),
  ],
)
def test_the_best_policies_are_kept(tmp_path, scores, kept):
  offer(tmp_path, scores, keep=2)
  assert sorted(p.name for p in tmp_path.iterdir()) == kept


def test_the_best_policy_is_read_first(tmp_path):
  offer(tmp_path, {1: 0.3, 2: 0.5, 3: 0.1}, keep=3)
  # Another process goes on; what it knows of the scores is on disk.
  offer(tmp_path, {3: 0.1, 4: 0.4}, keep=3)
  assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2", "4"]
  step, params = restore_params(tmp_path, one_state(9).params)
  assert step == 2
  jax.tree.map(np.testing.assert_array_equal, params, one_state(2).params)


def test_a_best_policy_without_its_score_gives_way(tmp_path):
  offer(tmp_path, {1: 0.3, 2: 0.5}, keep=2)
  (tmp_path / "2" / "metrics" / "metrics").unlink()
  assert restore_params(tmp_path, one_state(9).params)[0] == 1
  offer(tmp_path, {3: 0.4, 4: 0.1}, keep=2)
  assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "3"]


def test_a_best_policy_whose_score_is_cut_short_is_removed(tmp_path):
  offer(tmp_path, {1: 0.3, 2: 0.5}, keep=2)
  (tmp_path / "2" / "metrics" / "metrics").write_bytes(b'{"sco')
  with pytest.raises(UserError, match="score of a policy there cannot be read"):
    restore_params(tmp_path, one_state(9).params)
  with pytest.warns(UserWarning, match="that policy is removed"):
    offer(tmp_path, {3: 0.4, 4: 0.1}, keep=2)
  assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "3"]


def test_no_best_policy_is_kept_unless_asked(tmp_path):
  offer(tmp_path / "best", {1: 0.3}, keep=0)
  assert not (tmp_path / "best").exists()


def test_a_metric_that_no_evaluation_gives_is_refused(tmp_path):
  best = BestPolicies(tmp_path, 1, "eval/b")
  with pytest.raises(UserError, match=r"'eval/b'.*one of eval/a$"):
    best.offer(1, one_state(1).params, {"eval/a": 0.5, "loss": 1.0})
  best.close()


def test_a_full_disk_keeps_what_was_saved_before(tmp_path):
  state = one_state(3)
  noise = np.random.default_rng(0).integers(0, 255, 400_000).astype(np.uint8)
  checkpoints = Checkpoints(tmp_path, keep=1)
  checkpoints.save(1, state, {"next": 1}, np.arange(1, dtype=np.uint8))
  checkpoints.close()
  checkpoints = Checkpoints(tmp_path, keep=1)
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
  try:
    checkpoints.save(2, state, {"next": 2}, noise)
    with pytest.raises(
      UserError, match=r"\(File too large\).*is kept"
    ) as error:
      checkpoints.close()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert error.value.status == WRITE_FAILED
  again = Checkpoints(tmp_path, keep=1)
  found = again.restore(one_state(4))
  assert found.step == 1
  again.close()


def test_a_full_disk_that_python_meets_has_the_same_words(
  tmp_path, monkeypatch
):
  def fail(*_, **__):
    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), "file")

  checkpoints = Checkpoints(tmp_path, keep=1)
  monkeypatch.setattr(ocp.CheckpointManager, "save", fail)
  with pytest.raises(UserError, match=r"written \(File too large\);"):
    checkpoints.save(1, one_state(3), {}, np.arange(1, dtype=np.uint8))
  checkpoints.close()


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
