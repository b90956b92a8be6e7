"""The launch scripts, with stand-ins for the tools of clusters on PATH."""

import os
from pathlib import Path
import shlex
import subprocess
import sys

import pytest

ROOT = Path(__file__).parents[1]
SETTINGS = {
  "tpu_pod": {"TPU_TYPE": "v5p-128", "TPU_ZONE": "zone-a"},
  "gke_xpk": {
    "GKE_CLUSTER": "our cluster",
    "GKE_ZONE": "zone-a",
    "GKE_PROJECT": "p",
    "TPU_TYPE": "v5p-128",
    "IMAGE": "image:1",
  },
  "slurm_gpu": {"NODES": "2"},
}
TOOLS = (
  *("gcloud", "xpk", "kubectl", "sbatch", "squeue", "scancel", "scontrol"),
  *("srun", "git"),
)
# Words that every shell on the way must hand on as they are.
COMMAND = ["train", "--config=my configs/a.py:x", "--config.name=it's $HOME; *"]


@pytest.fixture
def launch(tmp_path):
  """Runs a script; stand-ins record their calls and answer as told."""
  tools, calls = tmp_path / "tools", tmp_path / "calls"
  tools.mkdir()
  for tool in TOOLS:
    stand_in = tools / tool
    # An answer is a script; it sees the call as $@ and the calls so far.
    stand_in.write_text(
      '#!/usr/bin/env bash\n{ printf "%q " "${0##*/}" "$@"; echo; } '
      f">>{calls}\n[ ! -e {tmp_path}/${{0##*/}}.answer ] || "
      f". {tmp_path}/${{0##*/}}.answer\n"
    )
    stand_in.chmod(0o755)

  def run(script, *args, answers=None, **settings):
    calls.write_text("")
    for tool, answer in (answers or {}).items():
      (tmp_path / f"{tool}.answer").write_text(answer)
    environment = {
      "PATH": f"{tools}:{os.environ['PATH']}",
      "HOME": str(tmp_path),
      "LOGS": str(tmp_path / "logs"),
      "POLL_SECONDS": "0",
      "CALLS": str(calls),
    }
    done = subprocess.run(
      (str(ROOT / "launch" / f"{script}.sh"), *args),
      env=environment | SETTINGS[script] | settings,
      capture_output=True,
      text=True,
      timeout=60,
    )
    done.calls = _words(calls.read_text())
    return done

  return run


def _words(text):
  """The words of each line of commands that bash quoted."""
  array = subprocess.run(
    ("bash", "-c", 'while IFS= read -r line; do eval "w=($line)"; '
     'printf "%s\\0" "${w[@]}"; printf "\\0"; done'),
    input=text,
    capture_output=True,
    text=True,
    check=True,
  ).stdout  # fmt: skip
  return [block.split("\0") for block in array.split("\0\0") if block]


def _value(words, flag):
  (value,) = [w[len(flag) + 1 :] for w in words if w.startswith(flag + "=")]
  return value


def _find(calls, *start):
  return [c for c in calls if all(word in c for word in start)]


@pytest.mark.parametrize("script", SETTINGS)
def test_dry_run_starts_nothing_and_prints_what_would_run(launch, script):
  done = launch(script, "--dry-run", "run", "job", "--", *COMMAND)
  assert done.returncode == 0, done.stderr
  assert done.calls == []
  real = launch(
    script,
    *("run", "job", "--", *COMMAND),
    answers={"gcloud": TPU_WORLD.format(statuses="0")},
  )
  shown = _words(done.stdout)
  creating = ("create", "scp", "ssh", "sbatch")
  made = [c for c in real.calls if set(creating) & set(c)]
  assert made
  assert [c for c in shown if set(creating) & set(c)][:3] == made[:3]


@pytest.mark.parametrize("script", SETTINGS)
@pytest.mark.parametrize(
  ("args", "message"),
  [
    ((), "Settings, from the environment"),
    (("run", "job"), "run needs a command"),
    (("fly", "job"), "no action fly"),
    (("run", "job", "train"), "Settings, from the environment"),
  ],
)
def test_wrong_arguments_are_explained(launch, script, args, message):
  done = launch(script, *args)
  assert done.returncode == 2
  assert message in done.stderr
  assert done.calls == []


