"""The estimate of a run whose slice is split between training and sampling."""

import pytest

from jaxrl_entropy.config import defaults, finalize
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.planning import estimate, roofline, topology, workload

V5E = topology.parse("v5e-16")
ONE = dict.fromkeys(("data", "fsdp", "tensor", "context", "expert"), 1)
TRAINERS = ONE | {"fsdp": 4, "tensor": 2}
SAMPLERS = ONE | {"data": 4, "tensor": 2}
MODEL = preset("qwen2.5-0.5b")


def estimated(**rollout):
  config = defaults.get_config()
  config.rollout.update(devices=8, tensor=2, **rollout)
  config.eval.every = 4
  finalize(config)
  load = estimate.make_load(config)
  made = estimate.make(config, MODEL, V5E, TRAINERS, load, samplers=SAMPLERS)
  return made, load


@pytest.fixture(scope="module")
def overlapping():
  return estimated(max_staleness=1)


def test_each_phase_runs_on_its_own_mesh(overlapping):
  made, load = overlapping
  for mesh, names in (
    (TRAINERS, ("score", "update")),
    (SAMPLERS, ("prefill", "decode")),
  ):
    link = V5E.generation.link
    rates = roofline.Machine(
      V5E.generation.flops,
      V5E.generation.bandwidth,
      dict.fromkeys(mesh, link),
      roofline.HOP,
    )
    alone = roofline.phases(MODEL, load, mesh, rates)
    for name in names:
      assert made.least.phases[name] == alone[name]
  assert made.least.transfer > 0


def test_they_overlap_if_tokens_may_be_stale(overlapping):
  step = overlapping[0].expected
  longest = max(step.sampling, step.training)
  assert step.seconds == pytest.approx(longest + step.transfer)
  in_turn = estimated(max_staleness=0)[0].expected
  total = in_turn.sampling + in_turn.training + in_turn.transfer
  assert in_turn.seconds == pytest.approx(total)


def test_memory_is_that_of_each_mesh(overlapping):
  made, load = overlapping
  trains, samples = (
    workload.resident(MODEL, load, mesh) for mesh in (TRAINERS, SAMPLERS)
  )
  state = trains["parameters and moments"]
  assert made.peaks == {
    "training": state + trains["gradient"],
    # While the sampler goes on, the devices that train evaluate.
    "evaluation": state + trains["sampler copy"] + trains["cache"],
    "sampling": samples["sampler copy"] + samples["cache"],
  }
  assert "evaluation" not in estimated(max_staleness=0)[0].peaks
  text = "\n".join(estimate.to_lines(made))
  assert "two meshes: " in text
  assert "two halves" not in text
  assert estimate.to_json(made)["samplers"] == SAMPLERS
