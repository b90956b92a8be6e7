"""The device mesh, and where each array lives on it.

Axes, always all five, of size 1 where unused:

* `data`: replicas of the parameters; rows of a batch are split over it.
* `fsdp`: parameters and optimizer state are split over it, and so are rows.
* `tensor`: heads, MLP columns, experts and vocabulary are split over it.
* `context`: the tokens of a row are split over it.
* `expert`: experts are split over it, and rows; to all other parameters it is
  more of `fsdp`.

All axes are Auto: XLA's partitioner propagates from the annotations made here.
"""

from collections.abc import Mapping, Sequence
import math
import re
from typing import Any

import jax
from jax.experimental import mesh_utils
from jax.sharding import (
  AbstractMesh,
  AxisType,
  Mesh,
  NamedSharding,
  PartitionSpec as P,
)
import numpy as np

AXES = ("data", "fsdp", "tensor", "context", "expert")
ROWS = ("data", "fsdp", "expert")
TOKENS = (*ROWS, "context")
WEIGHTS = ("fsdp", "expert")
EXPERTS = ("expert", "tensor")

# The first pattern found in a parameter's path decides. Matrices are stored
# [in, out], stacked over layers on a leading axis.
PARAM_RULES: tuple[tuple[str, P], ...] = (
  (r"embed/embedding$", P("tensor", WEIGHTS)),
  (r"lm_head/kernel$", P(WEIGHTS, "tensor")),
  (r"experts/\w+_proj/kernel$", P(None, EXPERTS, "fsdp")),
  (r"experts/\w+_proj/", P(None, EXPERTS)),
  (
    r"layers/.*(q_proj|k_proj|v_proj|gate_proj|up_proj)/kernel$",
    P(None, WEIGHTS, "tensor"),
  ),
  (r"layers/.*(o_proj|down_proj)/kernel$", P(None, "tensor", WEIGHTS)),
  (r"layers/.*(q_proj|k_proj|v_proj)/bias$", P(None, "tensor")),
)


def axis_sizes(devices: int, **sizes: int) -> dict[str, int]:
  """Returns the size of every mesh axis; one may be -1, the remainder.

  Args:
    devices: how many there are.
    **sizes: of axes by name; 1 for those left out.

  Raises:
    ValueError: if the sizes do not multiply to the number of devices.
  """
  filled = dict.fromkeys(AXES, 1) | sizes
  known = math.prod(size for size in filled.values() if size != -1)
  if known > 0 and devices % known == 0:
    rest = devices // known
    filled = {a: rest if s == -1 else s for a, s in filled.items()}
  if math.prod(filled.values()) != devices or min(filled.values()) < 1:
    named = ", ".join(f"{a}={s}" for a, s in filled.items())
    raise ValueError(
      f"mesh ({named}) does not cover {devices} devices: the sizes must "
      "multiply to that number; set one of them to -1 to fill it in"
    )
  return filled


