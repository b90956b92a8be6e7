import dataclasses
import json

import pytest

from jaxrl_entropy.config import defaults, finalize
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.planning import advice, estimate, report, topology
from jaxrl_entropy.planning.compiling import Result
from jaxrl_entropy.planning.report import Plan
from jaxrl_entropy.planning.topology import GIB

V5E = topology.parse("v5e-16")
HBM = V5E.generation.hbm
MESH = {"data": 1, "fsdp": 4, "tensor": 4, "context": 1, "expert": 1}
STATE = {"parameters": 2 * GIB, "optimizer moments": 3 * GIB}
SAMPLER = {"sampler copy": 2 * GIB, "KV cache": 4 * GIB}


def _estimate():
  config = defaults.get_config()
  finalize(config)
  model, load = preset("qwen2.5-0.5b"), estimate.make_load(config)
  return estimate.make(config, model, V5E, MESH, load)


ESTIMATE = _estimate()


def _plan(train=8.0, decode=7.0, status="ok"):
  size = {name: x and x * GIB for name, x in (("t", train), ("d", decode))}
  results = {
    "train": Result(status, STATE, needed=size["t"], flops=197e12),
    "prefill": Result("ok", SAMPLER, needed=size["d"]),
    "decode": Result("ok", SAMPLER, needed=size["d"], temporaries=GIB),
  }
  return Plan("configs/mine.py", V5E, MESH, results, ESTIMATE)


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
    (8, None, None, 3),
  ],
)
def test_verdict_counts_what_is_resident_together(
  train, decode, verdict, status
):
  plan = _plan(train, decode)
  assert (plan.verdict, plan.status) == (verdict, status)


def test_a_program_out_of_memory_does_not_fit_whatever_its_size():
  plan = _plan(8, None)
  decode = Result("out of memory", SAMPLER)
  plan = dataclasses.replace(plan, results=plan.results | {"decode": decode})
  assert (plan.verdict, plan.status) == ("DOES NOT FIT", 1)


def test_bound_is_the_slower_of_arithmetic_and_memory():
  assert report.bound(Result("ok", flops=197e12), V5E) == 1.0
  assert report.bound(Result("ok", flops=1, traffic=2 * 819e9), V5E) == 2.0


def test_what_is_sent_is_compared_with_the_least():
  sent = [{"bytes": 2 * GIB}, {"bytes": GIB}]
  train = Result("ok", STATE, collectives=sent, least={"fsdp": 2.0 * GIB})
  assert report.excess(train) == 1.5
  assert report.excess(Result("ok", STATE, least=train.least)) is None
  assert report.excess(Result("ok", STATE, collectives=sent)) is None


def test_text_names_roles_verdicts_and_that_it_is_a_bound():
  text = report.to_text(_plan(16))
  assert "DOES NOT FIT  train: peak 16.00 GiB" in text
  assert "3.00 GiB  optimizer moments" in text
  assert "FITS          sampling beside it: 12.00 GiB" in text
  assert "not a prediction" in text


def test_text_without_a_compiler_never_says_fits():
  roles = {"train": STATE, "prefill": SAMPLER, "decode": SAMPLER}
  results = {name: Result("not compiled", roles[name]) for name in roles}
  plan = Plan("configs/mine.py", V5E, MESH, results, ESTIMATE)
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
  config.rollout.update(train_groups=32, group_size=8, slots=64)
  config.rollout.update(max_prompt_length=1024, max_response_length=1024)
  config.rollout.num_minibatches = 2
  config.optimizer.micro_batches = 4
  return config


def _advise(plan, config, needed):
  """The advice, and the settings of the train step, of decoding compiled.

  `needed(program, settings)` in GiB; None: out of memory.
  """
  tried = {"train": [], "prefill": [], "decode": []}

  def compile_with(program, overrides):
    if not overrides:
      return plan.results[program]
    tried[program].append(dict(overrides))
    size = needed(program, tried[program][-1])
    roles = STATE if program == "train" else SAMPLER
    if size is None:
      return Result("out of memory", roles)
    return Result("ok", roles, needed=size * GIB)

  return advice.advise(plan, config, compile_with), tried


