"""Runs a problem's assertions inside a sandbox of their own.

The function under test lives in another sandboxed process, at the other end
of standard input and output; only plain values come from there.
"""

import json
import os
import sys
from typing import Any

from jaxrl_entropy.rewards import wire
from jaxrl_entropy.rewards.confine import confine

PASSED = b"passed"


def main(request: dict[str, Any]) -> None:
  confine(request)
  questions = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)
  asked = False

  def candidate(*arguments: Any) -> Any:
    """Asks the model's process."""
    nonlocal asked
    asked = True
    question = json.dumps([request["name"], *map(wire.encode, arguments)])
    print(question, file=questions, flush=True)
    return wire.decode(json.loads(sys.stdin.readline())["value"])

  namespace: dict[str, Any] = {"__name__": "tests"}
  exec(request["prelude"], namespace)
  namespace[request["name"]] = candidate
  exec(request["check"], namespace)
  if "check" in namespace:
    namespace["check"](candidate)
  if asked:  # assertions that nothing calls would hold of any program
    os.write(request["results"], PASSED)
