"""Runs a model's program inside the sandbox.

Nothing in here decides whether an answer is right, and no expected value ever
comes in: the program shares this process and could read or change all of it.
"""

from collections.abc import Iterable
import json
import os
import sys
from typing import Any

from jaxrl_entropy.rewards import wire
from jaxrl_entropy.rewards.confine import confine


def main(request: dict[str, Any]) -> None:
  # The program may import the standard library and nothing else.
  sys.path.remove(request["path"][0])
  confine(request)
  _MODES[request["mode"]](request)


def _script(request: dict[str, Any]) -> None:
  """Lets the program read standard input and print."""
  sys.argv = ["solution.py"]
  _define(request["source"])


def _calls(request: dict[str, Any]) -> None:
  """Calls the program's functions; results go to the results file."""
  namespace = _define(request["source"])
  _answer(namespace, request["calls"], request["results"])


def _serve(request: dict[str, Any]) -> None:
  """Answers calls on standard output as they come on standard input."""
  with os.fdopen(os.dup(0)) as questions:
    answers = os.dup(1)
    # What the program prints must not mix with the answers.
    os.dup2(2, 1)
    namespace = _define(request["source"])
    _answer(namespace, map(json.loads, questions), answers)


def _define(source: str) -> dict[str, Any]:
  namespace = {"__name__": "__main__"}
  exec(compile(source, "solution.py", "exec"), namespace)
  return namespace


def _answer(
  namespace: dict[str, Any], calls: Iterable[list[Any]], out: int
) -> None:
  """One line of JSON for each call: `[name, *arguments]`."""
  for name, *arguments in calls:
    try:
      value = _function(namespace, name)(*map(wire.decode, arguments))
      answer = json.dumps({"value": wire.encode(value)})
    except Exception as error:
      answer = json.dumps({"error": f"{type(error).__name__}: {error}"})
    os.write(out, answer.encode() + b"\n")


def _function(namespace: dict[str, Any], name: str) -> Any:
  if name in namespace:
    return namespace[name]
  # As LeetCode has it: a method of a class called Solution.
  return getattr(namespace["Solution"](), name)


_MODES = {"script": _script, "calls": _calls, "serve": _serve}
