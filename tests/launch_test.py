"""The launch scripts, with stand-ins for the tools of clusters on PATH."""

import os
from pathlib import Path
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
COMMAND = [
  *("train", "--config=my configs/a.py:x", "--config.name=it's $HOME; *"),
  *("--config.note=two\nlines", 'a\\b"$(touch harmed)`"', "&", "ü", " ", ""),
]


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
     'printf "%s\\0" "${w[@]}"; printf "\\036"; done'),
    input=text,
    capture_output=True,
    text=True,
    check=True,
  ).stdout  # fmt: skip
  return [line.split("\0")[:-1] for line in array.split("\036") if line]


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
    ((), "give an action and a name"),
    (("run",), "give a name: "),
    (("run", "job"), "run needs a command"),
    (("fly", "job"), "no action fly; use run, status, logs or delete"),
    (("run", "job", "train"), "unexpected word train; a command comes after"),
    (("run", "--dry", "job"), "no flag --dry"),
    (("delete", "a;rm -r *"), "the name a\\;rm\\ -r\\ \\* must start"),
    (("logs", "../../etc"), "must start with a letter"),
    (("status", "7b"), "must start with a letter"),
    (("run", "j" * 40, "--", "train"), "fewer than 40 characters"),
  ],
)
def test_wrong_arguments_are_explained(launch, script, args, message):
  done = launch(script, *args)
  assert done.returncode == 2
  assert message in done.stderr
  assert done.calls == []


@pytest.mark.parametrize("script", SETTINGS)
@pytest.mark.parametrize("words", [(), ("run", "job")])
def test_help_is_printed_and_is_no_error(launch, script, words):
  done = launch(script, *words, "--help")
  assert (done.returncode, done.stderr, done.calls) == (0, "", [])
  assert f"launch/{script}.sh [--dry-run] run NAME" in done.stdout
  assert "SETUP " in done.stdout


@pytest.mark.parametrize("script", SETTINGS)
def test_a_dry_run_may_be_asked_for_anywhere(launch, script):
  done = launch(script, "run", "--dry-run", "job", "--", *COMMAND)
  assert (done.returncode, done.calls) == (0, [])


@pytest.mark.parametrize(
  ("script", "settings"),
  [
    ("tpu_pod", ("TPU_TYPE",)),
    ("tpu_pod", ("TPU_TYPE", "TPU_ZONE")),
    ("gke_xpk", ("IMAGE",)),
    ("gke_xpk", ("GKE_ZONE", "GKE_PROJECT")),
  ],
)
def test_missing_settings_are_all_named(launch, script, settings):
  unset = dict.fromkeys(settings, "")
  done = launch(script, "run", "job", "--", *COMMAND, **unset)
  assert (done.returncode, done.calls) == (2, [])
  assert f"set {', '.join(settings)};" in done.stderr


@pytest.mark.parametrize("script", ["tpu_pod", "gke_xpk"])
@pytest.mark.parametrize(
  ("slice_type", "valid"),
  [
    *((name, True) for name in ("v5e-16", "v5litepod-256", "v6e-1")),
    *((name, True) for name in ("v5p-128", "v4-8", "v5p-12288")),
    *((name, False) for name in ("v5e-17", "v6e-512", "v5p-12", "v4-0")),
    *((name, False) for name in ("v5p", "v5e-", "v5e-x", "16", "v4-8;ls")),
  ],
)
def test_the_type_of_a_slice_is_checked(launch, script, slice_type, valid):
  done = launch(
    *(script, "--dry-run", "run", "job", "--", "train"), TPU_TYPE=slice_type
  )
  assert done.returncode == (0 if valid else 2), done.stderr
  assert ("TPU_TYPE is " in done.stderr) == (not valid)


def test_slurm_hands_the_command_on_unharmed(launch, tmp_path):
  done = launch("slurm_gpu", "run", "job", "--", *COMMAND)
  (call,) = _find(done.calls, "sbatch")
  assert "--nodes=2" in call
  assert "--requeue" in call
  assert _run_batch(call, tmp_path) == 0
  step = _words((tmp_path / "calls").read_text())[-1]
  assert step[-len(COMMAND) :] == COMMAND


def _run_batch(call, tmp_path, **environment):
  """The exit status of a job that was submitted, run as SLURM would."""
  script = call.index("launch/slurm_job.sh")
  return subprocess.run(
    call[script:],
    env={
      "PATH": f"{tmp_path}/tools:{os.environ['PATH']}",
      "SLURM_JOB_ID": "7",
      "SLURM_JOB_NUM_NODES": "2",
      "LOGS": str(tmp_path / "logs"),
      **environment,
    },
    cwd=ROOT,
  ).returncode


