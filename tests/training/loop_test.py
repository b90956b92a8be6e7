"""Whole runs: what they write, that they repeat, that they survive a kill."""

import json
from pathlib import Path
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.training import loop
from tests import devices

ROOT = Path(__file__).parents[2]
CONFIG = "tests/training/tiny_config.py"
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


def load(method, *overrides):
  return config_lib.load(str(ROOT / CONFIG) + ":" + method, overrides)


def records(workdir):
  lines = (Path(workdir) / loop.METRICS).read_text().splitlines()
  return [json.loads(line) for line in lines]


def timeless(workdir):
  """The records without what a clock decides."""
  return [
    {
      name: value
      for name, value in record.items()
      if name != "time" and not name.startswith("throughput/")
    }
    for record in records(workdir)
  ]


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
  assert any(record["grad_norm"] > 0 for record in written[:-1])
  # The final policy is looked at, not trained.
  assert "grad_norm" not in written[-1]
  assert (finished / "tensorboard").is_dir()


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
  before = (finished / loop.METRICS).read_bytes()
  assert loop.train(load("kl_cov"), finished) == 0
  assert "all 5 steps are done" in capsys.readouterr().out
  assert (finished / loop.METRICS).read_bytes() == before


def start(workdir):
  command = (sys.executable, "-m", "jaxrl_entropy", "train")
  flags = (f"--config={CONFIG}:kl_cov", f"--workdir={workdir}")
  return subprocess.Popen(
    (*command, *flags),
    cwd=ROOT,
    env=devices.environment(1) | {"PYTHONPATH": str(ROOT)},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )


def wait_for_lines(process, workdir, count):
  path = workdir / loop.METRICS
  deadline = time.monotonic() + 240
  while time.monotonic() < deadline and process.poll() is None:
    if path.exists() and path.read_bytes().count(b"\n") >= count:
      return
    time.sleep(0.01)


def test_killed_runs_end_with_the_numbers_of_an_uninterrupted_one(
  finished, tmp_path
):
  for lines in (2, 4):
    process = start(tmp_path)
    wait_for_lines(process, tmp_path, lines)
    process.send_signal(signal.SIGKILL)
    process.communicate()
  process = start(tmp_path)
  _, errors = process.communicate(timeout=300)
  assert process.returncode == 0, errors[-3000:]
  assert timeless(tmp_path) == timeless(finished)


def test_kl_cov_with_one_update_a_rollout_warns():
  with pytest.warns(UserWarning, match=r"updates=1.*cannot act"):
    loop.warn_if_idle(load("kl_cov", ("optimizer.updates", "1")))


@pytest.mark.parametrize(
  ("field", "value", "message"),
  [
    ("rollout.max_prompt_length", "3", "max_prompt_length is 3"),
    ("rollout.max_response_length", "600", "made for 512"),
    ("model.tokenizer", "auto", "no tokenizer"),
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
    ("optimizer.learning_rate", "inf"),
    ("optimizer.max_skipped", "2"),
    ("pretrain.steps", "0"),
  )
  with pytest.raises(FloatingPointError, match="learning_rate"):
    loop.train(load("grpo", *overrides), tmp_path)


def test_groups_are_filled_from_more_batches(tmp_path):
  settings = {
    "steps": "1",
    "rollout.groups": "12",
    "rollout.max_batches": "4",
    "pretrain.steps": "0",
  }
  loop.train(load("grpo", *settings.items()), tmp_path)
  first = records(tmp_path)[0]
  # Six prompts a batch, some of them all right or all wrong.
  assert first["groups/informative"] < 1
  assert first["tokens"] > 3 * 6 * 4


def test_reference_kl_and_controllers_reach_the_loss(tmp_path):
  config = load("grpo", ("steps", "2"), ("pretrain.steps", "0"))
  with config.unlocked():
    config.reward.kl_coefficient = 0.1
    config.loss.name = "kl_cov"
    config.loss.args = {"fraction": 0.1}
    config.loss.controllers = {
      "coefficient": {"name": "linear", "start": 1.0, "end": 0.0, "updates": 4}
    }
  loop.train(config, tmp_path)
  first, second, _ = records(tmp_path)
  assert first["control/coefficient"] > second["control/coefficient"]
  np.testing.assert_allclose(second["control/coefficient"], 0.0, atol=1e-6)
