import math

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import pytest

from jaxrl_entropy.planning import hlo
from tests import devices

MESH = {"data": 2, "fsdp": 2, "tensor": 2}


def _compiled_text(case):
  mesh = jax.make_mesh(
    tuple(MESH.values()), tuple(MESH), (AxisType.Auto,) * len(MESH)
  )

  def array(*shape, spec):
    return jax.ShapeDtypeStruct(
      shape, jnp.float32, sharding=NamedSharding(mesh, spec)
    )

  def put(x, spec):
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))

  x = array(64, 32, spec=P("data", "tensor"))
  w = array(32, 16, spec=P("tensor", None))
  function, *args = {
    "reduce": (lambda x, w: put(x @ w, P("data")), x, w),
    "gather": (lambda x: put(x, P(None, "tensor")), x),
    "loop": (
      lambda w: jax.lax.scan(
        lambda c, _: (put(jnp.tanh(put(c, P("fsdp")) * 2), P()), None),
        jnp.ones((32, 16)) + w.sum(),
        None,
        length=6,
      )[0],
      w,
    ),
    "local": (lambda x: x * 2, x),
  }[case]
  return jax.jit(function).lower(*args).compile().as_text()


def _find(case):
  return hlo.collectives(devices.run(_compiled_text, case), MESH)


def test_reduction_of_a_contracted_axis():
  (found,) = _find("reduce")
  assert (found.kind, found.axes) == ("all-reduce", ("tensor",))
  assert found.shape == (32, 16)
  assert found.total == 2 * 0.5 * 32 * 16 * 4


def test_gather_of_rows():
  (found,) = _find("gather")
  assert (found.kind, found.axes) == ("all-gather", ("data",))
  assert found.total == 0.5 * 64 * 16 * 4


def test_collectives_in_a_loop_count_its_trips():
  gathers = [c for c in _find("loop") if c.kind == "all-gather"]
  assert sum(c.count for c in gathers) == 6


def test_no_talk_in_a_local_program():
  assert _find("local") == []


LOOP = """HloModule m

%cond (p: (s32[], f32[8])) -> pred[] {
  %bound = s32[]{:T(128)} constant(12)
  ROOT %lt = pred[] compare(%i, %bound), direction=LT
}

%fused (p: f32[8]) -> f32[8] {
  ROOT %ar = f32[8]{0} all-reduce(%p), replica_groups=GROUPS, to_apply=%add
}

%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %f = f32[8]{0} fusion(%x), kind=kCustom, calls=%fused
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %w = (s32[], f32[8]{0}) while(%t), condition=%cond, body=%body
  %s = (bf16[4]{0}, bf16[8]{0}) all-gather-start(%y), replica_groups=GROUPS
  %p = (f32[8], f32[8]) collective-permute-start(%y), PAIRS
}
"""


@pytest.mark.parametrize(
  ("groups", "axes"),
  [
    ("{{0,1},{2,3},{4,5},{6,7}}", ("tensor",)),
    ("[4,2]<=[8]", ("tensor",)),
    ("[4,2]<=[2,2,2]T(1,2,0)", ("data",)),
    ("[4,2]<=[4,2]T(0,1)", ("tensor",)),
    ("[2,4]<=[2,2,2]T(1,0,2)", ("data", "tensor")),
    ("mesh['axis_0'=4,'axis_1'=2] {'axis_1'}", ("tensor",)),
    ("mesh['a'=2,'b'=2,'c'=2] {'b','a'}", ("data", "fsdp")),
    ("{}", ("data", "fsdp", "tensor")),
  ],
)
def test_groups_axes_trips_and_asynchronous_results(groups, axes):
  text = LOOP.replace("GROUPS", groups)
  text = text.replace("PAIRS", "source_target_pairs={{0,4},{4,0}}")
  found = hlo.collectives(text, MESH)
  by_kind = {c.kind: c for c in found}
  assert by_kind["all-reduce"].count == 12
  assert by_kind["all-reduce"].axes == axes
  share = 1 - 1 / math.prod(MESH[axis] for axis in axes)
  assert by_kind["all-gather"].bytes == pytest.approx(8 * 2 * share)
  assert by_kind["collective-permute"].bytes == 8 * 4
  assert by_kind["collective-permute"].axes == ("data",)


def test_an_asynchronous_collective_in_two_fusions_is_one():
  gather = "= f32[8]{0} all-gather(%p), channel_id=7, replica_groups=[1,8]<=[8]"
  text = f"""%first (p: f32[1]) -> f32[8] {{
  %a {gather}
}}

%second (p: f32[1]) -> f32[8] {{
  %b {gather}
  %c {gather.replace("=7", "=8")}
}}

ENTRY %main (x: f32[1]) -> f32[8] {{
  %d = f32[8]{{0}} fusion(%x), kind=kCustom, calls=%first
  %e = f32[8]{{0}} fusion(%x), kind=kCustom, calls=%second
}}
"""
  assert len(hlo.collectives(text, MESH)) == 2


def test_collectives_of_one_place_may_share_a_channel():
  gather = "= f32[8]{0} all-gather(%p), channel_id=1, replica_groups=[1,8]<=[8]"
  text = f"""ENTRY %main (x: f32[1]) -> f32[8] {{
  %a {gather}
  %b {gather}
}}
"""
  assert len(hlo.collectives(text, MESH)) == 2