def test_advice_doubles_micro_batches_until_it_fits(config):
  def needed(program, settings):
    return 8 if settings["optimizer.micro_batches"] == "16" else None

  line, tried = _advise(_plan(16), config, needed)
  assert [x["optimizer.micro_batches"] for x in tried["train"]] == ["8", "16"]
  assert line == (
    "it fits with --config.optimizer.micro_batches=16 "
    "(training 8.00 GiB, sampling beside it 12.00 GiB)"
  )


def test_advice_widens_tensor_when_micro_batches_do_not_help(config):
  def needed(program, settings):
    return 7 if "mesh.tensor" in settings else None

  line, tried = _advise(_plan(16), config, needed)
  # 128 responses of a mini-batch on 4 parts: 32 micro-batches at most.
  micro = [x["optimizer.micro_batches"] for x in tried["train"]]
  assert micro == ["8", "16", "32", "64"]
  assert "--config.mesh.fsdp=2 --config.mesh.tensor=8 --config.opt" in line
  # The sampler was compiled on that mesh, too.
  assert {"mesh.fsdp": "2", "mesh.tensor": "8"} in tried["prefill"]


def test_advice_says_when_nothing_fits(config):
  line, tried = _advise(_plan(16), config, lambda program, settings: None)
  assert len(tried["train"]) == 5
  assert "use a larger slice" in line


@pytest.mark.parametrize("decode", [11, None])
def test_advice_on_the_cache_leaves_room(config, decode):
  """An overflow's own size, far too large, says nothing of what would fit."""
  own = 64 * 2048

  def needed(program, settings):
    cache = 4 * int(settings["rollout.kv_tokens"]) / own
    return 2 + 1 + cache + 3  # 3 GiB of temporaries

  line, tried = _advise(_plan(8, decode), config, needed)
  assert not tried["train"]
  tokens = int(line.partition("kv_tokens=")[2].split()[0])
  assert tokens == int(tried["decode"][-1]["rollout.kv_tokens"])
  beside = 5 + needed("decode", {"rollout.kv_tokens": tokens})
  assert beside * GIB <= report.TIGHT_FROM * HBM
  assert tokens >= 2 * 4 * 2048


def test_advice_fits_training_and_sampling_with_the_same_settings(config):
  def needed(program, settings):
    if program == "train":
      return 8 if "optimizer.micro_batches" in settings else 16
    return 5 if "rollout.kv_tokens" in settings else 20

  line, _ = _advise(_plan(16, 20), config, needed)
  assert "micro_batches=8" in line
  assert "kv_tokens=" in line


def test_the_estimate_is_in_text_and_json():
  lines = report.to_text(_plan()).splitlines()
  assert any(line.lstrip().startswith("two halves: ") for line in lines)
  found = report.to_json(_plan())["estimate"]
  parts = ("sampling", "training", "transfer")
  expected = found["expected"]
  assert expected["seconds"] == sum(expected[name] for name in parts)
  assert expected["seconds"] > found["least"]["seconds"]
  hours = expected["seconds"] * found["steps"] * 16 / 3600
  assert expected["chip_hours"] == pytest.approx(hours)


def test_a_sampler_by_itself_has_room_for_more():
  model, load = preset("qwen2.5-0.5b"), ESTIMATE.load
  room = estimate.cache_room(model, load, V5E, MESH)
  # 494 million elements of 2 bytes over tensor; the 2 key-value heads are
  # copied, 24 layers of 2 x 2 x 64 elements of 2 bytes per token.
  left = 0.9 * HBM - 2 * 494e6 / 4
  assert room == pytest.approx(4 * left / (24 * 2 * 128 * 2), rel=1e-3)
