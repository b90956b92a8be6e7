"""Starts sandboxed processes for hostile code and hostile text.

There are three levels, and the machine decides which of them work:

- `bubblewrap`: the `bwrap` program makes namespaces and a file system that
  holds the interpreter's files and an empty /tmp;
- `namespaces`: the `unshare` program makes namespaces; the working folder is an
  empty file system in memory, and Landlock denies all other files;
- `rlimits`: no namespaces, a working folder on disk; Landlock and seccomp where
  the machine has them. It is used only where it is asked for by name.

Every level limits time, memory, output and file size, clears the environment
and kills the processes that are left. The first two require seccomp (see
`seccomp.py`), which denies new processes, signals and sockets.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
import marshal
import math
import os
from pathlib import Path
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from jaxrl_entropy.errors import UserError
from jaxrl_entropy.rewards.sandbox import confine, seccomp

LEVELS = ("bubblewrap", "namespaces", "rlimits")
FOLDER = 4  # size of the working folder, in units of the largest file
TIMEOUT = "timeout"  # the error of a response that took too long

Import = tuple[str, str]
"""A folder to import from, and the file or folder there that may be read."""

_PACKAGE = Path(__file__).resolve().parents[2]
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache")
_ENVIRONMENT = {
  "LANG": "C.UTF-8",
  # Each thread of numpy's would reserve memory, on every core of the machine.
  "OPENBLAS_NUM_THREADS": "1",
  "PYTHONHASHSEED": "0",
  "PYTHONUTF8": "1",
}
_NOBODY = "65534"


class SandboxError(UserError):
  """The sandbox that was asked for does not work on this machine."""


@dataclass(frozen=True)
class Limits:
  """Limits of one run.

  Attributes:
    wall: seconds of time.
    cpu: seconds of CPU time, rounded up.
    memory: bytes of address space.
    output: bytes of standard output, of standard error and of a file.
  """

  wall: float = 5.0
  cpu: float = 5.0
  memory: int = 1 << 29
  output: int = 1 << 22


@dataclass(frozen=True)
class Outcome:
  """Results of a run.

  Attributes:
    status: exit status; negative or above 128 after a signal.
    stdout: text of standard output, at most `Limits.output` bytes.
    stderr: text of standard error, likewise.
    results: content of its results file.
    timed_out: whether the wall limit ended it.
    seconds: wall time.
  """

  status: int
  stdout: str
  stderr: str
  results: bytes
  timed_out: bool
  seconds: float


def choose(level: str = "auto") -> str:
  """Returns the level to use: for "auto" the strongest that works here.

  Args:
    level: one of `LEVELS`, or "auto".

  Raises:
    SandboxError: the level is unknown or does not work here, or "auto" found
      nothing stronger than rlimits.
  """
  if level == "auto":
    for strong in LEVELS[:2]:
      if failure(strong) is None:
        return strong
    raise SandboxError(
      "no safe sandbox on this machine for code that a model wrote: install "
      "bubblewrap and pyseccomp (jaxrl-entropy doctor says what is missing), "
      "or accept the risk with sandbox 'rlimits'"
    )
  if level not in LEVELS:
    raise SandboxError(f"sandbox {level!r}: choose auto, {', '.join(LEVELS)}")
  reason = failure(level)
  if reason:
    raise SandboxError(f"sandbox {level!r} does not work here: {reason}")
  return level


@cache
def failure(level: str) -> str | None:
  """Returns why a level does not work on this machine; None where it does.

  Args:
    level: one of `LEVELS`; a small program is run in it.
  """
  if level != "rlimits" and not seccomp.available():
    return "seccomp is missing: install pyseccomp and libseccomp2"
  if level == "namespaces" and not confine.landlock_version():
    return "the kernel has no Landlock (Linux 5.13 or later has)"
  program = {"bubblewrap": "bwrap", "namespaces": "unshare"}.get(level)
  if program and shutil.which(program) is None:
    return f"there is no program {program!r}"
  request = {"prelude": "", "source": "print(6 * 7)"}
  try:
    outcome = run(
      level, "verifiers.code_script", request, limits=Limits(wall=20)
    )
  except OSError as error:
    return str(error)
  if outcome.stdout == "42\n":
    return None
  return _last_line(outcome.stderr) or "it ran nothing"


def run(
  level: str,
  module: str,
  request: Mapping[str, Any],
  *,
  limits: Limits = Limits(),
  results: int = 1,
  imports: Iterable[Import] = (),
) -> Outcome:
  """Runs `main` of a module of this package in a fresh sandbox, to its end.

  Args:
    level: one of `LEVELS`, known to work.
    module: of `jaxrl_entropy.rewards`.
    request: argument of `main`, of plain types.
    limits: for the run.
    results: size of the results file to read, in `limits.output`.
    imports: what it may import besides the standard library.

  Raises:
    OSError: the sandbox did not start, so nothing ran.
  """
  start = time.perf_counter()
  with (
    memory_file() as printed,
    memory_file() as errors,
    memory_file() as written,
  ):
    request = {**request, "results": written}
    try:
      with launch(
        level,
        module,
        request,
        limits=limits,
        streams=(subprocess.DEVNULL, printed, errors),
        pass_fds=(written,),
        imports=imports,
      ) as process:
        timed_out = not wait(process, limits.wall)
    except OSError as error:
      said = _last_line(
        _content(errors, limits.output).decode(errors="replace")
      )
      raise OSError(said or str(error)) from error
    return Outcome(
      status=process.returncode,
      stdout=_content(printed, limits.output).decode(errors="replace"),
      stderr=_content(errors, limits.output).decode(errors="replace"),
      results=_content(written, results * limits.output),
      timed_out=timed_out,
      seconds=time.perf_counter() - start,
    )


@contextmanager
def launch(
  level: str,
  module: str,
  request: Mapping[str, Any],
  *,
  limits: Limits,
  streams: tuple[int, int, int],
  pass_fds: tuple[int, ...] = (),
  imports: Iterable[Import] = (),
) -> Iterator[subprocess.Popen]:
  """Starts a sandboxed process, and kills its process group at the block's end.

  Args:
    level: one of `LEVELS`, known to work.
    module: of `jaxrl_entropy.rewards`; its `main(request)` is called.
    request: argument of `main`, of plain types; `confine.confine` reads the
      rights to give up from it.
    limits: set by `confine`.
    streams: standard input, output and error, as `subprocess` takes them.
    pass_fds: other descriptors that it inherits, with the same numbers.
    imports: what it may import besides the standard library.

  Raises:
    OSError: at the end of the block, it had not started.
  """
  home, imports = str(_PACKAGE.parent), list(imports)
  shared = home in (folder for folder, _ in imports)
  # Some Pythons list a folder each time they look for a module in it.
  listable = [folder for folder, _ in imports]
  imports = [(home, str(_PACKAGE)), *imports]
  readable = [*_SYSTEM, sys.base_prefix, *(code for _, code in imports)]
  full = {
    **request,
    "module": f"jaxrl_entropy.rewards.{module}",
    "path": list(dict.fromkeys(folder for folder, _ in imports)),
    # Programs import from the folders of `imports` alone.
    "hidden_folder": "" if shared else home,
    "listable": listable,
    **_restrictions(level, readable, limits),
  }
  interpreter = os.path.realpath(sys.executable), "-P", "-s", "-S", "-B"
  with (
    _folder() as folder,
    memory_file(marshal.dumps(full)) as handed,
    subprocess.Popen(
      [
        *_prefix(level, readable, FOLDER * limits.output),
        *interpreter,
        confine.__file__,
        str(handed),
      ],
      bufsize=0,
      stdin=streams[0],
      stdout=streams[1],
      stderr=streams[2],
      pass_fds=(handed, *pass_fds),
      cwd=folder,
      env=_ENVIRONMENT,
      start_new_session=True,
    ) as process,
  ):
    try:
      yield process
    finally:
      # Not reaped yet, so the group's id cannot be another's by now.
      with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if os.fstat(handed).st_size:
      raise OSError("the sandbox did not start")


def wait(process: subprocess.Popen, timeout: float) -> bool:
  """Waits without reaping; returns whether the process ended in time.

  Args:
    process: a child that has not been reaped.
    timeout: seconds to wait at most.
  """
  descriptor = os.pidfd_open(process.pid)
  try:
    return is_ready(descriptor, timeout)
  finally:
    os.close(descriptor)


def is_ready(
  descriptor: int, timeout: float, event: int = select.POLLIN
) -> bool:
  """Returns whether an event comes at a descriptor within so many seconds.

  Args:
    descriptor: an open file, pipe or pidfd.
    timeout: seconds to wait at most.
    event: of `select.poll`; by default, that there is something to read.
  """
  poll = select.poll()  # select() has a limit of 1024 descriptors
  poll.register(descriptor, event)
  return bool(poll.poll(1000 * timeout))


def _restrictions(
  level: str, readable: list[str], limits: Limits
) -> dict[str, Any]:
  """The part of a request that says which rights `confine` gives up."""
  private = level == "namespaces"
  return {
    "readable": readable,
    "private_folder": FOLDER * limits.output if private else 0,
    "landlock": level != "bubblewrap" and confine.landlock_version() > 0,
    "seccomp": seccomp.program() if seccomp.available() else b"",
    "limits": {
      "cpu": math.ceil(limits.cpu),
      "memory": limits.memory,
      "file_size": limits.output,
    },
  }


def _prefix(level: str, readable: list[str], size: int) -> list[str]:
  """The words to put in front of a command to run it at a level."""
  if level == "rlimits":
    return []
  if level == "namespaces":
    namespaces = ("--user", "--mount", "--net", "--pid", "--ipc", "--uts")
    flags = ("--map-root-user", "--fork", "--kill-child")
    return [_program("unshare"), *namespaces, *flags, "--"]
  command = [_program("bwrap"), "--unshare-all", "--die-with-parent"]
  command += [
    "--cap-drop",
    "ALL",
    "--uid",
    _NOBODY,
    "--gid",
    _NOBODY,
    "--dev",
    "/dev",
  ]
  # First the empty folder, for what is readable may lie in /tmp as well.
  command += ["--size", str(size), "--tmpfs", "/tmp"]
  for path in readable:
    command += ["--ro-bind-try", path, path]
  command += ["--chdir", "/tmp"]
  return [*command, "--remount-ro", "/dev", "--remount-ro", "/", "--"]


def _program(name: str) -> str:
  """The full path, for the sandbox's environment has no PATH to search."""
  return shutil.which(name) or name


@contextmanager
def _folder() -> Iterator[str]:
  """Makes a folder for one run, and removes it with all that is in it."""
  folder = tempfile.mkdtemp(prefix="jaxrl_entropy_")
  try:
    yield folder
  finally:
    try:
      os.rmdir(folder)
    except OSError:
      # Its content may be nested deeper than Python's own removal can go, or
      # have modes that deny access.
      subprocess.run(("chmod", "-R", "u+rwx", "--", folder), check=False)
      subprocess.run(("rm", "-rf", "--", folder), check=False)


@contextmanager
def memory_file(content: bytes = b"") -> Iterator[int]:
  """Opens an anonymous file in memory; yields its descriptor."""
  descriptor = os.memfd_create("sandbox")
  try:
    os.pwrite(descriptor, content, 0)
    yield descriptor
  finally:
    os.close(descriptor)


def _last_line(text: str) -> str:
  return (text.strip().splitlines() or [""])[-1]


def _content(descriptor: int, limit: int) -> bytes:
  return os.pread(descriptor, limit, 0)
