"""Clients of sandboxed servers that verify hostile text."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
import dataclasses
import json
import os
import select
import subprocess
import time
from types import MappingProxyType
from typing import IO, Any

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards.sandbox import imports, launch

# The C extensions that verifiers import reserve far more than they use.
MEMORY = 2 << 30
START_SECONDS = 120.0  # imports, on a busy machine
GRACE_SECONDS = 5.0

_IMPORT_ERRORS = ("ModuleNotFoundError", "FileNotFoundError", "PermissionError")
_IMPORT_RULE = (
  " (it may read installed packages, and Python files and packages beside its "
  "own; add other folders to reward.folders)"
)


class Worker:
  """A sandboxed server for one verifier, which is restarted when it dies.

  For one thread at a time.

  Args:
    level: a working level of the sandbox.
    verifier: import path of the verifier.
    timeout: seconds for one response.
    items: responses that one process may verify, one after the other.
    args: further keyword arguments of the verifier.
    folders: that the verifier may read besides its own; see `imports`.
  """

  def __init__(
    self,
    level: str,
    verifier: str,
    timeout: float,
    items: int = 1,
    args: Mapping[str, Any] = MappingProxyType({}),
    folders: Iterable[str] = (),
  ):
    self._level, self._verifier, self._timeout = level, verifier, timeout
    self._items, self._args, self._folders = items, dict(args), folders
    self._limits = launch.Limits(cpu=(timeout + 1) * items, memory=MEMORY)
    self._open = ExitStack()
    self._server: subprocess.Popen | None = None
    self._has_started = False

  def close(self) -> None:
    self._server = None
    self._open.close()

  def score(self, problem: Problem, response: str) -> tuple[float, str | None]:
    """Returns the reward, and why there is none where the verifier failed.

    Args:
      problem: sent to the server whole, its answer and tests included.
      response: the model's text.

    Raises:
      SandboxError: the server does not start, so no item could be scored.
      OSError: it did once, and does not now.
    """
    item = {"problem": dataclasses.asdict(problem), "response": response}
    line = json.dumps(item).encode() + b"\n"
    server = self._server or self.start()
    deadline = time.monotonic() + self._timeout + GRACE_SECONDS
    try:
      _write(server, line, deadline)
      reply = json.loads(_line(server, deadline))
    except (OSError, ValueError) as error:
      self.close()
      return 0.0, f"the verifier's server died: {error}"
    return reply.get("reward", 0.0), reply.get("error")

  def start(self) -> subprocess.Popen:
    """Starts the server, which imports the verifier.

    Raises:
      SandboxError: it does not start.
      OSError: it did once, and does not now.
    """
    server = self._open.enter_context(
      launch.launch(
        self._level,
        "sandbox.server",
        {
          "verifier": self._verifier,
          "timeout": self._timeout,
          "items": self._items,
          "args": self._args,
        },
        limits=self._limits,
        streams=(subprocess.PIPE, subprocess.PIPE, subprocess.PIPE),
        imports=imports.of_verifier(self._verifier, self._folders),
      )
    )
    try:
      _line(server, time.monotonic() + START_SECONDS)
    except OSError as error:
      server.kill()
      written = _pipe(server.stderr).read().decode(errors="replace").strip()
      reason = written.splitlines()[-1] if written else str(error)
      with suppress(OSError):
        self.close()
      kind = OSError if self._has_started else launch.SandboxError
      raise kind(
        f"verifier {self._verifier!r} does not start in the sandbox: "
        f"{reason}{_IMPORT_RULE if reason.startswith(_IMPORT_ERRORS) else ''}"
      ) from error
    self._server, self._has_started = server, True
    return server


def _write(server: subprocess.Popen, data: bytes, deadline: float) -> None:
  """Writes a line to the server.

  Raises:
    OSError: it was not taken in time, or the server closed its input.
  """
  requests, left = _pipe(server.stdin).fileno(), memoryview(data)
  os.set_blocking(requests, False)
  while left:
    _await(requests, select.POLLOUT, deadline)
    left = left[os.write(requests, left) :]


def _line(server: subprocess.Popen, deadline: float) -> bytes:
  """Reads the next line of the server's output.

  Raises:
    OSError: none came in time, or the server closed its output.
  """
  replies, line = _pipe(server.stdout), b""
  while not line.endswith(b"\n"):
    _await(replies.fileno(), select.POLLIN, deadline)
    chunk = replies.read(4096)
    if not chunk:
      raise BrokenPipeError("it closed its output")
    line += chunk
  return line


def _await(descriptor: int, event: int, deadline: float) -> None:
  """Waits for an event; raises TimeoutError at the deadline."""
  left = max(0.0, deadline - time.monotonic())
  if not launch.is_ready(descriptor, left, event):
    raise TimeoutError("no reply")


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
  """Narrows the type of a stream that was opened as a pipe."""
  assert stream is not None
  return stream
