"""One-line messages for exceptions of JAX and Python; exits of a job.

Nothing here imports JAX: it may be what failed.
"""

import os
import re
import sys
import time
from typing import NoReturn

from jaxrl_entropy.errors import PREEMPTED, UserError, install_extra

# Reported in one line without a traceback.
_EXPECTED = (UserError, ValueError, OSError, FloatingPointError)
_OUT_OF_MEMORY = re.compile(
  r"RESOURCE_EXHAUSTED|[Oo]ut of memory|Unable to alloc"
)
# Messages of collectives and JAX's coordination service about lost processes.
_LOST = re.compile(
  r"Gloo|NCCL|coordination service|heartbeat|UNAVAILABLE|DEADLINE_EXCEEDED|"
  r"Connection (reset|closed|refused)|Socket closed"
)
_MOMENT = 5.0  # seconds
_LONGEST = 2000  # characters


def explain(error: BaseException) -> Exception | None:
  """Returns a one-line error in place of `error`; None for a bug of ours.

  Args:
    error: one that ended a command.
  """
  text = f"{error}"
  if isinstance(error, UserError):
    return error
  if _has_no_backend(error):
    return _missing_backend(text)
  if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(text):
    return _out_of_memory(text)
  lost = _lost_process(error) if in_a_job() else None
  if lost:
    return UserError(
      "a process of this job is gone, see its log; run the same command again "
      f"to go on from the last checkpoint ({one_line(lost)[:200]})",
      status=PREEMPTED,
    )
  if isinstance(error, OSError) and error.filename and error.strerror:
    return UserError(f"{error.filename}: {error.strerror}")
  return error if isinstance(error, _EXPECTED) else None


def one_line(text: str) -> str:
  """Joins the lines of a message by semicolons."""
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  joined = "; ".join(lines)
  # A line that announces the next one has its own mark.
  return re.sub(r"([:,;]); ", r"\1 ", joined)[:_LONGEST]


def in_a_job() -> bool:
  """Whether this process is one of several, which only JAX can have joined."""
  jax = sys.modules.get("jax")
  if jax is None or not jax.distributed.is_initialized():
    return False
  return bool(jax.process_count() > 1)


def finish_job(status: int) -> NoReturn:
  """Ends a process that has done its part of a job.

  It waits for the other processes, and then skips the destructors of native
  libraries: the ones of Gloo's connections now and then wait for ever.

  Args:
    status: exit status of the process.
  """
  sys.modules["jax"].distributed.shutdown()
  _flush()
  os._exit(status)


def leave_job(status: int) -> NoReturn:
  """Ends a process that failed, and the job with it.

  At a usual exit JAX waits minutes for the other processes, which may be
  waiting for this one. The first of them, through which all talk, gives the
  others a moment to say what is wrong with them.

  Args:
    status: exit status of the process.
  """
  _flush()
  if sys.modules["jax"].process_index() == 0:
    time.sleep(_MOMENT)
  os._exit(status)


def _flush() -> None:
  sys.stdout.flush()
  sys.stderr.flush()


def _lost_process(error: BaseException | None) -> str | None:
  """Returns the message of `error` or a cause that reports a lost process."""
  while error is not None:
    if _LOST.search(str(error)):
      return str(error)
    error = error.__cause__
  return None


def _has_no_backend(error: BaseException) -> bool:
  """Whether JAX raised `error` because it has no device to run on."""
  if "nable to initialize backend" in str(error):
    return True
  # A platform without a plugin fails a bare assertion.
  if not isinstance(error, AssertionError) or "jax" not in sys.modules:
    return False
  try:
    sys.modules["jax"].devices()
  except Exception:
    return True
  return False


def _missing_backend(text: str) -> UserError:
  asked = os.environ.get("JAX_PLATFORMS")
  reason = f" ({one_line(text)})" if text else ""
  if not asked:
    return UserError(f"JAX finds no device to run on{reason}")
  extra = {"cuda": "cuda", "gpu": "cuda", "tpu": "tpu"}.get(asked)
  remedy = f"{install_extra(extra)}, or " if extra else ""
  return UserError(
    f"JAX_PLATFORMS is {asked!r}, and JAX finds no such device{reason}: "
    f"{remedy}unset JAX_PLATFORMS to use what this machine has"
  )


def _out_of_memory(text: str) -> UserError:
  reason = f" ({one_line(text)[:200]})" if text else ""
  return UserError(
    f"out of memory{reason}: raise optimizer.micro_batches or mesh.fsdp, lower "
    "rollout.slots or rollout.kv_tokens, or set model.remat='full'; "
    "jaxrl-entropy plan says what fits"
  )
