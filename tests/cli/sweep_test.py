import json
import os
from pathlib import Path
import signal
import subprocess
import sys

import numpy as np
import pytest

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.cli import main, sweep
from jaxrl_entropy.config import sweeps as sweeps_lib
from jaxrl_entropy.data import task as task_lib
from jaxrl_entropy.errors import UserError

CONFIG = """
from jaxrl_entropy.config import defaults

def get_config(arg="a"):
  config = defaults.get_config()
  config.name = arg
  config.steps = 5
  return config

def sweep(add):
  add(arg="a")
  add({"optimizer.learning_rate": 1e-4, "seed": 2}, arg="b")
  add({"seed": 3})
"""


SWEEPS = Path(__file__).parents[2] / "configs" / "sweeps"
PARTS = [
  f"{study}:{part}"
  for study in (SWEEPS / "entropy_mechanism.py", SWEEPS / "frontier.py")
  for part in config_lib.load_module(str(study)).PARTS
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.split(":")[1])
def test_the_problems_of_every_part_of_the_study_fit_its_lengths(part):
  for run in sweeps_lib.list_runs(part):
    config = config_lib.load(run.config, run.overrides)
    task = task_lib.resolve(config.task.name, config.task.args)
    for problem, response in task.demonstrations(
      np.random.default_rng(0), 200, wrong_share=0.3
    ):
      prompt, answer = map(task.tokenizer.encode, (problem.prompt, response))
      assert len(prompt) <= config.rollout.max_prompt_length
      assert len(answer) < config.rollout.max_response_length


@pytest.fixture
def path(tmp_path):
  file = tmp_path / "mine.py"
  file.write_text(CONFIG)
  return str(file)


@pytest.fixture
def calls(monkeypatch):
  """The processes that would have been started."""
  made = []

  def run(command, **_):
    made.append(command)
    status = 1 if any("seed=3" in word for word in command) else 0
    return subprocess.CompletedProcess(command, status)

  monkeypatch.setattr(sweep.subprocess, "run", run)
  return made


def _write_run(folder, run, last):
  """A run of the study as a training process leaves it after `last` steps."""
  config = config_lib.load(run.config, run.overrides)
  workdir = folder / run.name
  workdir.mkdir(parents=True)
  saved = {"config": config_lib.to_json(config)}
  (workdir / "config.json").write_text(json.dumps(saved))
  lines = [
    json.dumps({"step": step, "entropy/token_mean": 0.5 / step})
    for step in range(1, last + 1)
  ]
  # The last line was cut off by a kill.
  (workdir / "metrics.jsonl").write_text("\n".join([*lines, '{"step": ']))
  (workdir / "checkpoints" / str(last + 1)).mkdir(parents=True)


def test_runs_are_named_by_their_differences(path):
  runs = sweeps_lib.list_runs(path, [("steps", "9")])
  assert [run.name for run in runs] == [
    "a",
    "b,optimizer.learning_rate=0.0001,seed=2",
    "seed=3",
  ]
  assert runs[1].config == f"{path}:b"
  assert runs[1].overrides == (
    ("optimizer.learning_rate", "0.0001"),
    ("seed", "2"),
    ("steps", "9"),
  )


def test_a_study_of_parts_runs_the_part_that_is_named(tmp_path):
  file = tmp_path / "parts.py"
  head = CONFIG.partition("def sweep")[0]
  file.write_text(f"{head}def sweep(add, part='x'):\n  add(arg=part)\n")
  assert [run.name for run in sweeps_lib.list_runs(f"{file}:sizes")] == [
    "sizes"
  ]
  assert [run.name for run in sweeps_lib.list_runs(str(file))] == ["x"]


def test_a_part_of_a_sweep_is_its_argument(path, tmp_path):
  file = tmp_path / "parts.py"
  head = CONFIG.partition("def sweep")[0]
  file.write_text(f"{head}def sweep(add, part):\n  add({{'name': part}})\n")
  (run,) = sweeps_lib.list_runs(f"{file}:small")
  assert (run.name, run.config) == ("name=small", str(file))
  with pytest.raises(UserError, match="sweep takes no argument, got 'small'"):
    sweeps_lib.list_runs(f"{path}:small")


@pytest.mark.parametrize(
  ("line", "message"),
  [
    ('add(arg="a"); add(arg="a")', "adds 'a' twice"),
    ('add({"sed": 1})', "did you mean 'seed'"),
    ('add({"seed": "x"})', "expected int"),
  ],
)
def test_a_wrong_sweep_fails_before_anything_runs(tmp_path, line, message):
  file = tmp_path / "wrong.py"
  head = CONFIG.partition("def sweep")[0]
  file.write_text(f"{head}def sweep(add):\n  {line}\n")
  with pytest.raises(UserError, match=message):
    sweeps_lib.list_runs(str(file))


def test_a_run_of_another_config_is_not_taken_for_done(
  path, tmp_path, calls, capsys
):
  run = sweeps_lib.list_runs(path, [("steps", "5")])[0].sharing_start()
  _write_run(tmp_path, run, last=5)
  argv = ["sweep", f"--config={path}", f"--workdir={tmp_path}"]
  assert main.main([*argv, "--config.steps=6"]) == 2
  assert "config.steps is 5 there and 6 now" in capsys.readouterr().err
  assert not calls