def make_mesh(
  data: int = 1,
  fsdp: int = 1,
  tensor: int = 1,
  context: int = 1,
  expert: int = 1,
  devices: Sequence[jax.Device] | None = None,
) -> Mesh:
  """Returns a mesh of the given axis sizes; one may be -1, the remainder.

  Args:
    data: parts of the batch, with a copy of the parameters each.
    fsdp: parts of the batch, the parameters and their moments.
    tensor: parts of heads, MLP columns and vocabulary.
    context: parts of a row's tokens.
    expert: parts of the experts of each layer.
    devices: to lay out; by default all of them.

  Raises:
    ValueError: if the sizes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  sizes = axis_sizes(
    len(devices),
    data=data,
    fsdp=fsdp,
    tensor=tensor,
    context=context,
    expert=expert,
  )
  return Mesh(_placed(sizes, devices), AXES, (AxisType.Auto,) * len(AXES))


def split_devices(count: int) -> tuple[list[jax.Device], list[jax.Device]]:
  """Splits the job's devices in two parts, the second of `count` devices.

  It has the last devices of each process, equally many.

  Raises:
    ValueError: if one part would be empty, or the processes unequal.
  """
  share, rest = divmod(count, jax.process_count())
  local = [
    [d for d in jax.devices() if d.process_index == process]
    for process in range(jax.process_count())
  ]
  if rest or not 0 < share < min(map(len, local)):
    raise ValueError(
      f"{count} devices cannot be taken from {jax.process_count()} processes "
      f"of {min(map(len, local))} devices each: take equally many of each, and "
      "leave some"
    )
  first = [device for own in local for device in own[:-share]]
  return first, [device for own in local for device in own[-share:]]


def mesh_of_part(devices: Sequence[jax.Device], **sizes: int) -> Mesh:
  """Returns a mesh of some of the devices, in their order.

  A part of a TPU slice has no torus that `make_mesh` could follow.

  Args:
    devices: those of the mesh, such as one list of `split_devices`.
    **sizes: size of each axis by its name in `AXES`; axes left out have size 1,
      and one may be -1, the remainder.

  Raises:
    ValueError: if the sizes do not multiply to the number of devices.
  """
  shape = tuple(axis_sizes(len(devices), **sizes).values())
  placed = np.reshape(np.array(devices), shape)
  return Mesh(placed, AXES, (AxisType.Auto,) * len(AXES))


def _placed(
  sizes: Mapping[str, int], devices: Sequence[jax.Device]
) -> np.ndarray:
  """Returns the devices in the mesh's shape; only data crosses slices.

  Unlike jax.make_mesh it may cut an axis of a slice's torus in parts, so that
  every shape that covers the slice is one that runs.
  """
  slices = len({getattr(device, "slice_index", 0) for device in devices})
  shape = tuple(sizes.values())
  if slices == 1:
    return mesh_utils.create_device_mesh(
      shape, devices, allow_split_physical_axes=True
    )
  if sizes["data"] % slices:
    raise ValueError(
      f"mesh.data is {sizes['data']} on {slices} slices: make it a multiple, "
      "as no other axis may leave a slice"
    )
  return mesh_utils.create_hybrid_device_mesh(
    (sizes["data"] // slices, *shape[1:]),
    (slices, *(1,) * (len(shape) - 1)),
    devices,
    allow_split_physical_axes=True,
  )


def platform() -> str:
  """Returns the platform a program is compiled for: "cpu", "gpu" or "tpu".

  It is that of the ambient mesh, whose machine need not be this one, or else
  JAX's default.
  """
  device = jax.sharding.get_abstract_mesh().abstract_device
  return jax.default_backend() if device is None else device.platform


def path_name(path: tuple[Any, ...]) -> str:
  """Returns `layers/mlp/up_proj/kernel` for a key path of jax.tree_util."""
  return jax.tree_util.keystr(path, simple=True, separator="/")


def param_spec(name: str, ndim: int) -> P:
  """Returns the spec of a parameter by its path; replicated by default.

  Args:
    name: path of the parameter, as `path_name` writes it.
    ndim: number of its dimensions.
  """
  for pattern, spec in PARAM_RULES:
    if re.search(pattern, name) and len(spec) <= ndim:
      return spec
  return P()


def fitting(spec: P, shape: Sequence[int], mesh: Mesh | AbstractMesh) -> P:
  """Returns `spec` without the axes that do not divide their dimension.

  Of several axes of one dimension the first ones stay that divide it.

  Args:
    spec: of an array.
    shape: of the array.
    mesh: whose axes the spec names.
  """

  def keep(axis: Any, size: int) -> Any:
    if axis is None:
      return None
    names = axis if isinstance(axis, tuple) else (axis,)
    while names and size % math.prod(mesh.shape[name] for name in names):
      names = names[:-1]
    if not names:
      return None
    return names if isinstance(axis, tuple) else axis

  return P(*(keep(a, s) for a, s in zip(spec, shape, strict=False)))


def param_shardings(params: Any, mesh: Mesh) -> Any:
  """Returns a tree of NamedSharding like `params` (arrays or shapes).

  It also serves optimizer states, whose moments end in their parameter's path.

  Args:
    params: a tree of arrays or shapes.
    mesh: to lay it out on.
  """

  def sharding(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
    spec = param_spec(path_name(path), leaf.ndim)
    return NamedSharding(mesh, fitting(spec, leaf.shape, mesh))

  return jax.tree_util.tree_map_with_path(sharding, params)


def row_parts(mesh: Mesh) -> int:
  """Returns into how many shards the mesh splits rows."""
  return math.prod(mesh.shape[axis] for axis in ROWS)


def row_sharding(mesh: Mesh, leading: int = 0) -> NamedSharding:
  """Returns the sharding of rows, behind `leading` unsplit axes.

  Args:
    mesh: to lay rows out on.
    leading: number of axes before that of the rows.
  """
  return NamedSharding(mesh, P(*(None,) * leading, ROWS))


def replicated(mesh: Mesh) -> NamedSharding:
  """Returns the sharding with a whole copy on every device of `mesh`."""
  return NamedSharding(mesh, P())


def single_device() -> bool:
  """Whether the ambient mesh splits nothing, or there is none."""
  mesh = jax.sharding.get_abstract_mesh()
  return mesh.empty or mesh.size == 1


def token_parts() -> int:
  """Returns into how many shards the ambient mesh splits a batch's tokens."""
  shape = jax.sharding.get_abstract_mesh().shape
  return math.prod(shape.get(axis, 1) for axis in TOKENS)


def constrain(x: jax.Array, *axes: Any) -> jax.Array:
  """Applies a sharding constraint inside jit, if a mesh is set.

  The mesh is the ambient one (`with jax.set_mesh(mesh):`). Axes that do not
  divide their dimension are left out.

  Args:
    x: an array.
    *axes: mesh axes of each dimension: a name, a tuple of names, or None.
  """
  if single_device():
    return x
  mesh = jax.sharding.get_abstract_mesh()
  return jax.lax.with_sharding_constraint(x, fitting(P(*axes), x.shape, mesh))
