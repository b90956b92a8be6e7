"""`jaxrl-entropy sweep`: every run of a study, resumable."""

from collections.abc import Sequence
import hashlib
from pathlib import Path
import re
import shlex
import signal
import subprocess
import sys

from jaxrl_entropy.cli import flags
from jaxrl_entropy.config import sweeps as study_lib
from jaxrl_entropy.config.sweeps import Run
from jaxrl_entropy.errors import PREEMPTED, UserError

_EXAMPLES = """\
  jaxrl-entropy sweep --config=configs/quickstart.py --workdir=runs/quickstart
  jaxrl-entropy sweep --config=configs/sweeps/qwen2_5_7b.py \\
      --workdir=/mnt/runs/7b --launcher=tpu-pod --dry-run

The same command again skips the runs that are done and continues the others.
"""

# Scripts called with `run NAME -- COMMAND OF jaxrl-entropy`.
_SCRIPTS = {
  "tpu-pod": "tpu_pod.sh",
  "gke": "gke_xpk.sh",
  "slurm": "slurm_gpu.sh",
}
_INTERRUPTED = 128 + signal.SIGINT
_LAUNCH = Path(__file__).resolve().parents[2] / "launch"


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  command = flags.parser("sweep", "Runs all runs of a config file.", _EXAMPLES)
  flags.add_config_flag(command)
  flags.add_workdir_flag(command, "folder of the study")
  command.add_argument(
    "--launcher",
    default="local",
    choices=("local", *_SCRIPTS),
    help="local: one run after the other on this machine; tpu-pod: one after "
    "the other, each on its slice; gke, slurm: all of them are submitted",
  )
  command.add_argument(
    "--dry-run", action="store_true", help="print what would run, run nothing"
  )
  args, overrides = flags.parse_with_overrides(command, argv)
  runs = study_lib.list_runs(args.config, overrides)
  study = Path(args.workdir)
  if args.launcher == "local":
    runs = [run.sharing_start() for run in runs]
  for run in runs:
    run.check(study)
  if args.launcher != "local":
    status = _check_settings(args.launcher)
    if status:
      return status
  failed: dict[str, int] = {}
  for run in runs:
    status = _launch(run, study, args.launcher, args.dry_run)
    if status in (PREEMPTED, _INTERRUPTED):
      return status
    if status:
      failed[run.name] = status
  if not args.dry_run:
    print(study_lib.table(runs, study, failed))
  return max(failed.values(), default=0)


def _launch(run: Run, study: Path, launcher: str, dry_run: bool) -> int:
  """Runs or submits one run; its exit status."""
  if study_lib.is_done(study / run.name):
    print(f"[{run.name}] already done", flush=True)
    return 0
  train = ["train", *run.flags(study)]
  if launcher == "local":
    command = [sys.executable, "-m", "jaxrl_entropy", *train]
    if dry_run:
      print(shlex.join(command))
      return 0
  else:
    flags = ["--dry-run"] if dry_run else []
    command = [_script(launcher), *flags, "run", _job(run, study), "--", *train]
  return _wait_for(command)


def _wait_for(command: Sequence[str]) -> int:
  """Runs a command; its exit status, 128 and more for a signal as in a shell.

  ctrl-C reaches the command as well, which saves and ends. Here it is only
  noted: subprocess.run would kill a command that does not end at once.
  """
  before = signal.signal(signal.SIGINT, lambda number, frame: None)
  try:
    status = subprocess.run(command).returncode
  finally:
    signal.signal(signal.SIGINT, before)
  return status if status >= 0 else 128 - status


def _check_settings(launcher: str) -> int:
  """Asks a launcher for a dry run, so that a missing setting is named once.

  Returns:
    Its exit status; it has printed its own message.
  """
  dry = [_script(launcher), "--dry-run", "run", "settings", "--", "train"]
  return subprocess.run(dry, stdout=subprocess.DEVNULL).returncode


def _script(launcher: str) -> str:
  script = _LAUNCH / _SCRIPTS[launcher]
  if not script.exists():
    raise UserError(
      f"--launcher={launcher} needs {script}: install from a git checkout "
      "(pip install -e .)"
    )
  return str(script)


def _job(run: Run, study: Path) -> str:
  """Returns a name for clusters: a letter, then a-z, 0-9 and '-', 39 in all."""
  readable = re.sub(r"[^a-z0-9]+", "-", f"rl-{study.name}-{run.name}".lower())
  digest = hashlib.sha256(f"{study}/{run.name}".encode()).hexdigest()[:6]
  return f"{readable[:32].strip('-')}-{digest}"
