import itertools
import types

import jax
from jax.sharding import PartitionSpec as P
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.sharding import WEIGHTS
from tests import devices


@pytest.mark.parametrize(
  ("given", "filled"),
  [
    ({}, None),
    ({"fsdp": -1}, (1, 8, 1, 1, 1)),
    ({"data": 2, "fsdp": -1, "context": 2}, (2, 2, 1, 2, 1)),
    ({"tensor": 3, "fsdp": -1}, None),
    ({"data": 0, "fsdp": -1}, None),
    ({"data": -1, "fsdp": -1}, None),
  ],
)
def test_sizes_cover_the_devices_or_are_refused(given, filled):
  if filled is None:
    with pytest.raises(ValueError, match="does not cover 8 devices"):
      sharding.axis_sizes(8, **given)
  else:
    assert tuple(sharding.axis_sizes(8, **given).values()) == filled


def chips(shape, slices=1):
  """What `make_mesh` reads of the devices of TPU slices."""
  places = itertools.product(range(slices), *map(range, reversed(shape)))
  return [
    types.SimpleNamespace(
      platform="tpu",
      device_kind="TPU v5p",
      id=i,
      process_index=i // 4,
      slice_index=place[0],
      coords=place[:0:-1],
      core_on_chip=0,
    )
    for i, place in enumerate(places)
  ]


@pytest.mark.parametrize(
  "sizes",
  [(1, 8, 2, 2, 1), (1, 16, 2, 1, 1), (2, 2, 2, 1, 4), (32, 1, 1, 1, 1)],
)
def test_every_shape_that_covers_a_slice_can_be_made(sizes):
  slice_ = chips((2, 4, 4))
  placed = sharding._placed(
    dict(zip(sharding.AXES, sizes, strict=True)), slice_
  )
  assert placed.shape == sizes
  assert sorted(device.id for device in placed.flat) == list(range(32))


def test_only_the_data_axis_leaves_a_slice():
  two = chips((2, 2, 4), slices=2)
  sizes = {"data": 4, "fsdp": 2, "tensor": 2, "context": 1, "expert": 2}
  placed = sharding._placed(sizes, two)
  for part, index in ((placed[:2], 0), (placed[2:], 1)):
    assert {device.slice_index for device in part.flat} == {index}
  with pytest.raises(ValueError, match=r"mesh.data is 1 on 2 slices"):
    sharding._placed(sizes | {"data": 1, "fsdp": 8}, two)


@pytest.mark.parametrize(
  ("name", "ndim", "spec"),
  [
    ("params/embed/embedding", 2, P("tensor", WEIGHTS)),
    ("lm_head/kernel", 2, P(WEIGHTS, "tensor")),
    ("layers/attention/q_proj/kernel", 3, P(None, WEIGHTS, "tensor")),
    (
      "layers/mlp/experts/up_proj/kernel",
      4,
      P(None, ("expert", "tensor"), "fsdp"),
    ),
    (
      "opt_state/0/mu/layers/mlp/down_proj/kernel",
      3,
      P(None, "tensor", WEIGHTS),
    ),
    ("layers/attention/v_proj/bias", 2, P(None, "tensor")),
    ("layers/input_norm/scale", 2, P()),
    ("opt_state/0/count", 0, P()),
  ],
)
def test_a_path_decides_where_a_parameter_lives(name, ndim, spec):
  assert sharding.param_spec(name, ndim) == spec


def _specs():
  mesh = sharding.make_mesh(2, 2, 2)
  shapes = ((4, 8), (3, 8), (4, 7))
  rows = P(sharding.ROWS, "tensor")
  with jax.set_mesh(mesh):
    put = jax.jit(lambda x: sharding.constrain(x, *rows))
    constrained = put(jax.numpy.zeros((4, 8))).sharding.spec
  fitted = [sharding.fitting(rows, shape, mesh) for shape in shapes]
  return [*map(tuple, fitted), tuple(constrained)]


def test_axes_that_do_not_divide_are_left_out():
  rows = sharding.ROWS
  assert devices.run(_specs) == [
    (rows, "tensor"),
    (None, "tensor"),
    (rows, None),
    (("data", "fsdp"), "tensor"),  # JAX drops axes of size 1.
  ]


def test_without_a_mesh_nothing_is_constrained():
  x = jax.numpy.zeros((4, 8))
  assert sharding.constrain(x, "data") is x
