"""The meshes of a run on a slice: one, or one that trains and one that samples.

They are those of `training.build.make_meshes`, of devices that are not there.
"""

from ml_collections import ConfigDict

from jaxrl_entropy import sharding
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.planning.roofline import hosts
from jaxrl_entropy.planning.sizes import Mesh
from jaxrl_entropy.planning.topology import Topology
from jaxrl_entropy.training import build


def plan_meshes(
  config: ConfigDict, topology: Topology
) -> tuple[Mesh, Mesh | None]:
  """Returns the axis sizes of the mesh that trains and of that which samples.

  Args:
    config: of the run.
    topology: the slice.

  Returns:
    The second is None where the same devices do both.

  Raises:
    UserError: if the run would refuse to split the slice so.
    ValueError: if the sizes do not fit the devices.
  """
  rollout, devices = config.rollout, topology.devices
  if not rollout.devices:
    build.check_turns(rollout, devices)
    return sharding.axis_sizes(devices, **config.mesh), None
  count = hosts(topology)
  share, rest = divmod(rollout.devices, count)
  training = devices // count - share
  if rest or training <= 0:
    raise UserError(
      f"config.rollout.devices is {rollout.devices}, and the {count} hosts of "
      f"{topology.name} have {devices // count} devices each: take equally "
      "many of each, and leave some"
    )
  if training % rollout.tensor:
    raise UserError(
      f"config.rollout.tensor is {rollout.tensor}, and the weights come from "
      f"the {training} training devices of a host: let it divide them"
    )
  return (
    sharding.axis_sizes(devices - rollout.devices, **config.mesh),
    sharding.axis_sizes(rollout.devices, data=-1, tensor=rollout.tensor),
  )