@pytest.mark.parametrize(
  ("status", "restarts", "again"),
  [
    *((75, "0", True), (1, "0", False), (2, "0", False)),
    *((137, "0", True), (134, "99", True), (75, "100", False)),
  ],
)
def test_slurm_queues_a_stopped_run_again(
  launch, tmp_path, status, restarts, again
):
  """Also where a process was killed, but not for ever."""
  done = launch(
    *("slurm_gpu", "run", "job", "--", *COMMAND),
    answers={"srun": f"exit {status}"},
  )
  (call,) = _find(done.calls, "sbatch")
  restarted = {"SLURM_RESTART_COUNT": restarts}
  assert _run_batch(call, tmp_path, **restarted) == status
  calls = _words((tmp_path / "calls").read_text())
  assert (["scontrol", "requeue", "7"] in calls) == again
  (step,) = _find(calls, "srun")
  # The first process that stops does not take the others down with it.
  assert "--kill-on-bad-exit=0" in step


# Runs what srun is told to run once for each of these statuses, as commands
# that end with them, and reports the largest, as srun does.
SRUN_WORLD = """
while [ "${{1#-}}" != "$1" ]; do shift; done
largest=0
for status in {statuses}; do
  "${{@:1:5}}" bash -c "exit $status"
  status=$?
  [ "$status" -le "$largest" ] || largest=$status
done
exit "$largest"
"""


@pytest.mark.parametrize(
  ("statuses", "status", "again"),
  [
    ("0 0", 0, False),
    ("75 75", 75, True),
    ("75 137", 137, True),  # one was killed
    ("75 2", 2, False),  # one failed by itself; the other lost it
    ("134 1 74", 74, False),
  ],
)
def test_slurm_tells_who_failed_from_who_lost_a_process(
  launch, tmp_path, statuses, status, again
):
  done = launch(
    *("slurm_gpu", "run", "job", "--", *COMMAND),
    answers={"srun": SRUN_WORLD.format(statuses=statuses)},
  )
  (call,) = _find(done.calls, "sbatch")
  assert _run_batch(call, tmp_path) == status
  calls = _words((tmp_path / "calls").read_text())
  assert (["scontrol", "requeue", "7"] in calls) == again
  assert not list((tmp_path / "logs").glob("*.failures"))


def test_slurm_does_not_queue_twice(launch):
  done = launch(
    "slurm_gpu", "run", "job", "--", *COMMAND, answers={"squeue": "echo 12 job"}
  )
  assert "already queued" in done.stdout
  assert not _find(done.calls, "sbatch")


def test_slurm_whose_queue_cannot_be_read_submits_nothing(launch):
  done = launch(
    *("slurm_gpu", "run", "job", "--", *COMMAND),
    answers={"squeue": "echo no controller >&2; exit 1"},
  )
  assert done.returncode == 2
  assert "no controller" in done.stderr
  assert "squeue failed" in done.stderr
  assert not _find(done.calls, "sbatch")


def test_slurm_runs_one_of_two_jobs_of_a_name_at_a_time(launch):
  done = launch("slurm_gpu", "run", "job", "--", *COMMAND)
  (call,) = _find(done.calls, "sbatch")
  assert "--dependency=singleton" in call


@pytest.mark.parametrize(("answer", "status"), [("", 0), ("exit 1", 2)])
def test_slurm_sets_each_node_up_first(launch, tmp_path, answer, status):
  done = launch(
    *("slurm_gpu", "run", "job", "--", *COMMAND),
    answers={"srun": f"case $* in *'mount it'*) {answer or ':'} ;; esac"},
  )
  (call,) = _find(done.calls, "sbatch")
  assert _run_batch(call, tmp_path, SETUP="mount it") == status
  steps = _find(_words((tmp_path / "calls").read_text()), "srun")
  assert steps[0][-3:] == ["bash", "-ec", "mount it"]
  assert {"--ntasks=2", "--ntasks-per-node=1"} <= set(steps[0])
  assert len(steps) == (1 if answer else 2)


def test_xpk_hands_the_command_on_unharmed(launch):
  done = launch("gke_xpk", "run", "job", "--", *COMMAND)
  (call,) = _find(done.calls, "create")
  assert "--cluster=our cluster" in call
  script = _value(call, "--command")
  assert "\n" not in script  # it becomes a part of a line of YAML
  script = script.replace("exec jaxrl-entropy", 'printf "%s\\0"')
  words = subprocess.run(
    ("bash", "-c", script), capture_output=True, text=True
  ).stdout
  assert words.split("\0")[:-1] == COMMAND


