"""The meshes that a run would have, of devices that are not there."""

import pytest

from jaxrl_entropy.config import defaults
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.planning import topology
from jaxrl_entropy.planning.meshes import plan_meshes

V5E = topology.parse("v5e-16")  # 4 hosts of 4
ONE = dict.fromkeys(("data", "fsdp", "tensor", "context", "expert"), 1)


def planned(mesh, **rollout):
  config = defaults.get_config()
  config.mesh.update(mesh)
  config.rollout.update(rollout)
  return plan_meshes(config, V5E)


def test_a_slice_is_one_mesh_or_two():
  one = ONE | {"fsdp": 4, "tensor": 4}
  assert planned({"fsdp": 4, "tensor": 4}) == (one, None)
  trainers, samplers = planned({"fsdp": -1, "tensor": 2}, devices=8, tensor=2)
  assert trainers == ONE | {"fsdp": 4, "tensor": 2}
  assert samplers == ONE | {"data": 4, "tensor": 2}


@pytest.mark.parametrize(
  ("rollout", "message"),
  [
    ({"devices": 6}, "4 hosts of v5e-16 have 4 devices each"),
    ({"devices": 16}, "leave some"),
    ({"devices": 8, "tensor": 4}, "the 2 training devices of a host"),
    ({"max_staleness": 1}, "set rollout.devices"),
  ],
)
def test_what_a_run_would_refuse_is_refused(rollout, message):
  with pytest.raises(UserError, match=message):
    planned({"fsdp": -1}, **rollout)


def test_a_mesh_covers_the_devices_that_train():
  with pytest.raises(ValueError, match="does not cover 8 devices"):
    planned({"fsdp": 16}, devices=8)