def test_a_config_without_sweep_is_named(tmp_path):
  file = tmp_path / "single.py"
  file.write_text(CONFIG.partition("def sweep")[0])
  with pytest.raises(UserError, match="no function sweep"):
    sweeps_lib.list_runs(str(file))


def test_local_runs_share_one_sft_folder_and_skip_what_is_done(
  path, tmp_path, calls, capsys
):
  folder = tmp_path / "study"
  done, begun, _ = (
    run.sharing_start() for run in sweeps_lib.list_runs(path, [("steps", "5")])
  )
  _write_run(folder, done, last=5)
  _write_run(folder, begun, last=3)
  name = "b,optimizer.learning_rate=0.0001,seed=2"
  argv = ["sweep", f"--config={path}", f"--workdir={folder}"]
  argv.append("--config.steps=5")
  assert main.main(argv) == 1  # one run fails, the others go on
  assert len(calls) == 2
  assert calls[0][2:5] == ["jaxrl_entropy", "train", f"--config={path}:b"]
  assert f"--workdir={tmp_path / 'study' / name}" in calls[0]
  assert "--config.optimizer.learning_rate=0.0001" in calls[0]
  assert calls[0][-1] == "--config.sft.folder=../sft"
  shown = [line.split() for line in capsys.readouterr().out.splitlines()]
  assert shown == [
    ["[a]", "already", "done"],
    ["run", "state", "entropy", "accuracy"],
    ["a", "done", "0.100", "-"],
    [name, "3/5", "0.167", "-"],
    ["seed=3", "failed", "-", "-"],
  ]


def test_dry_run_prints_commands_and_starts_nothing(
  path, tmp_path, calls, capsys
):
  argv = ["sweep", f"--config={path}", f"--workdir={tmp_path / 'my study'}"]
  assert main.main([*argv, "--dry-run"]) == 0
  assert calls == []
  assert len(capsys.readouterr().out.splitlines()) == 3
  assert not (tmp_path / "my study").exists()


def test_other_launchers_get_a_job_name_and_the_flags(path, tmp_path, calls):
  argv = ["sweep", f"--config={path}", f"--workdir={tmp_path / 'Study_1'}"]
  assert main.main([*argv, "--launcher=slurm", "--dry-run"]) == 1
  settings, *calls = calls
  assert settings[1:4] == ["--dry-run", "run", "settings"]
  script, dry_run, action, name, dashes, command, *flags = calls[1]
  assert script.endswith("launch/slurm_gpu.sh")
  assert (dry_run, action, dashes, command) == (
    *("--dry-run", "run"),
    *("--", "train"),
  )
  assert flags[0] == f"--config={path}:b"
  names = [call[3] for call in calls]
  assert name.startswith("rl-study-1-b-optimizer")
  assert len(set(names)) == 3
  assert all(len(n) < 40 and n == n.lower() for n in names)


def test_a_setting_that_a_launcher_misses_is_asked_for_once(
  path, tmp_path, capfd, monkeypatch
):
  for setting in ("TPU_TYPE", "TPU_ZONE"):
    monkeypatch.delenv(setting, raising=False)
  argv = ["sweep", f"--config={path}", f"--workdir={tmp_path}"]
  assert main.main([*argv, "--launcher=tpu-pod"]) == 2
  printed = capfd.readouterr()
  assert printed.err == (
    "tpu_pod.sh: error: set TPU_TYPE, TPU_ZONE; see --help\n"
  )
  assert printed.out == ""


# A sweep of one command that takes its time to save when it is interrupted.
SAVING = """
import sys
from jaxrl_entropy.cli import sweep
run = '''
import signal, sys, time
def save(number, frame):
  time.sleep(1)
  print("saved", flush=True)
  sys.exit(75)
signal.signal(signal.SIGINT, save)
print("training", flush=True)
time.sleep(60)
'''
sys.exit(sweep._wait_for([sys.executable, "-c", run]))
"""


def test_ctrl_c_lets_the_run_save():
  with subprocess.Popen(
    (sys.executable, "-c", SAVING),
    stdout=subprocess.PIPE,
    text=True,
    start_new_session=True,
  ) as process:
    assert process.stdout.readline() == "training\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "saved\n"
    assert process.wait(timeout=30) == 75


def test_a_run_that_a_signal_ended_has_the_status_of_a_shell():
  kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
  assert sweep._wait_for([sys.executable, "-c", kill]) == 137


def test_the_sweep_of_methods_has_a_run_for_each():
  path = SWEEPS / "methods.py"
  methods = config_lib.load_module(str(path)).METHODS
  runs = sweeps_lib.list_runs(f"{path}:first_seed")
  assert len({run.name for run in runs}) == len(runs) == len(methods)
  configs = [config_lib.load(run.config, run.overrides) for run in runs]
  assert {config.seed for config in configs} == {0}
  assert len(sweeps_lib.list_runs(str(path))) == 2 * len(methods)
  by_name = {config.name: config for config in configs}
  assert by_name["methods-gxpo"].optimizer.lookahead.steps == 5
  assert by_name["methods-mcpo"].rollout.group_filter == "all"
