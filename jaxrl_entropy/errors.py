"""The exceptions for mistakes that a user can mend, and words for the fix."""

from collections.abc import Iterable
import difflib
from pathlib import Path

PREEMPTED = 75
"""Exit status EX_TEMPFAIL: stopped by a signal; run the same command again."""

WRITE_FAILED = 74
"""Exit status EX_IOERR: a file could not be written, the disk may be full."""


class UserError(ValueError):
  """A mistake that the user can mend; the message names it and the fix.

  The command line prints the message as one line and exits with `status`; it
  shows no traceback unless `--debug` is given.

  Args:
    message: one line: what is wrong, where, and what to do.
    status: exit status of the command.
  """

  def __init__(self, message: str, status: int = 2):
    super().__init__(message)
    self.status = status


class PreemptedError(UserError):
  """A signal asked a command to stop before its work was done."""

  def __init__(self) -> None:
    super().__init__(
      "stopped by a signal: run the same command again", status=PREEMPTED
    )


def write_failed(path: Path, reason: str) -> UserError:
  """Returns the error of a run that could not write `path`.

  Args:
    path: the file or folder that could not be written.
    reason: the system's words for why, such as `No space left on device`.
  """
  return UserError(
    f"{path} could not be written ({reason}); what was saved before is kept: "
    "mend that, and run the same command again",
    status=WRITE_FAILED,
  )


def install_extra(extra: str) -> str:
  """Returns the command that installs an extra of this package (setup.py)."""
  return f"pip install 'jaxrl_entropy[{extra}]'"


def nearest(name: str, valid: Iterable[str]) -> str:
  """Returns `did you mean ...?`, or the valid names if none is similar.

  Args:
    name: the name that the user gave.
    valid: all names that would be right.
  """
  valid = sorted(valid)
  near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
  if near:
    return f"did you mean {near[0]!r}?"
  return "valid names: " + ", ".join(valid)
