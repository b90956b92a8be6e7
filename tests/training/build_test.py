import json
import types

import jax
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.training import build, loop
from jaxrl_entropy.training.policy import build_policy
from jaxrl_entropy.training.weights import check_experts
from tests.training.runs import load


def first_update(workdir, *overrides):
  fields = (("steps", "1"), ("sft.steps", "0"), ("eval.every", "0"))
  off = (
    ("probe.every", "0"),
    ("rollout.group_filter", "all"),
    ("rollout.train_groups", "0"),
  )
  assert loop.train(load("grpo", *fields, *off, *overrides), workdir) == 0
  return json.loads((workdir / loop.METRICS).read_text().splitlines()[0])


@pytest.mark.parametrize(
  "layout",
  [("rollout.pack", "true"), ("rollout.share_prompts", "true")],
  ids=["packed", "shared"],
)
def test_the_layout_does_not_show_in_a_run(tmp_path, layout):
  once = (("rollout.num_minibatches", "1"), ("optimizer.micro_batches", "4"))
  plain = first_update(tmp_path / "plain", *once)
  other = first_update(tmp_path / "other", *once, layout)
  for name in ("loss", "grad_norm", "entropy/token_mean", "tokens"):
    # Advantages of whole groups sum to 0, so the loss is rounding alone.
    same = pytest.approx(plain[name], rel=1e-4, abs=1e-7)
    assert other[name] == same, name


def test_attention_that_knows_no_trunks_cannot_share_prompts():
  config = load(
    "grpo", ("rollout.share_prompts", "true"), ("model.attention", "splash")
  )
  with pytest.raises(UserError, match="share_prompts is on, and splash is set"):
    build.build_forward(config, preset("nano"))


def test_windows_cannot_share_prompts():
  config = load("grpo", ("rollout.share_prompts", "true"))
  model = preset("nano", sliding_window=4)
  with pytest.raises(UserError, match="a layer has a window"):
    build.build_forward(config, model)


def test_the_context_of_the_weights_can_be_overridden(caplog):
  long = ("rollout.max_response_length", "600")
  with pytest.raises(
    UserError, match=r"made for 512: .* set model\.max_length"
  ):
    build_policy(load("grpo", long))
  policy = build_policy(load("grpo", long, ("model.max_length", "1000")))
  assert policy.model.max_length == 1000
  assert "the weights were made for contexts of 512 tokens" in caplog.text


def test_requests_stop_at_every_end(tmp_path):
  config = load("grpo")
  policy = build_policy(config)
  assert policy.model.real_vocab_size == policy.tokenizer.vocab_size
  task = build.build_task(config, policy.tokenizer)
  policy.tokenizer.stop_ids = (1, 5)
  (request,) = build.make_requests([task.problem("train", 0)], policy, 8, [0])
  assert request.stop_ids == (1, 5)


@pytest.mark.parametrize(
  ("model", "complaint"),
  [("nano", "no experts"), ("tiny-moe", "does not divide the model's 8")],
)
def test_an_expert_axis_needs_experts_to_split(model, complaint):
  mesh = jax.sharding.AbstractMesh((1, 1, 1, 1, 3), sharding.AXES)
  with pytest.raises(UserError, match=complaint):
    check_experts(preset(model), mesh)


def test_router_losses_need_experts():
  config = load("grpo")
  with pytest.raises(UserError, match="the model has no experts"):
    build.build_forward(config, preset("nano"), {"router_z"})


def test_routing_replay_needs_experts():
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  with pytest.raises(UserError, match="the model has no experts"):
    build.build_sampler(load("grpo"), preset("nano"), mesh, routes=True)


def test_router_losses_and_replay_are_part_of_an_update(tmp_path):
  experts = (
    ("model.preset", "tiny-moe"),
    ("optimizer.micro_batches", "2"),
    ("rollout.num_minibatches", "1"),
  )
  plain = first_update(tmp_path / "plain", *experts)
  added = first_update(
    tmp_path / "added",
    *experts,
    ("model.router_balance", "0.1"),
    ("model.router_z", "0.01"),
    ("model.routing_replay", "true"),
  )
  assert added["router/agreement"] == pytest.approx(1, abs=1e-3)
  assert added["router/balance"] >= 0.9
  extra = 0.1 * added["router/balance"] + 0.01 * added["router/z"]
  assert added["loss"] - plain["loss"] == pytest.approx(extra, rel=1e-2)
  assert added["grad_norm"] != plain["grad_norm"]


def cpu(process):
  return types.SimpleNamespace(process_index=process, platform="cpu")


def test_processes_whose_programs_could_wait_for_each_other_are_refused():
  two = [cpu(0), cpu(0), cpu(1), cpu(1)]
  with pytest.raises(UserError, match="process 0 has 2 CPU devices that train"):
    build.check_programs_overlap(two, two)
  one = [cpu(0), cpu(1)]
  build.check_programs_overlap(two, one)
  build.check_programs_overlap(one, two)
  build.check_programs_overlap([cpu(0)] * 4, [cpu(0)] * 4)
  build.check_programs_overlap([cpu(0)] * 4, [cpu(1)] * 4)
