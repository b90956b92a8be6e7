"""Hand-worked cases, and the products of the programs themselves."""

import dataclasses

import jax
import pytest

from jaxrl_entropy import config as config_lib, sharding
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.planning import (
  estimate,
  flops,
  programs,
  sizes,
  workload,
)
from jaxrl_entropy.planning.work import Load

ALONE = {"data": 1, "fsdp": 1, "tensor": 1, "context": 1}
MESH = {"data": 1, "fsdp": 4, "tensor": 2, "context": 1}
# 2 layers: attention 8 * (4 + 2 + 2 + 4) = 96 elements, MLP 3 * 8 * 16 = 384.
MODEL = TransformerConfig(
  vocab_size=32,
  hidden_size=8,
  intermediate_size=16,
  num_layers=2,
  num_heads=2,
  num_kv_heads=1,
  head_dim=2,
)
LOAD = Load(
  prompts=4,
  group=2,
  trained=8,
  prompt=4,
  response=6,
  longest=12,
  row=16,
  slots=4,
  cached=1000,
  updates=2,
  micro_batches=2,
)


def test_prefill_by_hand():
  # 16 tokens over 4 parts: 4 a device; half of the layers' 960 elements.
  work = workload.prefill(MODEL, LOAD, MESH)
  pairs = 2 * 4 * 4 / 2  # one prompt on each part, 2 layers
  assert work.flops == (2 * 960 * 4 + 4 * 4 * pairs) / 2
  # Two additions in each of 2 layers of 4 tokens of 8 numbers of 2 bytes, sent
  # twice by half.
  assert work.blocking == {"tensor": 4 * 4 * 8 * 2 * 2 * 0.5}


def test_decoding_takes_the_longest_response_or_all_waves():
  assert LOAD.live == 4
  assert LOAD.decode_steps == 12  # 8 * 6 / 4 tokens in sequence
  longer = dataclasses.replace(LOAD, response=9)
  assert longer.decode_steps == 8 * 9 / 4
  small = dataclasses.replace(LOAD, cached=16)  # 2 shared + 6 of its own
  assert small.live == 2


def test_decoding_reads_the_copy_for_every_token_in_sequence():
  twice = dataclasses.replace(LOAD, longest=24)
  more = workload.decode(MODEL, twice, MESH).memory
  less = workload.decode(MODEL, LOAD, MESH).memory
  assert more - less == 2 * 12 * (960 + 256) / 2


def test_fsdp_gathers_thrice_and_scatters_once_per_micro_batch():
  sent = workload.update(MODEL, LOAD, MESH).hidden["fsdp"] / LOAD.updates
  layers, head = 2 * 960 / 2, (2 + 4) * 256 / 2
  assert sent == (2 * (3 + 1) * layers + head) * 3 / 4


def test_tensor_adds_twice_per_forward_and_thrice_behind_it():
  sent = workload.update(MODEL, LOAD, MESH).blocking["tensor"] / LOAD.updates
  tokens = 4 * 16 / 4  # 4 responses of an update over 4 parts
  assert sent == (2 + 2 + 3) * 2 * tokens * 8 * 2 * 2 * 0.5


def test_packed_rows_hold_no_padding():
  packed = dataclasses.replace(LOAD, packed=True)
  assert LOAD.rows == 8
  assert packed.rows == 8 * (4 + 6) / 16


def test_one_update_needs_no_forward_pass_of_its_own():
  once = dataclasses.replace(LOAD, updates=1)
  two = workload.update(MODEL, LOAD, ALONE)
  one = workload.update(MODEL, once, ALONE)
  forward = workload.score(MODEL, once, ALONE)
  assert two.flops - one.flops == pytest.approx(forward.flops)


def test_the_weights_reach_every_part():
  work = workload.transfer(MODEL, LOAD, MESH)
  assert work.blocking == {"fsdp": 2 * (960 + 512) / 2 * 3 / 4}


def test_a_sampler_of_its_own_is_sent_what_each_trainer_has_gathered():
  samplers = ALONE | {"data": 2, "tensor": 2}
  work = workload.send(MODEL, LOAD, MESH, samplers)
  copy = 2 * (960 + 256 + 256) / 2  # of a sampling device
  # Of 8 training devices each has an eighth of all, a quarter of a copy; 4
  # receive one.
  assert work.blocking == {"fsdp": copy * (1 - 2 / 8) + copy}
  assert work.memory == 4 * (960 + 512) / 8 + copy
  many = workload.send(MODEL, LOAD, MESH, ALONE | {"data": 16})
  assert many.blocking == {"fsdp": 2 * copy * (1 - 1 / 8) + 2 * copy * 2}


def test_only_the_chosen_experts_are_computed_and_read():
  experts = dataclasses.replace(
    MODEL, num_experts=4, num_experts_per_tok=1, moe_intermediate_size=16
  )
  size = sizes.sizes(experts)
  assert (size.mlp, size.active) == (4 * 768, 192 + 768)
  alone = dataclasses.replace(LOAD, slots=1)
  dense, sparse = (
    workload.decode(model, alone, ALONE) for model in (MODEL, experts)
  )
  assert sparse.memory == pytest.approx(dense.memory)


@pytest.mark.parametrize("micro", [1, 2])
@pytest.mark.parametrize("remat", ["none", "full"])
def test_an_update_has_the_products_of_its_program(remat, micro):
  config = config_lib.load(
    "configs/quickstart.py",
    [
      ("model.preset", "mini"),
      ("model.remat", remat),
      ("optimizer.micro_batches", str(micro)),
      ("rollout.num_minibatches", "2"),
      ("rollout.pack", "false"),
    ],
  )
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  with jax.set_mesh(mesh):
    program = programs.train(config, mesh)
    counted = flops.count(program.function, *program.args)
  load = estimate.make_load(config)
  model = programs.planned_model(config)
  work = workload.update(model, load, ALONE).flops / load.updates
  assert work == pytest.approx(counted, rel=0.05)


def test_an_expert_axis_moves_tokens_and_leaves_experts_where_they_are():
  model = dataclasses.replace(MODEL, num_experts=4, num_experts_per_tok=2)
  split = ALONE | {"expert": 2}
  fsdp = ALONE | {"fsdp": 2}
  size = sizes.sizes(model)
  once, whole = (
    workload.score(model, LOAD, mesh) * (1 / LOAD.scores)
    for mesh in (split, fsdp)
  )
  assert once.flops == whole.flops
  count = LOAD.updates * LOAD.micro_batches
  # Half of what is gathered crosses the ring of two: dense weights alone.
  assert once.hidden["expert"] == count * 2 * size.attention / 2
  assert whole.hidden["fsdp"] == count * 2 * size.layers / 2
  # Gathered and scattered in 2 layers: as many tokens as the device has.
  tokens = LOAD.rows * LOAD.row / 2
  assert once.blocking["expert"] == 2 * 2 * 2 * tokens * 8