@pytest.mark.parametrize(
  ("script", "setting"), [("tpu_pod", "TPU_TYPE"), ("gke_xpk", "IMAGE")]
)
def test_a_missing_setting_is_named(launch, script, setting):
  done = launch(script, "run", "job", "--", *COMMAND, **{setting: ""})
  assert done.returncode == 2
  assert f"set {setting}" in done.stderr


def test_slurm_hands_the_command_on_unharmed(launch, tmp_path):
  done = launch("slurm_gpu", "run", "job", "--", *COMMAND)
  (call,) = _find(done.calls, "sbatch")
  assert "--nodes=2" in call
  assert "--requeue" in call
  script = _value(call, "--wrap")
  again = subprocess.run(
    ("bash", "-c", script),
    env={"PATH": f"{tmp_path}/tools:{os.environ['PATH']}"},
  )
  assert again.returncode == 0
  step = _words((tmp_path / "calls").read_text())[-1]
  assert step[-len(COMMAND) :] == COMMAND


def test_slurm_queues_a_stopped_run_again(launch, tmp_path):
  done = launch(
    "slurm_gpu", "run", "job", "--", *COMMAND, answers={"srun": "exit 75"}
  )
  script = _value(_find(done.calls, "sbatch")[0], "--wrap")
  env = {"PATH": f"{tmp_path}/tools:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
  assert subprocess.run(("bash", "-c", script), env=env).returncode == 75
  assert _words((tmp_path / "calls").read_text())[-1] == [
    *("scontrol", "requeue", "7")
  ]


def test_slurm_does_not_queue_twice(launch):
  done = launch(
    "slurm_gpu", "run", "job", "--", *COMMAND, answers={"squeue": "echo 12 job"}
  )
  assert "already queued" in done.stdout
  assert not _find(done.calls, "sbatch")


def test_xpk_hands_the_command_on_unharmed(launch):
  done = launch("gke_xpk", "run", "job", "--", *COMMAND)
  (call,) = _find(done.calls, "create")
  assert "--cluster=our cluster" in call
  assert shlex.split(_value(call, "--command")) == ["jaxrl-entropy", *COMMAND]


def test_xpk_does_not_start_twice(launch):
  done = launch(
    "gke_xpk", "run", "job", "--", *COMMAND, answers={"xpk": "echo job RUNNING"}
  )
  assert "already running" in done.stdout
  assert not _find(done.calls, "create")


# A slice that is there once it was created, and hosts whose runs end with
# these statuses, one a start.
TPU_WORLD = """
statuses=({statuses})
starts=$(grep -c pid "$CALLS" || true)
case $* in
  *describe*)
    grep -q queued-resources.*create "$CALLS" && echo ACTIVE || exit 1 ;;
  *exit_status*running*) echo "${{statuses[starts - 1]}}"; echo 0 ;;
  *cat*log*) echo "the log of a host" ;;
esac
"""


def test_tpu_pod_creates_installs_starts_and_collects(launch, tmp_path):
  done = launch(
    "tpu_pod",
    *("run", "job", "--", *COMMAND),
    answers={"gcloud": TPU_WORLD.format(statuses="0")},
    TPU_SPOT="1",
    TPU_PROJECT="p",
  )
  assert done.returncode == 0, done.stderr
  (create,) = _find(done.calls, "create")
  assert {"--accelerator-type=v5p-128", "--spot", "--project=p"} <= set(create)
  (copy,) = _find(done.calls, "scp")
  assert "--worker=all" in copy
  log = (tmp_path / "logs" / "job.log").read_text()
  assert log == "the log of a host\n"
  assert not _find(done.calls, "delete")


def test_tpu_pod_starts_the_command_unharmed_and_once(launch, tmp_path):
  done = launch("tpu_pod", "--dry-run", "run", "job", "--", *COMMAND)
  (start,) = [c for c in _words(done.stdout) if "setsid" in str(c)]
  script = _value(start, "--command").replace("tar xzf", ": tar")
  script = script.replace(". launch/venv.sh && ensure_venv", ": install")
  host = tmp_path / "host"
  program = host / "jaxrl_entropy-job" / ".venv" / "bin" / "jaxrl-entropy"
  program.parent.mkdir(parents=True)
  program.write_text(
    '#!/bin/sh\nprintf "%s\\n" "$JAXRL_TPU_POD" "$@"\nexit 3\n'
  )
  program.chmod(0o755)
  wait = "\nwhile [ ! -s exit_status ]; do sleep .05; done"
  subprocess.run(
    ("bash", "-c", script + wait), cwd=host, timeout=20, check=True
  )
  folder = host / "jaxrl_entropy-job"
  assert (folder / "log").read_text().splitlines() == ["1", *COMMAND]
  assert (folder / "exit_status").read_text() == "3\n"
  # While the process lives, another start does nothing.
  (folder / "pid").write_text(str(os.getpid()))
  subprocess.run(("bash", "-c", script), cwd=host, timeout=20, check=True)
  assert len((folder / "log").read_text().splitlines()) == 1 + len(COMMAND)


def test_tpu_pod_goes_on_after_a_restartable_exit(launch):
  done = launch(
    "tpu_pod",
    *("run", "job", "--", *COMMAND),
    answers={"gcloud": TPU_WORLD.format(statuses="75 0")},
  )
  assert done.returncode == 0
  assert len(_find(done.calls, "create")) == 1
  assert len([c for c in done.calls if "setsid" in str(c)]) == 2


def test_tpu_pod_reports_a_failed_run(launch):
  done = launch(
    "tpu_pod",
    *("run", "job", "--", *COMMAND),
    answers={"gcloud": TPU_WORLD.format(statuses="1")},
  )
  assert done.returncode == 1
  assert len([c for c in done.calls if "setsid" in str(c)]) == 1


def test_tpu_pod_replaces_a_preempted_slice(launch):
  world = TPU_WORLD.format(statuses="0").replace(
    "case $* in",
    """case $* in
  *describe*)
    if grep -q delete "$CALLS"; then
      grep -q queued-resources.*create "$CALLS" && echo ACTIVE || exit 1
    else
      echo SUSPENDED
    fi ;;""",
  )
  done = launch(
    "tpu_pod", "run", "job", "--", *COMMAND, answers={"gcloud": world}
  )
  assert done.returncode == 0, done.stderr
  order = [
    word
    for call in done.calls
    for word in ("delete", "create", "scp")
    if word in call
  ]
  assert order == ["delete", "create", "scp"]


def test_tpu_pod_tears_down_on_demand(launch):
  done = launch("tpu_pod", "delete", "job")
  (call,) = done.calls
  assert {"delete", "job", "--force"} <= set(call)


def test_scripts_are_clean_and_executable():
  scripts = [*sorted((ROOT / "launch").glob("*.sh")), ROOT / ".ci" / "run"]
  done = subprocess.run(
    (
      Path(sys.executable).with_name("shellcheck"),
      "--external-sources",
      *map(str, scripts),
    ),
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stdout
  sourced = {"venv.sh", "cloud.sh"}
  assert all(
    os.access(script, os.X_OK)
    for script in scripts
    if script.name not in sourced
  )


@pytest.mark.slow
def test_quickstart_reports_and_says_what_is_there(tmp_path):
  short = ("steps=2", "pretrain.steps=20", "eval.problems=16")
  flags = [f"--config.{setting}" for setting in short]

  def quickstart():
    return subprocess.run(
      (ROOT / "launch" / "quickstart.sh", *flags),
      env=os.environ | {"WORKDIR": str(tmp_path / "study")},
      capture_output=True,
      text=True,
      check=True,
    ).stdout

  page = tmp_path / "study" / "report" / "report.html"
  assert f"report: {page}" in quickstart()
  assert page.is_file()
  assert quickstart().count("already done") == 3
