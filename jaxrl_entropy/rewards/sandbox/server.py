"""Runs a verifier on hostile text, inside the sandbox, in child processes.

The server reads no text of a model. It imports the verifier once and forks
children, which give up their last rights and verify. A child that dies, hangs
or has verified its number of responses is replaced by another fork, which needs
no imports.
"""

from collections.abc import Callable
from functools import partial
import gc
import importlib
import json
import os
import select
import signal
import sys
from typing import Any

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards.sandbox.confine import confine

Verifier = Callable[[Problem, str], float]

MAX_REPLY = 4096  # bytes; a pipe takes them at once
MAX_ERROR = 500  # characters


def main(request: dict[str, Any]) -> None:
  """Serves lines of JSON from standard input until it closes.

  Args:
    request: import path of the `verifier`, its further `args`, and the limits
      of `Worker`: `timeout` in seconds and `items`.
  """
  verifier = partial(_load(request["verifier"]), **request["args"])
  # Shared pages stay shared while the children's collectors run.
  gc.freeze()
  with os.fdopen(os.dup(1), "w") as replies:
    # Output of libraries must not mix with the replies.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    print("ready", file=replies, flush=True)
    os.dup2(null, 2)
    _serve(request, verifier, replies)


def _load(path: str) -> Verifier:
  """Imports the verifier at `package.module:name` and calls `warm_up()`."""
  module_name, _, name = path.partition(":")
  module = importlib.import_module(module_name)
  getattr(module, "warm_up", lambda: None)()
  return getattr(module, name)


def _serve(request: dict[str, Any], verifier: Verifier, replies: Any) -> None:
  child, served = None, 0
  for line in sys.stdin:
    if child is None:
      child, served = _Child(request, verifier), 0
    reply = child.ask(line, request["timeout"])
    served += 1
    if "error" in reply or served == request["items"]:
      child.close()
      child = None
    print(json.dumps(reply), file=replies, flush=True)


class _Child:
  """A forked process that verifies items one by one."""

  def __init__(self, request: dict[str, Any], verifier: Verifier):
    items, self._items = os.pipe()
    self._replies, replies = os.pipe()
    self._pid = os.fork()
    if self._pid == 0:
      _verify_all(request, verifier, items, replies)
    os.close(items)
    os.close(replies)

  def ask(self, line: str, timeout: float) -> dict[str, Any]:
    """Returns the child's reply to an item; the child may write anything."""
    try:
      # A child that waits for its item has an empty pipe: no write blocks
      # for longer than the child takes to read.
      os.write(self._items, line.encode())
      if not select.select([self._replies], [], [], timeout)[0]:
        return {"error": "timeout"}
      reward, error = json.loads(os.read(self._replies, MAX_REPLY))
      return {"error": str(error)} if error else {"reward": float(reward)}
    except (OSError, ValueError, TypeError):
      return {"error": "the verifier died"}

  def close(self) -> None:
    os.close(self._items)
    os.close(self._replies)
    os.kill(self._pid, signal.SIGKILL)
    os.waitpid(self._pid, 0)


def _verify_all(
  request: dict[str, Any], verifier: Verifier, items: int, replies: int
) -> None:
  """Serves as the child; never returns."""
  # Closes all other descriptors of the server, so that no item can read or
  # write the reply to another.
  os.dup2(items, 0)
  os.dup2(replies, 3)
  os.closerange(4, os.sysconf("SC_OPEN_MAX"))
  confine(request)
  with os.fdopen(0) as lines:
    for line in lines:
      os.write(3, json.dumps(_verify(json.loads(line), verifier)).encode())
  os._exit(0)


def _verify(
  item: dict[str, Any], verifier: Verifier
) -> tuple[float, str | None]:
  try:
    reward = verifier(Problem(**item["problem"]), item["response"])
    if not hasattr(reward, "__float__"):
      raise TypeError(f"the reward is {reward!r:.40}, not a number")
    return float(reward), None
  except BaseException as error:
    return 0.0, f"{type(error).__name__}: {error}"[:MAX_ERROR]