def test_xpk_sets_each_pod_up_first(launch, tmp_path):
  setup = 'echo "it\'s"\ntouch ready'
  done = launch("gke_xpk", "run", "job", "--", "train", SETUP=setup)
  (call,) = _find(done.calls, "create")
  script = _value(call, "--command")
  assert "\n" not in script
  assert script.endswith("&& exec jaxrl-entropy train")
  script = script.replace("exec jaxrl-entropy", "ls")
  subprocess.run(("bash", "-c", script), cwd=tmp_path, capture_output=True)
  assert (tmp_path / "ready").exists()


def test_xpk_restarts_a_run_that_was_stopped(launch):
  done = launch("gke_xpk", "run", "job", "--", *COMMAND)
  (call,) = _find(done.calls, "create")
  assert "--restart-on-exit-codes=75" in call


@pytest.mark.parametrize(
  ("script", "flag"),
  [("tpu_pod", "--accelerator-type"), ("gke_xpk", "--tpu-type")],
)
def test_slices_have_the_names_of_google_cloud(launch, script, flag):
  done = launch(
    *(script, "--dry-run", "run", "job", "--", *COMMAND), TPU_TYPE="v5e-16"
  )
  (create,) = _find(_words(done.stdout), "create")
  assert _value(create, flag) == "v5litepod-16"


# What xpk prints of a cluster: its own doings, and a table.
XPK_WORLD = """
case $* in
  *list*)
    printf '[XPK] Task: `List Jobs with %s`\\n' "$*"
    printf '%s\\n' '[XPK] Workload List Output:' 'Jobset Name   Status'
    printf '%s\\n' {row} ;;
esac
"""


@pytest.mark.parametrize(
  ("row", "calls"),
  [
    ("", ["list", "create"]),
    ("'job-2   PodsReady   All pods reached readiness'", ["list", "create"]),
    ("'job   PodsReady   All pods reached readiness'", ["list"]),
    ("'job   QuotaReserved   waits'", ["list"]),
    ("'job   Finished   jobset failed'", ["list", "delete", "create"]),
  ],
)
def test_xpk_does_not_start_twice(launch, row, calls):
  done = launch(
    *("gke_xpk", "run", "job", "--", *COMMAND),
    answers={"xpk": XPK_WORLD.format(row=row)},
  )
  assert done.returncode == 0, done.stderr
  assert [call[2] for call in _find(done.calls, "xpk")] == calls
  assert ("already running" in done.stdout) == (calls == ["list"])


def test_xpk_that_cannot_list_is_heard(launch):
  done = launch(
    *("gke_xpk", "run", "job", "--", *COMMAND),
    answers={"xpk": "echo no such cluster; exit 1"},
  )
  assert done.returncode == 1
  assert "no such cluster" in done.stderr
  assert not _find(done.calls, "create")


