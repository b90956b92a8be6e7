"""Calls the functions of a model's program inside the sandbox.

As in `code_script`, nothing here decides: values go out, and are judged
elsewhere.
"""

from collections.abc import Callable
from contextlib import suppress
import json
import operator
import os
from typing import Any

from jaxrl_entropy.rewards.sandbox import wire
from jaxrl_entropy.rewards.verifiers.code_script import execute, prepare

# Operations of assertions on an object that stays in this process.
_OPERATIONS: dict[str, Callable[..., Any]] = {
  "attribute": getattr,
  "set attribute": setattr,
  "call": lambda function, args, kwargs: function(*args, **kwargs),
  "delete item": operator.delitem,
  "item": operator.getitem,
  "iterate": iter,
  "length": len,
  "next": next,
  "set item": operator.setitem,
  "text": str,
  "truth": bool,
}


def main(request: dict[str, Any]) -> None:
  """Makes the calls of the request, or else serves standard input.

  Answers go to the results file, or else to standard output.
  """
  if "calls" in request:
    namespace = _define(request)
    for name, *arguments in request["calls"]:
      answer = _answer(
        lambda n, *a: wire.encode(_find(namespace, n)(*map(wire.decode, a))),
        name,
        *arguments,
      )
      os.write(request["results"], answer)
    return
  with os.fdopen(os.dup(0)) as questions:
    answers = os.dup(1)
    # The program's output must not mix with the answers.
    os.dup2(2, 1)
    session = _Session(_define(request))
    for question in questions:
      os.write(answers, _answer(session.perform, *json.loads(question)))


def _define(request: dict[str, Any]) -> dict[str, Any]:
  """Imports the program; what stands under `__name__ == "__main__"` waits."""
  namespace = prepare(request, "solution")
  with suppress(SystemExit):  # the functions above an exit() are defined
    execute(request["source"], namespace)
  return namespace


class _Session:
  """Performs operations on the program's objects, which are kept by number."""

  def __init__(self, namespace: dict[str, Any]):
    self._namespace = namespace
    self._objects: list[Any] = []
    self._numbers: dict[int, int] = {}

  def perform(self, operation: str, *arguments: Any) -> Any:
    if operation == "name":
      value = _find(self._namespace, *arguments)
    elif operation == "new":
      value = object.__new__(_find(self._namespace, *arguments))
    else:
      decoded = (wire.decode(a, self._objects.__getitem__) for a in arguments)
      value = _OPERATIONS[operation](*decoded)
    return wire.encode(value, self._keep)

  def _keep(self, value: Any) -> int:
    if id(value) not in self._numbers:
      self._numbers[id(value)] = len(self._objects)
      self._objects.append(value)
    return self._numbers[id(value)]


def _answer(function: Callable[..., Any], *arguments: Any) -> bytes:
  """One line of JSON: the value that a function returns, or its exception."""
  try:
    answer = json.dumps({"value": function(*arguments)})
  except Exception as error:
    kinds = [kind.__name__ for kind in type(error).__mro__]
    answer = json.dumps({"error": str(error), "kinds": kinds})
  return answer.encode() + b"\n"


def _find(namespace: dict[str, Any], name: str) -> Any:
  """A method of LeetCode's class Solution, or else a global of the program."""
  name = name.removeprefix("Solution().")
  solution = namespace.get("Solution")
  if solution is not None and hasattr(solution, name):
    return getattr(solution(), name)
  if name not in namespace:
    raise NameError(f"name {name!r} is not defined")
  return namespace[name]
