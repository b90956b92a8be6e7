"""Weights arrive on the sampler's devices as they were."""

import jax
import numpy as np
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.models import config as config_lib, transformer
from jaxrl_entropy.sampling.sampler import Sampler
from jaxrl_entropy.sampling.tuning import Tuning
from tests import devices

CONFIG = config_lib.preset(
  "tiny",
  hidden_size=32,
  intermediate_size=64,
  num_layers=2,
  head_dim=8,
  vocab_size=50,
)
# Sizes of data, fsdp and tensor of the mesh that trains; tensor of the other.
MESHES = [((4, 1, 1), 1), ((1, 4, 1), 2), ((1, 2, 2), 4), ((2, 1, 2), 1)]
SMALL = Tuning(page_size=8, chunk=8, prefill_tokens=16, steps=5, min_bucket=1)


def init():
  return transformer.init(CONFIG, jax.random.key(0))


def on_other_devices():
  """Whether each mesh's copies equal a conversion on the target itself."""
  trainers, samplers = sharding.split_devices(4)
  answers = []
  for sizes, tensor in MESHES:
    source = sharding.mesh_of_part(
      trainers, **dict(zip(sharding.AXES, sizes, strict=False))
    )
    target = sharding.mesh_of_part(samplers, data=-1, tensor=tensor)
    shardings = sharding.param_shardings(jax.eval_shape(init), source)
    params = jax.jit(init, out_shardings=shardings)()
    sampler = Sampler(CONFIG, target, slots=4, max_length=16, tuning=SMALL)
    with jax.set_mesh(source):
      found = sampler.copy_weights(params)
    moved = sampler.metrics()["throughput/transfer_bytes"]
    expected = sampler.copy_weights(jax.tree.map(np.asarray, params))
    leaves = zip(*map(jax.tree.leaves, (found, expected)), strict=True)
    answers.append(
      all(a.sharding == b.sharding and np.array_equal(a, b) for a, b in leaves)
      and moved
      == sum(
        shard.data.nbytes
        for leaf in jax.tree.leaves(expected)
        for shard in leaf.addressable_shards
      )
    )
  return answers


def test_weights_are_equal_on_another_mesh():
  assert devices.run(on_other_devices) == [True] * len(MESHES)


def too_few():
  trainers, samplers = sharding.split_devices(6)
  source = sharding.mesh_of_part(trainers, fsdp=-1)
  target = sharding.mesh_of_part(samplers, data=-1, tensor=3)
  params = jax.device_put(init(), sharding.replicated(source))
  with pytest.raises(ValueError, match="no multiple"):
    Sampler(CONFIG, target, slots=4, max_length=16).copy_weights(params)


def test_devices_that_cannot_hold_the_shards_are_refused():
  devices.run(too_few)