# A slice that is there once it was created, and hosts whose runs end with
# these statuses, one a start.
TPU_WORLD = """
statuses=({statuses})
starts=$(grep -c setsid "$CALLS" || true)
case $* in
  *describe*)
    grep -q queued-resources.*create "$CALLS" && echo ACTIVE || {{
      echo NOT_FOUND >&2; exit 1; }} ;;
  *running*exit_status*) echo "${{statuses[starts - 1]}}"; echo 0 ;;
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


def test_tpu_pod_deletes_the_slice_of_an_ended_run_where_told_to(launch):
  done = launch(
    *("tpu_pod", "run", "job", "--", *COMMAND),
    answers={"gcloud": TPU_WORLD.format(statuses="1")},
    TPU_DELETE="1",
  )
  assert done.returncode == 1
  assert {"queued-resources", "delete", "job"} <= set(done.calls[-1])


def test_tpu_pod_warns_of_what_it_does_not_copy(launch):
  done = launch(
    *("tpu_pod", "run", "job", "--", *COMMAND),
    answers={
      "gcloud": TPU_WORLD.format(statuses="0"),
      "git": "case $1 in status) echo ' M configs/a.py' ;; esac",
    },
  )
  assert "not committed is not copied" in done.stderr


def test_tpu_pod_starts_the_command_unharmed_and_once(launch, tmp_path):
  done = launch("tpu_pod", "--dry-run", "run", "job", "--", *COMMAND)
  (start,) = [c for c in _words(done.stdout) if "setsid" in str(c)]
  script = _value(start, "--command").replace("tar xzf", ": tar")
  script = script.replace(". launch/venv.sh && ensure_venv", ": install")
  host = tmp_path / "host"
  program = host / "jaxrl_entropy-job" / ".venv" / "bin" / "jaxrl-entropy"
  program.parent.mkdir(parents=True)
  program.write_text(
    '#!/bin/sh\nprintf "%s\\0" "$JAXRL_TPU_POD" "$@"\n'
    "while [ ! -e end ]; do sleep .05; done\nexit 3\n"
  )
  program.chmod(0o755)
  folder = host / "jaxrl_entropy-job"

  def on_host(line):
    return subprocess.run(
      ("bash", "-c", line),
      cwd=host,
      timeout=20,
      check=True,
      capture_output=True,
      text=True,
    ).stdout

  ask = _question(launch)
  assert on_host(ask) == "lost\n"
  on_host(script)
  assert on_host(ask) == "running\n"
  # While the process lives, another start does nothing.
  on_host(script)
  (folder / "end").touch()
  on_host(f"while [ ! -s {folder}/exit_status ]; do sleep .05; done")
  assert (folder / "log").read_text().split("\0")[:-1] == ["1", *COMMAND]
  assert not (folder / "harmed").exists()
  assert on_host(f"sleep .1; {ask}") == "3\n"
  assert not (folder / "setup").exists()


def _question(launch):
  """What the launcher asks the hosts while it waits for the end of a run."""
  done = launch(
    *("tpu_pod", "run", "job", "--", *COMMAND),
    answers={"gcloud": TPU_WORLD.format(statuses="0")},
  )
  return next(
    _value(call, "--command")
    for call in _find(done.calls, "ssh")
    if "echo running" in str(call)
  )


@pytest.mark.parametrize(
  ("first", "starts"),
  [
    ("echo lost; echo 0", 2),  # a host was started anew
    ("echo 0; exit 1", 1),  # a host did not answer
    ("echo running; echo lost", 1),  # the others will notice
  ],
)
def test_tpu_pod_asks_again_or_starts_over(launch, first, starts):
  """The first answer of the hosts, and how often the command is started."""
  world = TPU_WORLD.format(statuses="0 0").replace(
    "case $* in",
    f"""case $* in
  *running*exit_status*)
    if [ "$(grep -c 'echo running' "$CALLS")" -le 1 ]; then {first}; exit; fi
    echo 0 ;;""",
  )
  done = launch(
    *("tpu_pod", "run", "job", "--", *COMMAND), answers={"gcloud": world}
  )
  assert done.returncode == 0, done.stderr
  assert len([c for c in done.calls if "setsid" in str(c)]) == starts


def test_tpu_pod_that_is_preempted_too_often_says_it_can_go_on(launch):
  done = launch(
    *("tpu_pod", "run", "job", "--", *COMMAND),
    answers={"gcloud": TPU_WORLD.format(statuses="75 75 75")},
    RETRIES="2",
  )
  assert done.returncode == 75
  assert len([c for c in done.calls if "setsid" in str(c)]) == 3


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
      grep -q queued-resources.*create "$CALLS" && echo ACTIVE || {
        echo NOT_FOUND >&2; exit 1; }
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


def _refusing(action, message, times=99):
  """A world in which gcloud fails to `action` at first, with a message."""
  return TPU_WORLD.format(statuses="0").replace(
    "case $* in",
    f"""case $* in
  *{action}*)
    if [ "$(grep -c '{action}' "$CALLS")" -le {times} ]; then
      echo "ERROR: {message}" >&2; exit 1
    fi ;;&""",
  )


PERMANENT = (
  "The required property [project] is not currently set.",
  "PERMISSION_DENIED: Cloud TPU API has not been used in project 7",
  "INVALID_ARGUMENT: Invalid runtime version",
  "RESOURCE_EXHAUSTED: Quota limit TPUV5p has been exceeded. Limit: 0",
  "You do not currently have an active account selected.",
  "gcloud: command not found",
)
PASSING = (
  "RESOURCE_EXHAUSTED: There is no more capacity in the zone",
  "UNAVAILABLE: the service is busy",
  "HttpError 503: backend error",
  "RESOURCE_EXHAUSTED: Quota exceeded for 'Read requests per minute'",
)


@pytest.mark.parametrize("action", ["create", "describe"])
@pytest.mark.parametrize("message", PERMANENT)
def test_tpu_pod_stops_at_once_for_a_cause_that_stays(launch, action, message):
  done = launch(
    *("tpu_pod", "run", "job", "--", *COMMAND),
    answers={"gcloud": _refusing(action, message)},
  )
  assert done.returncode == 2
  assert message in done.stderr
  assert "Traceback" not in done.stderr
  assert len(done.stderr.splitlines()) == 1
  assert len(_find(done.calls, action)) == 1


@pytest.mark.parametrize("action", ["create", "describe"])
@pytest.mark.parametrize("message", PASSING)
def test_tpu_pod_asks_again_where_that_may_help(launch, action, message):
  done = launch(
    *("tpu_pod", "run", "job", "--", *COMMAND),
    answers={"gcloud": _refusing(action, message, times=2)},
  )
  assert done.returncode == 0, done.stderr
  assert message in done.stdout
  assert len(_find(done.calls, "scp")) == 1


@pytest.mark.parametrize(
  ("reason", "status"), [("no more capacity", 75), ("INVALID_ARGUMENT: x", 2)]
)
def test_tpu_pod_reads_why_a_slice_failed(launch, reason, status):
  world = f"""
  case $* in
    *failedData*) echo "{reason}" ;;
    *describe*) echo FAILED ;;
  esac
  """
  done = launch(
    *("tpu_pod", "run", "job", "--", *COMMAND),
    answers={"gcloud": world},
    RETRIES="1",
  )
  assert done.returncode == status
  assert reason in done.stdout + done.stderr
  assert not _find(done.calls, "scp")


@pytest.mark.parametrize(
  ("statuses", "status", "starts"),
  [
    ("137 75", 0, 2),  # killed; the others lost it
    ("75 134", 0, 2),
    ("2 75", 2, 1),  # one failed for good, and the others lost it
    ("75 1 137", 1, 1),
    ("0 0", 0, 1),
  ],
)
def test_tpu_pod_restarts_what_lost_a_process(launch, statuses, status, starts):
  """The exit statuses of the hosts of a first start; a second one succeeds."""
  world = TPU_WORLD.format(statuses="0 0").replace(
    "case $* in",
    f"""case $* in
  *running*exit_status*)
    echo "SSH: connecting to worker 0"
    [ "$starts" -gt 1 ] && echo 0 || printf '%s\n' {statuses}
    exit ;;""",
  )
  done = launch(
    *("tpu_pod", "run", "job", "--", *COMMAND), answers={"gcloud": world}
  )
  assert done.returncode == status
  assert len([c for c in done.calls if "setsid" in str(c)]) == starts


def test_tpu_pod_stops_where_setup_fails(launch):
  world = TPU_WORLD.format(statuses="0").replace(
    "case $* in",
    """case $* in
  *setsid*) echo "gcsfuse: not found"; echo "SETUP failed on host 3"; exit 1 ;;
  """,
  )
  done = launch(
    *("tpu_pod", "run", "job", "--", *COMMAND),
    answers={"gcloud": world},
    SETUP="gcsfuse bucket /mnt",
  )
  assert done.returncode == 2
  assert "SETUP failed on host 3" in done.stderr
  assert "gcsfuse: not found" in done.stdout
  assert len([c for c in done.calls if "setsid" in str(c)]) == 1


def test_tpu_pod_sets_a_host_up_once_for_each_boot(launch, tmp_path):
  setup = "echo 'a b' >>\"$HOME/mounted\"\n[ ! -e fail ]"
  done = launch(
    *("tpu_pod", "--dry-run", "run", "job", "--", "train"), SETUP=setup
  )
  (start,) = [c for c in _words(done.stdout) if "setsid" in str(c)]
  boot = tmp_path / "boot"
  script = _value(start, "--command").replace("tar xzf", ": tar")
  script = script.replace(". launch/venv.sh && ensure_venv", ": install")
  script = script.replace("/proc/sys/kernel/random/boot_id", str(boot))
  script = script.replace("setsid", "exit 0 #")

  def on_host():
    done = subprocess.run(
      ("bash", "-c", script),
      cwd=tmp_path,
      env=os.environ | {"HOME": str(tmp_path)},
      capture_output=True,
      text=True,
    )
    mounts = (tmp_path / "mounted").read_text().count("a b\n")
    return done.returncode, mounts, "SETUP failed on" in done.stdout

  boot.write_text("first\n")
  assert on_host() == (0, 1, False)
  assert on_host() == (0, 1, False)
  boot.write_text("second\n")
  (tmp_path / "jaxrl_entropy-job" / "fail").touch()
  assert on_host() == (1, 2, True)
  (tmp_path / "jaxrl_entropy-job" / "fail").unlink()
  assert on_host() == (0, 3, False)


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
  short = ("steps=2", "sft.steps=20", "eval.problems=16")
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
