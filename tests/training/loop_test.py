"""Whole runs: what they write, that they repeat, that they survive a kill."""

import json
import os
import re
import resource
import shutil
import signal
import time

import jax
import numpy as np
import pytest

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.analysis import samples
from jaxrl_entropy.cli.main import main
from jaxrl_entropy.errors import PREEMPTED, WRITE_FAILED, UserError
from jaxrl_entropy.models.io import checkpoints
from jaxrl_entropy.sampling.sampler import Sampler
from jaxrl_entropy.training import loop
from jaxrl_entropy.training.policy import build_policy, load_policy
from jaxrl_entropy.training.run_log import METRICS
from tests import devices
from tests.training import runs
from tests.training.runs import (
  end,
  load,
  records,
  start,
  start_job,
  timeless,
  wait_until,
)

CONTRACT = {
  *("step", "time", "tokens", "lr", "grad_norm", "kl/old"),
  *("reward/mean", "reward/accuracy", "groups/informative"),
  *("entropy/token_mean", "entropy/seq_mean", "entropy/filtered"),
  *("cov/mean", "cov/filtered_mean", "cov/q99"),
  *(f"cov/top_{p}pct_mean" for p in ("0.02", "0.2", "2", "20", "50")),
  *("probe/delta_entropy", "probe/minus_cov"),
  *("select/share", "select/effective_penalty", "ratio/clip_share"),
  *("sampler/mismatch_kl", "response/length", "response/truncated"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """An uninterrupted KL-Cov run and its folder."""
  workdir = tmp_path_factory.mktemp("finished")
  assert loop.train(load("kl_cov"), workdir) == 0
  return workdir


def test_a_run_writes_every_metric_of_the_contract(finished):
  written = records(finished)
  assert [record["step"] for record in written] == list(range(6))
  for record in written[:-1]:
    assert set(record) >= CONTRACT
    assert all(v is not None for v in record.values())
  evaluated = [r["step"] for r in written if "eval/held_out/accuracy" in r]
  assert evaluated == [0, 2, 4, 5]
  cold = "eval/held_out/at_0.5/accuracy"
  assert [r["step"] for r in written if cold in r] == [5]
  assert any(record["grad_norm"] > 0 for record in written[:-1])
  # The final policy is looked at, not trained.
  assert "grad_norm" not in written[-1]
  assert (finished / "tensorboard").is_dir()


def test_the_phases_of_the_first_step_are_within_it(finished):
  first, second, *_ = records(finished)
  # SFT, which came before, is not counted.
  phases = (
    value
    for name, value in first.items()
    if re.fullmatch("throughput/[a-z_]+_s", name) and "_per_" not in name
  )
  assert 0 < sum(phases) <= second["time"] - first["time"]


def test_the_best_policy_is_the_one_its_records_name(finished):
  scores = {
    r["step"]: r["eval/held_out/accuracy"]
    for r in records(finished)
    if "eval/held_out/accuracy" in r
  }
  (best,) = (finished / "best").iterdir()
  # Of equals the first.
  assert int(best.name) == max(scores, key=scores.get)
  config = load("kl_cov")
  policy = load_policy(config, finished, best=True)
  last = load_policy(config, finished)
  same = jax.tree.map(np.array_equal, policy.params, last.params)
  assert all(jax.tree.leaves(same)) == (best.name == str(config.steps))


def test_a_run_writes_samples_that_the_analysis_reads(finished):
  loaded, notes = samples.load(finished)
  assert notes == ()
  assert {sample.step for sample in loaded} == {0}
  assert all(len(sample.tokens) == len(sample.entropy) for sample in loaded)


def test_log_probs_of_sampler_and_trainer_agree(finished):
  gaps = [abs(r["sampler/mismatch_kl"]) for r in records(finished)]
  assert max(gaps) < 1e-5


def test_the_same_seed_gives_the_same_numbers(finished, tmp_path):
  loop.train(load("kl_cov"), tmp_path)
  assert timeless(tmp_path) == timeless(finished)


def test_another_seed_gives_other_numbers(finished, tmp_path):
  loop.train(load("kl_cov", ("seed", "1"), ("steps", "1")), tmp_path)
  assert timeless(tmp_path)[0] != timeless(finished)[0]


def test_a_finished_run_says_so_and_stays(finished, capsys):
  before = (finished / METRICS).read_bytes()
  assert loop.train(load("kl_cov"), finished) == 0
  assert "all 5 steps are done" in capsys.readouterr().out
  assert (finished / METRICS).read_bytes() == before


def test_a_finished_run_may_get_more_steps(finished, tmp_path, capsys):
  longer, whole = tmp_path / "longer", tmp_path / "whole"
  shutil.copytree(finished, longer)
  config = load("kl_cov", ("steps", "7"))
  assert loop.train(config, longer) == 0
  assert f"{longer}: going on at step 5" in capsys.readouterr().out
  loop.train(config, whole)
  assert timeless(longer) == timeless(whole)
  assert config_lib.read(longer)["steps"] == 7
  with pytest.raises(UserError, match="steps is 7 there and 6 now"):
    loop.train(load("kl_cov", ("steps", "6")), longer)


def test_a_schedule_over_all_steps_keeps_their_number(tmp_path):
  decay = ("optimizer.schedule", "cosine")
  config_lib.save(load("grpo", decay, ("steps", "1")), tmp_path)
  with pytest.raises(UserError) as error:
    loop.train(load("grpo", decay, ("steps", "2")), tmp_path)
  assert "config.steps is 1 there and 2 now (optimizer.schedule='cosine' " in (
    str(error.value)
  )


def test_a_run_says_what_it_starts_with_and_how_to_read_it(tmp_path, capsys):
  loop.train(load("grpo", ("steps", "1"), ("sft.steps", "0")), tmp_path)
  first, *_, last = capsys.readouterr().out.splitlines()
  assert first.startswith("model: nano with random weights, 0.")
  assert "task: tests.training.tiny_config:Coin, " in first
  assert last == (
    f"{tmp_path}: done; for a report: jaxrl-entropy analyze "
    f"--workdir={tmp_path}"
  )


@pytest.mark.parametrize("part", ["", "best"])
def test_a_run_starts_from_the_weights_of_another(finished, part):
  config = load(
    "kl_cov",
    ("model.weights", str(finished / part)),
    ("model.tokenizer", "auto"),
  )
  mine = build_policy(config)
  theirs = load_policy(load("kl_cov"), finished, best=part == "best")
  jax.tree.map(np.testing.assert_array_equal, mine.params, theirs.params)
  assert mine.tokenizer.encode("1 2") == theirs.tokenizer.encode("1 2")


@pytest.mark.parametrize("best", [False, True])
def test_the_last_or_the_best_policy_is_exported(finished, tmp_path, best):
  status = main(
    [
      *("convert", f"--workdir={finished}", f"--target={tmp_path / 'out'}"),
      *(["--best"] if best else []),
    ]
  )
  assert status == 0
  _, params = checkpoints.load(tmp_path / "out")
  policy = load_policy(load("kl_cov"), finished, best)
  jax.tree.map(np.testing.assert_array_equal, params, policy.params)


def saving(workdir):
  """Whether a checkpoint is being written."""
  return any((workdir / "checkpoints").glob("*tmp*"))


def test_killed_runs_end_with_the_numbers_of_an_uninterrupted_one(
  finished, tmp_path
):
  for number, status, moment in (
    (signal.SIGKILL, -9, lambda: runs.lines(tmp_path) >= 2),
    (signal.SIGKILL, -9, lambda: saving(tmp_path)),
    (signal.SIGTERM, 75, lambda: runs.lines(tmp_path) >= 4),
  ):
    process = start(tmp_path)
    wait_until(process, moment)
    process.send_signal(number)
    end(process, status)
  end(start(tmp_path))
  assert timeless(tmp_path) == timeless(finished)


@pytest.fixture
def stop_in_pass(monkeypatch):
  """A function: SIGTERM comes while a pass over the problems is sampled."""
  generate, passes = Sampler.generate, []

  def counted(sampler, params, requests, progress=None, version=0):
    passes.append(len(passes))
    if passes[-1] == stop_at:
      os.kill(os.getpid(), signal.SIGTERM)
    return generate(sampler, params, requests, progress, version)

  def stop_in(index):
    nonlocal stop_at
    passes.clear()
    stop_at = index
    return passes

  stop_at = None
  monkeypatch.setattr(Sampler, "generate", counted)
  return stop_in


def test_a_signal_ends_an_evaluation_which_is_made_again(
  finished, tmp_path, stop_in_pass
):
  """Each evaluation has a pass that samples and a greedy one.

  Cut are the first, the one of step 2, and, after a start that evaluates steps
  2 and 4, the last one, before which no checkpoint was due.
  """
  for index, step, saved in ((0, 0, set()), (2, 2, {"2"}), (4, 5, {"4", "5"})):
    passes = stop_in_pass(index)
    assert loop.train(load("kl_cov"), tmp_path) == PREEMPTED
    assert len(passes) == index + 1
    assert len(records(tmp_path)) == step
    assert {f.name for f in (tmp_path / "checkpoints").iterdir()} == saved
  stop_in_pass(None)
  assert loop.train(load("kl_cov"), tmp_path) == 0
  assert timeless(tmp_path) == timeless(finished)


def test_an_evaluation_that_is_stopped_leaves_nothing_behind(
  finished, tmp_path, stop_in_pass, capsys
):
  output = tmp_path / "out"
  command = ["evaluate", f"--workdir={finished}", f"--output={output}"]
  stop_in_pass(1)
  assert main(command) == PREEMPTED
  assert capsys.readouterr().err.endswith(
    "error: stopped by a signal: run the same command again\n"
  )
  assert not output.exists()
  stop_in_pass(None)
  assert main(command) == 0
  accuracy = json.loads((output / "metrics.json").read_text())["accuracy"]
  assert accuracy == records(finished)[-1]["eval/held_out/accuracy"]


def test_a_second_process_in_a_workdir_is_refused_and_changes_nothing(
  finished, tmp_path
):
  workdir = tmp_path / "run"
  first = runs.start(workdir)
  runs.wait_until(first, lambda: runs.lines(workdir) > 0)
  # Stopped, so that it cannot end before the second one looks.
  first.send_signal(signal.SIGSTOP)
  errors = runs.end(runs.start(workdir), status=2)
  first.send_signal(signal.SIGCONT)
  assert errors.splitlines()[-1].startswith(
    f"jaxrl-entropy train: error: workdir {workdir} is in use by process "
    f"{first.pid} on "
  )
  runs.end(first)
  assert runs.timeless(workdir) == runs.timeless(finished)


def test_a_full_disk_is_one_line_and_loses_nothing(finished, tmp_path):
  process = start(tmp_path)
  wait_until(process, (tmp_path / "checkpoints" / "2").exists)
  unlimited = resource.RLIM_INFINITY
  resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, unlimited))
  errors = end(process, WRITE_FAILED)
  assert "could not be written (File too large)" in errors
  # A thread of the storage library may still complain of its closed loop.
  frames = [line for line in errors.splitlines() if line.startswith('  File "')]
  assert not [frame for frame in frames if "jaxrl_entropy" in frame]
  end(start(tmp_path))
  assert timeless(tmp_path) == timeless(finished)
  assert not list(tmp_path.glob("*/*tmp*"))


