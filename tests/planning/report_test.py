import json

import pytest

from jaxrl_entropy import defaults
from jaxrl_entropy.planning import advice, report, topology
from jaxrl_entropy.planning.compiling import Result
from jaxrl_entropy.planning.report import Plan
from jaxrl_entropy.planning.topology import GIB

V5E = topology.parse("v5e-16")
HBM = V5E.generation.hbm
MESH = {"data": 1, "fsdp": 4, "tensor": 4, "context": 1}
STATE = {"parameters": 2 * GIB, "optimizer moments": 3 * GIB}
SAMPLER = {"sampler copy": 2 * GIB, "KV cache": 4 * GIB}


def _plan(train=8.0, decode=7.0, status="ok"):
  size = {name: x and x * GIB for name, x in (("t", train), ("d", decode))}
  results = {
    "train": Result(status, STATE, needed=size["t"], flops=197e12),
    "prefill": Result("ok", SAMPLER, needed=size["d"]),
    "decode": Result("ok", SAMPLER, needed=size["d"], temporaries=GIB),
  }
  return Plan("configs/mine.py", V5E, MESH, results)


@pytest.mark.parametrize(
  ("train", "decode", "verdict", "status"),
  [
    (8, 7, "FITS", 0),
    (15, 7, "TIGHT", 0),
    (16, 7, "DOES NOT FIT", 1),
    (8, 10, "TIGHT", 0),
    (8, 11, "DOES NOT FIT", 1),
    (None, 7, None, 3),
    (None, 11, "DOES NOT FIT", 1),
  ],
)
def test_verdict_counts_what_is_resident_together(
  train, decode, verdict, status
):
  plan = _plan(train, decode)
  assert (plan.verdict, plan.status) == (verdict, status)


def test_bound_is_the_slower_of_arithmetic_and_memory():
  assert report.bound(Result("ok", flops=197e12), V5E) == 1.0
  assert report.bound(Result("ok", flops=1, traffic=2 * 819e9), V5E) == 2.0


def test_text_names_roles_verdicts_and_that_it_is_a_bound():
  text = report.to_text(_plan(16))
  assert "DOES NOT FIT  train: peak 16.00 GiB" in text
  assert "3.00 GiB  optimizer moments" in text
  assert "FITS          sampling beside it: 12.00 GiB" in text
  assert "not a prediction" in text


def test_text_without_a_compiler_never_says_fits():
  roles = {"train": STATE, "prefill": SAMPLER, "decode": SAMPLER}
  results = {name: Result("not compiled", roles[name]) for name in roles}
  plan = Plan("configs/mine.py", V5E, MESH, results)
  assert "FITS" not in report.to_text(plan)
  assert "pip install libtpu" in report.to_text(plan)
  assert plan.status == 3


def test_json_holds_the_same():
  found = json.loads(json.dumps(report.to_json(_plan(16))))
  assert found["verdict"] == "DOES NOT FIT"
  assert found["programs"]["train"]["verdict"] == "DOES NOT FIT"
  assert found["programs"]["train"]["bound_seconds"] == 1.0
  assert found["phases"]["sampling beside it"] == 12 * GIB


@pytest.fixture
def config():
  config = defaults.get_config()
  config.rollout.update(groups=32, responses=8, slots=64)
  config.rollout.update(max_prompt_length=1024, max_response_length=1024)
  config.optimizer.update(updates=2, micro_batches=4)
  return config


def _advise(plan, config, fits):
  """The advice, and the settings that were compiled for it."""
  tried = []

  def compile_with(overrides):
    tried.append(dict(overrides))
    if fits(tried[-1]):
      return Result("ok", needed=GIB)
    return Result("out of memory")

  return list(advice.advise(plan, config, compile_with)), tried


def test_advice_doubles_micro_batches_until_it_fits(config):
  (line,), tried = _advise(
    _plan(16), config, lambda x: x["optimizer.micro_batches"] == "16"
  )
  assert [x["optimizer.micro_batches"] for x in tried] == ["8", "16"]
  assert "--config.optimizer.micro_batches=16" in line


def test_advice_widens_tensor_when_micro_batches_do_not_help(config):
  (line,), tried = _advise(_plan(16), config, lambda x: "mesh.tensor" in x)
  # 128 responses of a mini-batch on 4 parts: 32 micro-batches at most.
  assert [x["optimizer.micro_batches"] for x in tried] == [
    "8",
    "16",
    "32",
    "64",
  ]
  assert "--config.mesh.fsdp=2 --config.mesh.tensor=8" in line


def test_advice_says_when_nothing_fits(config):
  (line,), tried = _advise(_plan(16), config, lambda x: False)
  assert len(tried) == 5
  assert "any of 5 other settings" in line


def test_advice_on_the_cache_leaves_room(config):
  (line,), tried = _advise(_plan(8, 11), config, lambda x: False)
  assert tried == []
  tokens = int(line.rpartition("=")[2])
  # 16 GiB are needed; the cache gives up what is over.
  room = 4 * GIB - (16 * GIB - report.TIGHT_FROM * HBM)
  assert tokens == int(64 * 2048 * room / (4 * GIB))


def test_advice_when_the_cache_cannot_help(config):
  (line,), _ = _advise(_plan(8, 20), config, lambda x: False)
  assert "wider tensor axis" in line
