"""`jaxrl-entropy COMMAND`: finds the command and reports its errors.

Each command is a module of the same name with `main(argv) -> int`, imported
only when it runs, so that `--help` does not wait for JAX.
"""

from collections.abc import Sequence
import importlib
import os
from pathlib import Path
import sys
import time
import traceback
from typing import NoReturn

from jaxrl_entropy.errors import UserError, nearest

COMMANDS = {
  "train": "reinforcement learning of a policy",
  "sft": "supervised fine-tuning of a policy on demonstrations",
  "evaluate": "accuracy of a policy on held-out problems",
  "generate": "answers of a policy to a prompt",
  "data": "look at problems in files, and choose among them",
  "analyze": "report on a study: plots, the entropy law, tables",
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

# What is reported in one line.
_EXPECTED = (UserError, ValueError, OSError, FloatingPointError)
_MOMENT = 5.0  # seconds


def main(argv: Sequence[str] | None = None) -> int:
  """Runs one command; returns the exit status."""
  arguments = list(sys.argv[1:] if argv is None else argv)
  debug = "--debug" in arguments
  arguments = [argument for argument in arguments if argument != "--debug"]
  if not arguments or arguments[0] in ("-h", "--help", "help"):
    lines = (f"  {name:<10}{text}" for name, text in COMMANDS.items())
    print(_USAGE.format(commands="\n".join(lines)), end="")
    return 0 if arguments else 2
  try:
    return _run(arguments[0], arguments[1:])
  except KeyboardInterrupt:
    return 130
  except Exception as error:
    if isinstance(error, _EXPECTED) and not debug:
      status = _report(arguments[0], error)
    elif _in_a_job():
      traceback.print_exc()
      status = 1
    else:
      raise
  if _in_a_job():
    _leave_job(status)
  return status


def _in_a_job() -> bool:
  """Whether this process is one of several, which only JAX can have joined."""
  jax = sys.modules.get("jax")
  if jax is None or not jax.distributed.is_initialized():
    return False
  return bool(jax.process_count() > 1)


def _leave_job(status: int) -> NoReturn:
  """Ends a process that failed, and the job with it.

  At a usual exit JAX waits minutes for the other processes, which may be
  waiting for this one. The first of them, through which all talk, gives the
  others a moment to say what is wrong with them.
  """
  sys.stdout.flush()
  sys.stderr.flush()
  if sys.modules["jax"].process_index() == 0:
    time.sleep(_MOMENT)
  os._exit(status)


def _run(command: str, argv: list[str]) -> int:
  if command not in COMMANDS:
    hint = nearest(command, COMMANDS)
    raise UserError(f"there is no command {command!r}; {hint}")
  # Compiled programs are kept between runs; JAX reads these on import.
  cache = Path.home() / ".cache" / "jaxrl_entropy"
  os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
  os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
  return importlib.import_module(f"jaxrl_entropy.cli.{command}").main(argv)


def _report(command: str, error: Exception) -> int:
  lines = str(error).strip().splitlines() or [type(error).__name__]
  # Anything but a UserError may as well be a fault of ours.
  hint = "" if isinstance(error, UserError) else " (traceback: --debug)"
  print(f"jaxrl-entropy {command}: error: {lines[0]}{hint}", file=sys.stderr)
  return error.status if isinstance(error, UserError) else 2
