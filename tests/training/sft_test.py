"""Imitation: of a task's demonstrations, of traces, of one's own samples."""

import json

import jax
import numpy as np
import pytest

from jaxrl_entropy import run_files
from jaxrl_entropy.data.tasks.countdown import Countdown
from jaxrl_entropy.distributed import Preemption
from jaxrl_entropy.errors import PreemptedError, UserError
from jaxrl_entropy.training import build, demonstrations, rejection, sft
from jaxrl_entropy.training.policy import build_policy
from tests.training.runs import load


def test_the_sft_folder_does_not_depend_on_the_optimizer(tmp_path):
  folders = {
    sft.start_folder(load("grpo", ("optimizer.name", name)), tmp_path)
    for name in ("adamw", "sgd")
  }
  assert len(folders) == 1


def test_the_sft_folder_is_named_after_the_model(tmp_path):
  config = load("grpo", ("model.weights", "lab/mine"))
  assert sft.start_folder(config, tmp_path).name.startswith("mine-")


@pytest.fixture
def traces(tmp_path):
  """Right answers to 128 countdown questions, and one that is too long."""
  rng = np.random.default_rng(0)
  pairs = Countdown().demonstrations(rng, 128, 0.0)
  answers = {problem.prompt: response for problem, response in pairs}
  rows = [{"prompt": p, "response": r} for p, r in answers.items()]
  rows.append({"prompt": rows[0]["prompt"], "response": "1 " * 30})
  path = tmp_path / "traces.jsonl"
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return path


def config_of(path, *overrides):
  config = load("grpo", ("sft.steps", "0"), ("sft.batch_size", "8"))
  with config.unlocked():
    config.sft.task.name = "traces"
    config.sft.task.args = {"path": str(path), "test_size": 4}
    for field, value in overrides:
      config.sft[field] = value
  return config


def run(config, workdir):
  policy = build_policy(config)
  with jax.set_mesh(policy.mesh), Preemption() as preemption:
    task = build.build_task(config, policy.tokenizer)
    return sft.fine_tuned_params(config, policy, task, workdir, preemption)


def records(config, workdir):
  path = sft.start_folder(config, workdir) / run_files.SFT_METRICS
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_traces_are_learned_in_epochs_and_the_held_out_loss_falls(
  traces, tmp_path
):
  losses = {}
  for epochs in (0.5, 5.0):
    config = config_of(traces, ("epochs", epochs))
    run(config, tmp_path)
    last = records(config, tmp_path)[-1]
    losses[epochs] = last["held_out_loss"]
    # Four questions are held out, and with them perhaps the long trace.
    count = len(traces.read_text().splitlines())
    assert last["step"] in (
      np.ceil(epochs * n / 8) for n in (count - 5, count - 4)
    )
  assert losses[5.0] < losses[0.5] - 0.3


def test_a_batch_is_packed_and_scores_responses_alone(traces):
  config = config_of(traces, ("epochs", 2.0), ("max_length", 32))
  policy = build_policy(config)
  batches = demonstrations.make(config, policy)
  rows = jax.device_get(batches.train(0))
  again = jax.device_get(batches.train(0))
  assert (rows.tokens == again.tokens).all()
  assert rows.tokens.shape == (1, 8, 32)
  assert "held out for the loss" in batches.about
  # Several sequences share a row, so that some rows are empty.
  used = (rows.segments > 0).any(-1)[0]
  assert used.sum() < 8
  responses = len(np.unique(rows.response[rows.mask]))
  ends = (rows.tokens == policy.tokenizer.eos_id) & rows.mask
  assert ends.sum() == responses == 8 - batches.left_out


def test_traces_longer_than_a_row_are_counted(traces):
  config = config_of(traces, ("epochs", 1.0))
  policy = build_policy(config)
  batches = demonstrations.make(config, policy)
  assert len(list(batches.held_out())) == 1
  for step in range(batches.steps):
    batches.train(step)
  # Its question may be held out; it is left out on either side.
  assert batches.left_out in (1, 2)
  short = config_of(traces, ("epochs", 1.0), ("max_length", 3))
  with pytest.raises(UserError, match=r"sft\.max_length"):
    demonstrations.make(short, policy).train(0)


def test_resuming_changes_nothing(traces, tmp_path, monkeypatch):
  config = config_of(traces, ("steps", 6))
  whole = run(config, tmp_path / "whole")
  monkeypatch.setattr(sft, "SHOW_EVERY", 2)
  requests = iter([False, True])
  monkeypatch.setattr(
    Preemption, "requested", lambda self: next(requests, False)
  )
  with pytest.raises(PreemptedError):
    run(config, tmp_path / "cut")
  cut = run(config, tmp_path / "cut")
  jax.tree.map(np.testing.assert_array_equal, whole, cut)
  steps = [record["step"] for record in records(config, tmp_path / "cut")]
  assert steps == [2, 4, 6]


def test_right_samples_of_the_policy_become_traces(tmp_path):
  config = load("grpo", ("sft.steps", "2"), ("sft.batch_size", "8"))
  with config.unlocked():
    config.sft.samples = 4
    config.sft.questions = 6
    config.sft.task.args = {"test_size": 1}
  policy = build_policy(config)
  task = build.build_task(config, policy.tokenizer)
  made = rejection.sampled_traces(config, policy, task, tmp_path, Preemption())
  lines = (tmp_path / run_files.SFT_SAMPLES).read_text().splitlines()
  samples = [json.loads(line) for line in lines]
  assert 18 < len(samples) <= 24
  right = {r["response"] for r in samples if r["correct"]}
  with pytest.warns(UserWarning, match="left out on purpose"):
    batches = demonstrations.make(made, policy)
  assert isinstance(batches, demonstrations.Imitated)
  assert {
    problem.extra["response"] for problem in batches._stream.take(20)
  } <= right
  # What was sampled is not sampled again.
  again = rejection.sampled_traces(config, None, None, tmp_path, Preemption())
  assert again.sft.task == made.sft.task


def test_epochs_of_demonstrations_without_end_are_refused():
  config = load("grpo", ("sft.steps", "0"), ("sft.epochs", "2"))
  with pytest.raises(UserError, match=r"set sft\.steps"):
    demonstrations.make(config, None)