@pytest.mark.slow
def test_a_full_disk_ends_both_processes_and_loses_nothing(tmp_path):
  left_alone, job = tmp_path / "left_alone", tmp_path / "job"
  fields = (("steps", "6"), ("checkpoint.every", "1"), ("sft.steps", "0"))
  for process in start_job(left_alone, 2, 1, fields):
    end(process)
  first, second = start_job(job, 2, 1, fields)
  wait_until(first, (job / "checkpoints" / "2").exists)
  full = (1, resource.RLIM_INFINITY)
  for process in (first, second):
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, full)
  began = time.monotonic()
  errors = end(first, WRITE_FAILED)
  assert "could not be written (File too large)" in errors
  second.communicate(timeout=100)
  assert second.returncode not in (0, PREEMPTED)
  assert time.monotonic() - began < 120
  for process in start_job(job, 2, 1, fields):
    end(process)
  assert timeless(job) == timeless(left_alone)


# Adam's first steps divide noise by noise, and KL-Cov's penalty has the sign of
# a log-ratio near 0: in both the order of a sum would show.
SGD = (("steps", "2"), ("optimizer.name", "sgd"), ("sft.steps", "0"))


OFF_POLICY = (
  ("steps", "4"),
  ("checkpoint.every", "1"),
  ("sft.steps", "0"),
  ("rollout.partial_tokens", "6"),
  ("eval.every", "0"),
  ("probe.every", "0"),
)
# All problems of a step are in its samples.
AHEAD = (
  *OFF_POLICY[:3],
  ("rollout.max_staleness", "2"),
  ("rollout.group_filter", "all"),
  ("rollout.prompts_per_step", "2"),
  ("rollout.train_groups", "2"),
  ("log.samples_every", "1"),
)


