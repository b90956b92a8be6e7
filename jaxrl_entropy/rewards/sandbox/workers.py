"""Verifiers that read hostile text, each behind a sandboxed server."""

from contextlib import ExitStack, suppress
import dataclasses
import importlib.util
import json
import os
from pathlib import Path
import select
import subprocess
import sysconfig
import time
from typing import IO

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards.sandbox import launch

# The C extensions that verifiers import reserve far more than they use.
MEMORY = 2 << 30
START_SECONDS = 120.0  # imports, on a busy machine
GRACE_SECONDS = 5.0


class Worker:
  """One sandboxed server for one verifier, started again when it dies.

  Not for several threads at a time.

  Args:
    level: a working level of the sandbox.
    verifier: import path of the verifier.
    timeout: seconds for one response.
    items: responses that one process may verify, one after the other.
  """

  def __init__(self, level: str, verifier: str, timeout: float, items: int):
    self._level, self._verifier, self._timeout = level, verifier, timeout
    self._items = items
    self._limits = launch.Limits(cpu=(timeout + 1) * items, memory=MEMORY)
    self._open = ExitStack()
    self._server: subprocess.Popen | None = None
    self._has_started = False

  def close(self) -> None:
    self._server = None
    self._open.close()

  def score(self, problem: Problem, response: str) -> tuple[float, str | None]:
    """The reward, and why there is none where the verifier failed.

    Raises:
      SandboxError: the server does not start, so no item could be scored.
      OSError: it did once, and does not now.
    """
    item = {"problem": dataclasses.asdict(problem), "response": response}
    line = json.dumps(item).encode() + b"\n"
    server = self._server or self._start()
    deadline = time.monotonic() + self._timeout + GRACE_SECONDS
    try:
      _write(server, line, deadline)
      reply = json.loads(_line(server, deadline))
    except (OSError, ValueError) as error:
      self.close()
      return 0.0, f"the verifier's server died: {error}"
    return reply.get("reward", 0.0), reply.get("error")

  def _start(self) -> subprocess.Popen:
    server = self._open.enter_context(
      launch.launch(
        self._level,
        "sandbox.server",
        {
          "verifier": self._verifier,
          "timeout": self._timeout,
          "items": self._items,
        },
        limits=self._limits,
        streams=(subprocess.PIPE, subprocess.PIPE, subprocess.PIPE),
        imports=_imports(self._verifier),
      )
    )
    try:
      _line(server, time.monotonic() + START_SECONDS)
    except OSError as error:
      server.kill()
      written = _pipe(server.stderr).read().decode(errors="replace").strip()
      with suppress(OSError):
        self.close()
      kind = OSError if self._has_started else launch.SandboxError
      raise kind(
        f"verifier {self._verifier!r} does not start in the sandbox: "
        f"{written.splitlines()[-1] if written else error}"
      ) from error
    self._server, self._has_started = server, True
    return server


def _imports(verifier: str) -> list[tuple[str, str]]:
  """Where the verifier's module and installed packages are imported from."""
  site = sysconfig.get_paths()["purelib"]
  top = verifier.partition(":")[0].partition(".")[0]
  spec = importlib.util.find_spec(top)
  if spec is None or spec.origin is None:
    raise launch.SandboxError(
      f"verifier {verifier!r}: there is no module {top!r}"
    )
  origin = Path(spec.origin)
  code = origin.parent if origin.name == "__init__.py" else origin
  return [(str(code.parent), str(code)), (site, site)]


def _write(server: subprocess.Popen, data: bytes, deadline: float) -> None:
  """Hands over a line.

  Raises:
    OSError: it was not taken in time, or the server closed its input.
  """
  requests, left = _pipe(server.stdin).fileno(), memoryview(data)
  os.set_blocking(requests, False)
  while left:
    _await(requests, select.POLLOUT, deadline)
    left = left[os.write(requests, left) :]


def _line(server: subprocess.Popen, deadline: float) -> bytes:
  """The next line of the server's output.

  Raises:
    OSError: none came in time, or the server closed its output.
  """
  replies, line = _pipe(server.stdout), b""
  while not line.endswith(b"\n"):
    _await(replies.fileno(), select.POLLIN, deadline)
    part = replies.read(4096)
    if not part:
      raise BrokenPipeError("it closed its output")
    line += part
  return line


def _await(descriptor: int, event: int, deadline: float) -> None:
  """Raises TimeoutError unless the event comes before the deadline."""
  left = max(0.0, deadline - time.monotonic())
  if not launch.is_ready(descriptor, left, event):
    raise TimeoutError("no reply")


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
  """A stream that was asked for as a pipe, so that it is there."""
  assert stream is not None
  return stream
