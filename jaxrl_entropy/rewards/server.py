"""Inside the sandbox: runs verifiers on hostile text, one process an item.

The server itself reads no model text. It imports a verifier once, then forks a
child for each item, which gives up its last rights and verifies; whatever
happens in the child costs that item alone.
"""

from collections.abc import Callable
from functools import cache
import importlib
import json
import os
import select
import signal
import sys
from typing import Any

from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.rewards.confine import confine

MAX_REPLY = 4096  # bytes; a pipe takes them at once


def main(request: dict[str, Any]) -> None:
  """Serves lines of JSON from standard input until it closes."""
  load(request["verifier"])
  with os.fdopen(os.dup(1), "w") as replies:
    # Nothing that a library prints may mix with the replies.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    print("ready", file=replies, flush=True)
    os.dup2(null, 2)
    for line in sys.stdin:
      reply = _serve(json.loads(line), request)
      print(json.dumps(reply), file=replies, flush=True)


@cache
def load(path: str) -> Callable[[Problem, str], float]:
  """The verifier at `package.module:name`."""
  module, _, name = path.partition(":")
  return getattr(importlib.import_module(module), name)


def _serve(item: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
  """The reply to one item: its reward, or an error."""
  reading, writing = os.pipe()
  child = os.fork()
  if child == 0:
    _answer(item, request, writing)
  os.close(writing)
  try:
    return _reply(reading, item["timeout"])
  finally:
    os.close(reading)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _reply(reading: int, timeout: float) -> dict[str, Any]:
  """What the child writes, which is not to be trusted to have a form."""
  if not select.select([reading], [], [], timeout)[0]:
    return {"error": "timeout"}
  try:
    reward, error = json.loads(os.read(reading, MAX_REPLY))
    return {"reward": float(reward), "error": error and str(error)}
  except (ValueError, TypeError):
    return {"error": "the verifier died"}


def _answer(item: dict[str, Any], request: dict[str, Any], out: int) -> None:
  """The child: never returns."""
  try:
    verifier = load(request["verifier"])
    out = _keep_only(out)
    confine(request)
    reward = verifier(Problem(**item["problem"]), item["response"])
    reply = [float(reward), None]
  except BaseException as error:
    reply = [0.0, f"{type(error).__name__}: {error}"[:500]]
  os.write(out, json.dumps(reply).encode())
  os._exit(0)


def _keep_only(descriptor: int) -> int:
  """Closes all else but standard error: no item may see or answer another."""
  os.dup2(descriptor, 0)
  os.closerange(3, os.sysconf("SC_OPEN_MAX"))
  return 0