def assert_close(workdir, expected):
  together, alone = timeless(workdir), timeless(expected)
  assert [r["step"] for r in together] == [0, 1, 2]
  for record, other in zip(together, alone, strict=True):
    assert set(record) == set(other)
    for name, value in other.items():
      np.testing.assert_allclose(
        record[name], value, rtol=1e-3, atol=1e-5, err_msg=name
      )


def stop_a_pair(workdir, overrides):
  """A run by two processes, stopped by a signal to one of them."""
  pair = start_job(workdir, 2, 2, overrides)
  wait_until(pair[0], lambda: runs.lines(workdir) >= 1)
  pair[1].send_signal(signal.SIGTERM)
  for process in pair:
    end(process, 75)


def test_two_processes_stop_together_and_one_goes_on_with_their_numbers(
  tmp_path,
):
  loop.train(load("grpo", *SGD), tmp_path / "one")
  stop_a_pair(tmp_path / "two", SGD)
  loop.train(load("grpo", *SGD), tmp_path / "two")
  assert_close(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
def test_partial_rollouts_go_to_another_number_of_processes(
  tmp_path,
):
  stop_a_pair(tmp_path, OFF_POLICY)
  before = records(tmp_path)
  loop.train(load("grpo", *OFF_POLICY), tmp_path)
  written = records(tmp_path)
  assert written[: len(before)] == before
  assert [r["step"] for r in written] == list(range(5))


@pytest.mark.slow
def test_two_processes_sample_ahead_of_their_updates(tmp_path):
  loop.train(load("grpo", *AHEAD), tmp_path / "one")
  fields = (*AHEAD, ("rollout.devices", "2"))
  for process in start_job(tmp_path / "two", 2, 2, fields):
    end(process)
  written = records(tmp_path / "two")
  assert [r["step"] for r in written] == list(range(5))
  assert max(r["rollout/staleness_max"] for r in written) <= 2
  assert problems_of(tmp_path / "two") == problems_of(tmp_path / "one")


@pytest.mark.slow
def test_four_processes_give_the_numbers_of_one(tmp_path):
  fields = (*SGD, ("rollout.prompts_per_step", "8"))
  loop.train(load("grpo", *fields), tmp_path / "one")
  for process in start_job(tmp_path / "four", 4, 2, fields):
    end(process)
  assert_close(tmp_path / "four", tmp_path / "one")


def test_kl_cov_with_one_update_a_rollout_warns():
  with pytest.warns(UserWarning, match=r"num_minibatches=1.*cannot act"):
    config_lib.warn_if_idle(load("kl_cov", ("rollout.num_minibatches", "1")))


@pytest.mark.parametrize(
  ("field", "value", "message"),
  [
    ("rollout.max_prompt_length", "3", "max_prompt_length is 3"),
    ("rollout.max_response_length", "600", "made for 512"),
    ("model.tokenizer", "auto", "model.weights is empty"),
    ("mesh.tensor", "3", "does not cover"),
    ("loss.name", "grop", "grop"),
    ("advantage.name", "grop", "grop"),
    ("optimizer.name", "adamx", "adamx"),
    ("optimizer.schedule", "slow", "slow"),
  ],
)
def test_bad_settings_are_named(tmp_path, field, value, message):
  with pytest.raises((UserError, ValueError), match=message):
    loop.train(load("grpo", (field, value)), tmp_path)


def test_a_broken_loss_stops_the_run_with_a_diagnosis(tmp_path):
  overrides = (
    ("optimizer.learning_rate", "1e38"),
    ("optimizer.max_skipped", "2"),
    ("sft.steps", "0"),
  )
  with pytest.raises(FloatingPointError, match="learning_rate"):
    loop.train(load("grpo", *overrides), tmp_path)
  # The step that the message sends the reader to is there.
  assert records(tmp_path)[-1]["update/skipped"] == 1


def test_groups_are_filled_from_more_batches(tmp_path):
  settings = {
    "steps": "1",
    "rollout.train_groups": "12",
    "rollout.max_generation_rounds": "4",
    "sft.steps": "0",
  }
  loop.train(load("grpo", *settings.items()), tmp_path)
  first = records(tmp_path)[0]
  # Six prompts a batch, some of them all right or all wrong.
  assert first["groups/informative"] < 1
  assert first["tokens"] > 3 * 6 * 4


def test_reference_kl_and_controllers_reach_the_loss(tmp_path):
  config = load("grpo", ("steps", "2"), ("sft.steps", "0"))
  with config.unlocked():
    config.reward.kl_coefficient = 0.1
    config.loss.name = "kl_cov"
    config.loss.args = {"fraction": 0.1}
    config.loss.controllers = {
      "coefficient": {"name": "linear", "start": 1.0, "end": 0.0, "updates": 4}
    }
  loop.train(config, tmp_path)
  first, second, _ = records(tmp_path)
  # Two updates a step: the values at the first of each.
  assert first["control/coefficient"] == 1.0
  np.testing.assert_allclose(second["control/coefficient"], 0.5)


def test_reward_functions_are_weighed_and_logged_by_name(tmp_path):
  config = load("grpo", ("steps", "1"), ("sft.steps", "0"))
  with config.unlocked():
    config.reward.weight = 2.0
    config.reward.functions.again = {"verifier": "coin", "weight": 0.5}
    config.reward.format, config.reward.overlong_buffer = "boxed", 10
  loop.train(config, tmp_path)
  for record in records(tmp_path):
    accuracy = record["reward/accuracy"]
    terms = {
      name.rpartition("/")[2]: value
      for name, value in record.items()
      if name.startswith("reward/component/")
    }
    assert terms.keys() == {"answer", "again", "format", "overlong"}
    np.testing.assert_allclose(terms["answer"], 2 * accuracy, rtol=1e-5)
    np.testing.assert_allclose(terms["again"], accuracy / 2, rtol=1e-5)
    total = sum(terms.values())
    np.testing.assert_allclose(record["reward/mean"], total, rtol=1e-5)


def test_facts_of_responses_reach_the_loss(tmp_path):
  config = load("grpo", ("steps", "2"), ("sft.steps", "0"))
  with config.unlocked():
    config.rollout.group_filter = "all"
    config.rollout.train_groups = config.rollout.prompts_per_step
    config.loss.name = "tests.training.tiny_config:factual"
    config.advantage.name = "mcpo"
  loop.train(config, tmp_path)
  first = records(tmp_path)[0]
  assert first["facts/groups"] == 3  # two mini-batches of six groups
  assert 0 < first["facts/correct"] < 1
  np.testing.assert_allclose(
    first["facts/correct"], first["facts/accuracy"], rtol=0.3
  )
  assert first["facts/old_entropy"] > 0
  assert 0 < first["facts/embedding"] < 1  # of means of normalized states


def test_adapters_learn_and_the_weights_below_stay(tmp_path):
  config = load("grpo", ("steps", "1"), ("sft.steps", "0"))
  config.model.lora_rank = 2
  policy = build_policy(config)
  loop.train(config, tmp_path)
  after = load_policy(config, tmp_path).params["layers"]["attention"]
  before = policy.params["layers"]["attention"]
  for name in ("q_proj", "v_proj"):
    np.testing.assert_array_equal(before[name]["kernel"], after[name]["kernel"])
    assert (before[name]["lora_b"] != after[name]["lora_b"]).any()


def problems_of(workdir):
  """The problems of each step, by the samples."""
  loaded, _ = samples.load(workdir)
  return {(sample.step, sample.problem) for sample in loaded}


def test_groups_sampled_ahead_survive_a_kill(tmp_path):
  """Each step learns from the problems that it would have had."""
  whole, parts = tmp_path / "whole", tmp_path / "parts"
  loop.train(load("grpo", *AHEAD), whole)
  first = start(parts, AHEAD, "grpo")
  wait_until(first, lambda: runs.lines(parts) >= 2)
  first.send_signal(signal.SIGKILL)
  first.communicate()
  end(start(parts, AHEAD, "grpo"))
  written = records(parts)
  assert [r["step"] for r in written] == list(range(5))
  assert max(r["rollout/staleness_max"] for r in written) <= 2
  assert written[-1]["rollout/staleness"] == 0
  assert problems_of(parts) == problems_of(whole)


def in_turn(workdir, samplers):
  fields = (("rollout.devices", samplers), ("probe.every", "0"))
  loop.train(load("grpo", *SGD, *fields), workdir)
  return timeless(workdir)


def test_without_staleness_a_second_mesh_changes_no_number(tmp_path):
  one = devices.run(in_turn, tmp_path / "one", "0", devices=1)
  two = devices.run(in_turn, tmp_path / "two", "1", devices=2)
  assert one == two


def test_partial_rollouts_survive_a_stop(tmp_path):
  config = load("kl_cov", *OFF_POLICY)
  loop.train(config, tmp_path / "whole")
  whole = timeless(tmp_path / "whole")
  # Ten tokens take two calls of six.
  assert max(r["response/length"] for r in whole) > 6
  assert all("sampler/weight" in record for record in whole[:-1])
  first = start(tmp_path / "parts", OFF_POLICY)
  wait_until(first, lambda: runs.lines(tmp_path / "parts") >= 2)
  first.send_signal(signal.SIGKILL)
  first.communicate()
  end(start(tmp_path / "parts", OFF_POLICY))
  assert timeless(tmp_path / "parts") == whole


def test_old_log_probs_of_the_sampler_leave_the_mismatch_visible(tmp_path):
  fields = (("steps", "1"), ("sft.steps", "0"), ("checkpoint.every", "0"))
  config = load("grpo", *fields, ("rollout.recompute_old_logp", "false"))
  loop.train(config, tmp_path)
  gaps = [r["sampler/mismatch_kl"] for r in records(tmp_path)]
  assert all(0 < abs(gap) < 1e-5 for gap in gaps)


def test_a_metrics_file_that_lost_its_lines_is_refused(tmp_path):
  fields = (("steps", "1"), ("sft.steps", "0"), ("checkpoint.every", "1"))
  loop.train(load("grpo", *fields), tmp_path)
  shutil.rmtree(tmp_path / "checkpoints" / "2")
  (tmp_path / METRICS).write_text("")
  with pytest.raises(UserError, match="bring the file back"):
    loop.train(load("grpo", *fields), tmp_path)
