import signal
import subprocess
import sys

import pytest

from jaxrl_entropy.cli import failures
from jaxrl_entropy.errors import PREEMPTED, UserError
from tests import devices

TINY = "tests/training/tiny_config.py"


@pytest.mark.parametrize(
  ("text", "line"),
  [
    ("one", "one"),
    ("2 rows are no problems:\n  line 1: no id\nline 2", None),
    ("\n\n", ""),
    ("x" * 5000, "x" * 2000),
  ],
)
def test_messages_are_whole_and_of_one_line(text, line):
  whole = "2 rows are no problems: line 1: no id; line 2"
  assert failures.one_line(text) == (whole if line is None else line)


@pytest.mark.parametrize(
  "error",
  [
    MemoryError(),
    RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nxla"),
  ],
)
def test_a_lack_of_memory_names_the_fields_that_use_it(error):
  explained = failures.explain(error)
  assert isinstance(explained, UserError)
  assert "out of memory" in str(explained)
  assert "optimizer.micro_batches" in str(explained)
  assert "\n" not in str(explained)


def test_a_file_that_is_missing_is_named_first():
  error = FileNotFoundError(2, "No such file or directory", "run/config.json")
  assert str(failures.explain(error)) == (
    "run/config.json: No such file or directory"
  )


def test_a_fault_of_ours_is_not_explained_away():
  assert failures.explain(TypeError("a bug")) is None
  assert failures.explain(AssertionError()) is None
  # Outside a job there is no process to lose.
  assert failures.explain(RuntimeError("Socket closed")) is None


@pytest.mark.parametrize("command", ["train", "doctor"])
def test_a_missing_backend_is_one_line_with_its_remedy(tmp_path, command):
  flags = (f"--config={TINY}:grpo", f"--workdir={tmp_path / 'run'}")
  done = subprocess.run(
    (
      *(sys.executable, "-m", "jaxrl_entropy", command),
      *(flags if command == "train" else ()),
    ),
    env=devices.environment(1) | {"JAX_PLATFORMS": "cuda"},
    cwd=devices.ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2
  (line,) = done.stderr.splitlines()
  assert line.startswith(
    f"jaxrl-entropy {command}: error: JAX_PLATFORMS is 'cuda', and JAX finds "
    "no such device"
  )
  assert "pip install 'jaxrl_entropy[cuda]'" in line
  assert not (tmp_path / "run").exists()


# A command that exchanges values until a process fails or is killed.
EXCHANGE = """
import sys, types
from jaxrl_entropy import distributed
from jaxrl_entropy.cli import main
from jaxrl_entropy.errors import UserError

def run(argv):
  distributed.start()
  for step in range(10**9):
    distributed.all_gather(step)
    if step == 5:
      print("exchanging", flush=True)
    if step == 50 and argv == ["fails"]:
      raise UserError("no such thing", status=3)
    if step > 50 and argv == ["prints"]:
      print("progress", flush=True)

command = types.ModuleType("jaxrl_entropy.cli.train")
command.main = run
sys.modules["jaxrl_entropy.cli.train"] = command
sys.exit(main.main(["train", *sys.argv[1:]]))
"""


def exchange(*flags):
  """Two processes of a job that exchange values; flags[i] are those of i."""
  job = [
    subprocess.Popen(
      (sys.executable, "-c", EXCHANGE, *flag),
      env=devices.environment(1) | member,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for member, flag in zip(devices.job(2), flags, strict=True)
  ]
  for process in job:
    while "exchanging" not in process.stdout.readline():
      assert process.poll() is None, process.stderr.read()
  return job


@pytest.mark.parametrize("lost", [0, 1])
def test_who_loses_a_process_ends_with_a_status_to_restart(lost):
  job = exchange((), ())
  job[lost].kill()
  _, errors = job[1 - lost].communicate(timeout=60)
  ends = {PREEMPTED}
  if lost == 0:
    # JAX aborts those that lose process 0, unless a collective fails first.
    ends.add(-signal.SIGABRT)
  assert job[1 - lost].returncode in ends, errors
  assert "Traceback" not in errors
  if job[1 - lost].returncode == PREEMPTED:
    # JAX's own log of the loss may come after.
    assert "error: a process of this job is gone" in errors
  job[lost].communicate()


@pytest.mark.parametrize("index", [0, 1])
def test_a_process_whose_reader_left_ends_with_the_job(index):
  flags = [(), ()]
  flags[index] = ("prints",)
  job = exchange(*flags)
  job[index].stdout.close()
  job[index].stderr.close()
  assert job[index].wait(timeout=60) == 128 + signal.SIGPIPE
  assert job[1 - index].wait(timeout=60) in (PREEMPTED, -signal.SIGABRT)


def test_a_process_that_fails_by_itself_says_so_and_the_other_can_go_on():
  job = exchange((), ("fails",))
  errors = [process.communicate(timeout=60)[1] for process in job]
  assert [process.returncode for process in job] == [PREEMPTED, 3]
  assert errors[1].endswith("error: no such thing\n")
