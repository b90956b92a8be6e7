"""Verifiers that read hostile text, each behind a sandboxed server."""

from contextlib import ExitStack
import dataclasses
import importlib.util
import json
from pathlib import Path
import subprocess
import sysconfig
import time
from typing import IO

from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.rewards import sandbox

# The C extensions that verifiers import reserve far more than they use.
MEMORY = 3 << 30
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
    self._limits = sandbox.Limits(cpu=(timeout + 1) * items, memory=MEMORY)
    self._open = ExitStack()
    self._server: subprocess.Popen | None = None

  def close(self) -> None:
    self._server = None
    self._open.close()

  def score(self, problem: Problem, response: str) -> tuple[float, str | None]:
    """The reward, and why there is none where the verifier failed.

    Raises:
      SandboxError: the server does not start, so no item could be scored.
    """
    item = {"problem": dataclasses.asdict(problem), "response": response}
    line = json.dumps(item).encode() + b"\n"
    server = self._server or self._start()
    try:
      _write(server, line)
      reply = json.loads(_line(server, self._timeout + GRACE_SECONDS))
    except (OSError, ValueError) as error:
      self.close()
      return 0.0, f"the verifier's server died: {error}"
    return reply.get("reward", 0.0), reply.get("error")

  def _start(self) -> subprocess.Popen:
    server = self._open.enter_context(
      sandbox.launch(
        self._level,
        "server",
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
      _line(server, START_SECONDS)
    except OSError as error:
      server.kill()
      written = _pipe(server.stderr).read().decode(errors="replace").strip()
      self.close()
      raise sandbox.SandboxError(
        f"verifier {self._verifier!r} does not start in the sandbox: "
        f"{written.splitlines()[-1] if written else error}"
      ) from error
    self._server = server
    return server


def _imports(verifier: str) -> list[tuple[str, str]]:
  """Where the verifier's module and installed packages are imported from."""
  site = sysconfig.get_paths()["purelib"]
  top = verifier.partition(":")[0].partition(".")[0]
  spec = importlib.util.find_spec(top)
  if spec is None or spec.origin is None:
    raise sandbox.SandboxError(
      f"verifier {verifier!r}: there is no module {top!r}"
    )
  origin = Path(spec.origin)
  code = origin.parent if origin.name == "__init__.py" else origin
  return [(str(code.parent), str(code)), (site, site)]


def _write(server: subprocess.Popen, data: bytes) -> None:
  with open(_pipe(server.stdin).fileno(), "wb", closefd=False) as requests:
    requests.write(data)


def _line(server: subprocess.Popen, timeout: float) -> bytes:
  """The next line of the server's output.

  Raises:
    OSError: none came in time, or the server closed its output.
  """
  replies, line = _pipe(server.stdout), b""
  deadline = time.monotonic() + timeout
  while not line.endswith(b"\n"):
    left = max(0.0, deadline - time.monotonic())
    if not sandbox.is_ready(replies.fileno(), left):
      raise TimeoutError("no reply")
    part = replies.read(4096)
    if not part:
      raise BrokenPipeError("it closed its output")
    line += part
  return line


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
  """A stream that was asked for as a pipe, so that it is there."""
  assert stream is not None
  return stream
