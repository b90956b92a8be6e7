"""Calls the functions of a model's program inside the sandbox.

As in `code_script`, nothing here decides: values go out, and are judged
elsewhere.
"""

from collections.abc import Iterable
import json
import os
from typing import Any

from jaxrl_entropy.rewards import wire
from jaxrl_entropy.rewards.code_script import define


def main(request: dict[str, Any]) -> None:
  """Answers the calls in the request, or else those on standard input.

  Answers go to the results file, or else to standard output.
  """
  # Imported, so to say: what stands under `__main__` waits for input.
  if "calls" in request:
    namespace = define(request, "solution")
    _answer(namespace, request["calls"], request["results"])
    return
  with os.fdopen(os.dup(0)) as questions:
    answers = os.dup(1)
    # What the program prints must not mix with the answers.
    os.dup2(2, 1)
    namespace = define(request, "solution")
    _answer(namespace, map(json.loads, questions), answers)


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
