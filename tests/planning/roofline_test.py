import dataclasses

import pytest

from jaxrl_entropy.planning import roofline, topology
from jaxrl_entropy.planning.roofline import Machine, Phase, Step
from jaxrl_entropy.planning.work import Work

MESH = {"data": 1, "fsdp": 4, "tensor": 2, "context": 1}
RATES = Machine(10.0, 5.0, {"fsdp": 2.0, "tensor": 4.0}, hop=0.5)


def test_a_phase_takes_its_slowest_resource_and_what_blocks():
  work = Work(
    flops=20.0,
    memory=15.0,
    hidden={"fsdp": 2.0},
    blocking={"tensor": 8.0},
    waits={"tensor": 3},
  )
  found = roofline.phase(work, MESH, RATES)
  # Three exchanges of two messages, one hop each.
  assert found == Phase(flops=2.0, memory=3.0, hidden=1.0, blocking=2.0 + 3.0)
  assert found.seconds == 3.0 + 5.0
  assert found.limit == "blocking"


def test_traffic_fetched_ahead_takes_the_busiest_axis():
  work = Work(hidden={"fsdp": 8.0, "tensor": 4.0})
  assert roofline.phase(work, MESH, RATES).seconds == 4.0


def test_axes_of_one_device_need_no_link():
  assert roofline.phase(Work(hidden={"data": 0.0}), MESH, RATES).seconds == 0


def test_a_share_of_the_peaks_takes_longer():
  half = RATES.at(roofline.Shares(0.5, 0.5, 0.5))
  work = Work(flops=20.0, blocking={"tensor": 8.0})
  assert roofline.phase(work, MESH, half).seconds == 4.0 + 4.0


def test_halves_overlap_and_wait_for_the_slower_and_the_weights():
  phases = dict.fromkeys(("prefill", "decode", "score", "update"), Phase(1.0))
  phases |= {"verify": Phase(host=0.5), "transfer": Phase(blocking=0.25)}
  together = Step(phases)
  assert together.seconds == 2.0 + 0.5 + 2.0 + 0.25
  apart = dataclasses.replace(together, overlap=True)
  assert apart.seconds == 2.0 + 0.25


@pytest.mark.parametrize(
  ("name", "mesh", "rings"),
  [
    # Sides of 4 end; of 16 they close; cubes of 4 close, flat slices do not.
    ("v5e-16", {"fsdp": 4, "tensor": 4}, {"fsdp": 1, "tensor": 1}),
    ("v5e-256", {"fsdp": 16, "tensor": 16}, {"fsdp": 2, "tensor": 2}),
    ("v5p-256", {"fsdp": 16, "tensor": 8}, {"fsdp": 4, "tensor": 2}),
    ("v5p-32", {"fsdp": 4, "tensor": 4}, {"fsdp": 1, "tensor": 2}),
    # A side of 8 is cut: 2 x 4, and the 2 join the other side.
    ("v5e-64", {"fsdp": 16, "tensor": 4}, {"fsdp": 2, "tensor": 1}),
    ("v5p-128", {"fsdp": 8, "tensor": 8}, {"fsdp": 3, "tensor": 3}),
  ],
)
def test_links_of_an_axis_by_the_sides_it_is_laid_over(name, mesh, rings):
  slice_ = topology.parse(name)
  mesh = {"data": 1} | mesh | {"context": 1}
  for axis, count in rings.items():
    rate = slice_.link_rate(mesh, axis)
    assert rate == count * slice_.generation.link, axis


def test_half_of_a_slice_and_of_its_mesh():
  half, mesh = roofline.halves(topology.parse("v5p-256"), MESH)
  assert half.compiler_name == "v5p:4x4x4"
  assert mesh == MESH | {"fsdp": 2}
  one = dict.fromkeys(MESH, 1) | {"tensor": 4}
  assert roofline.halves(topology.parse("v5e-4"), one) is None
