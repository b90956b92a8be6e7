"""`jaxrl-entropy COMMAND`: finds the command and reports its errors.

Each command is a module of the same name with `main(argv) -> int`, imported
only when it runs, so that `--help` does not wait for JAX.
"""

from collections.abc import Iterator, Sequence
import contextlib
import importlib
import os
from pathlib import Path
import signal
import sys
import threading
import traceback
import warnings

from jaxrl_entropy.cli import failures
from jaxrl_entropy.errors import UserError, nearest

COMMANDS = {
  "train": "reinforcement learning of a policy",
  "sft": "supervised fine-tuning of a policy on demonstrations",
  "evaluate": "accuracy of a policy on held-out problems",
  "generate": "answers of a policy to a prompt",
  "data": "look at problems in files, and choose among them",
  "analyze": "report on a study: plots, the entropy law, tables",
  "samples": "sampled responses of a run, colored token by token",
  "sweep": "a study: many runs of one config file",
  "plan": "memory, compute and collectives on a TPU slice, without one",
  "convert": "weights from and to the formats of other libraries",
  "doctor": "what this machine offers: devices, sandbox, packages",
}

_USAGE = """usage: jaxrl-entropy COMMAND [--help] [--debug] [flags]

Reinforcement learning of reasoning models, and its entropy.

commands:
{commands}

examples:
  jaxrl-entropy sweep --config=configs/quickstart.py --workdir=runs/quickstart
  jaxrl-entropy analyze --workdir=runs/quickstart
  jaxrl-entropy train --config=configs/quickstart.py:clip_cov \\
      --workdir=runs/mine --config.optimizer.learning_rate=1e-4
"""

# They can be stopped and run again.
_RESUMABLE = ("train", "sft", "evaluate")


def main(argv: Sequence[str] | None = None) -> int:
  """Runs one command; returns the exit status."""
  arguments = list(sys.argv[1:] if argv is None else argv)
  debug = "--debug" in arguments
  arguments = [argument for argument in arguments if argument != "--debug"]
  if not arguments or arguments[0] in ("-h", "--help", "help"):
    lines = (f"  {name:<10}{text}" for name, text in COMMANDS.items())
    print(_USAGE.format(commands="\n".join(lines)), end="")
    return 0 if arguments else 2
  leave = failures.leave_job
  try:
    with contextlib.nullcontext() if debug else _short_warnings(arguments[0]):
      status = _run(arguments[0], arguments[1:])
    leave = failures.finish_job
  except KeyboardInterrupt:
    status = 128 + signal.SIGINT
  except BrokenPipeError:
    status = _leave_pipe()
  except Exception as error:
    known = None if debug else failures.explain(error)
    if known is not None:
      status = _report(arguments[0], known)
    elif failures.in_a_job():
      traceback.print_exc()
      status = 1
    else:
      raise
  if failures.in_a_job():
    leave(status)
  return status


@contextlib.contextmanager
def _short_warnings(command: str) -> Iterator[None]:
  """Prints a warning as one line, without the place in our code."""

  def one_line(message: Warning | str, *_: object, **__: object) -> str:
    text = failures.one_line(str(message))
    return f"jaxrl-entropy {command}: warning: {text}\n"

  before, warnings.formatwarning = warnings.formatwarning, one_line
  try:
    yield
  finally:
    warnings.formatwarning = before


def _leave_pipe() -> int:
  """Returns the status of a program whose reader, such as `head`, has left."""
  # Without this, what is still buffered fails again when Python exits.
  nowhere = os.open(os.devnull, os.O_WRONLY)
  for stream in (sys.stdout, sys.stderr):
    os.dup2(nowhere, stream.fileno())
  return 128 + signal.SIGPIPE


def _run(command: str, argv: list[str]) -> int:
  if command not in COMMANDS:
    hint = nearest(command, COMMANDS)
    raise UserError(f"there is no command {command!r}; {hint}")
  # Compiled programs are kept between runs; JAX reads these on import.
  cache = Path.home() / ".cache" / "jaxrl_entropy"
  os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
  os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
  # Without it transformers advises at every start to install PyTorch.
  os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
  # Functions of the user's own are found as `python -m` finds them.
  if os.getcwd() not in sys.path:
    sys.path.insert(0, os.getcwd())
  resumable = command in _RESUMABLE
  with _interruptible() if resumable else contextlib.nullcontext():
    module = importlib.import_module(f"jaxrl_entropy.cli.{command}")
    return module.main(argv)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
  """Lets SIGINT end the process at once until training listens for it.

  There is nothing to save before that. A KeyboardInterrupt would be lost where
  it is raised in a callback of JAX, and the run go on.
  """
  python = signal.getsignal(signal.SIGINT) is signal.default_int_handler
  if not python or threading.current_thread() is not threading.main_thread():
    yield
    return
  signal.signal(signal.SIGINT, signal.SIG_DFL)
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _report(command: str, error: Exception) -> int:
  text = failures.one_line(str(error)) or type(error).__name__
  # Anything but a UserError may as well be a fault of ours.
  hint = "" if isinstance(error, UserError) else " (traceback: --debug)"
  print(f"jaxrl-entropy {command}: error: {text}{hint}", file=sys.stderr)
  return error.status if isinstance(error, UserError) else 2
