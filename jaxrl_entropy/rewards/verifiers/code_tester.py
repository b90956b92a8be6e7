"""Runs a problem's assertions inside a sandbox of their own.

The program under test lives in another sandboxed process, at the other end of
standard input and output. Plain values are copied from there. Other objects
stay there, and are compared by identity: the program's own `__eq__` is never
asked.
"""

import builtins
from collections.abc import Callable
import json
import os
import sys
from types import CodeType
from typing import Any

from jaxrl_entropy.rewards.sandbox import wire
from jaxrl_entropy.rewards.sandbox.confine import confine
from jaxrl_entropy.rewards.verifiers.code_names import provide, used_names
from jaxrl_entropy.rewards.verifiers.code_script import RECURSION_LIMIT

PASSED = b"passed"
BROKEN = b"broken "  # then why the test says nothing about any program


def main(request: dict[str, Any]) -> None:
  """Writes `PASSED` to the results file if all assertions hold."""
  confine(request)
  sys.setrecursionlimit(RECURSION_LIMIT)
  client = _Client()
  try:
    check = compile(request["check"], "tests.py", "exec", dont_inherit=True)
    prelude = compile(request["prelude"], "prelude.py", "exec")
    provide(prelude, client.namespace)
    exec(prelude, client.namespace)
  except Exception as error:
    _report_broken(request["results"], error)
    return
  try:
    client.import_names(request["name"], check)
    exec(check, client.namespace)
    if "check" in client.namespace:
      client.namespace["check"](client.namespace[request["name"]])
  except (NameError, ImportError, _NotSendableError) as error:
    if error is not client.raised:
      _report_broken(request["results"], error)
    return
  if client.called:  # assertions that call nothing would hold of any program
    os.write(request["results"], PASSED)


def _report_broken(results: int, error: BaseException) -> None:
  reason = f"{type(error).__name__}: {error}"
  os.write(results, BROKEN + reason.encode()[:400])


class _NotSendableError(BaseException):
  """The assertions give the program an object that cannot be copied to it."""


class _Client:
  """Asks the program's process, on behalf of the assertions.

  Attributes:
    namespace: the assertions' globals.
    called: whether they called the program.
    raised: the last exception that the program raised in them.
  """

  def __init__(self) -> None:
    self._questions = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    self.namespace: dict[str, Any] = {"__name__": "tests"}
    self.called = False
    self.raised: Exception | None = None
    self._copies: dict[int, tuple[Any, _Remote]] = {}

  def import_names(self, candidate: str, check: CodeType) -> None:
    """Makes the program's function, and names that only it defines, global."""
    provide(check, self.namespace)
    self.namespace[candidate] = self.ask("name", candidate)
    known = self.namespace.keys() | vars(builtins).keys()
    for name in used_names(check) - known:
      try:
        self.namespace[name] = self.ask("name", name)
      except NameError:
        continue

  def ask(self, operation: str, *arguments: Any) -> Any:
    """The result of an operation in the program's process.

    Raises:
      Exception: of the kind that the operation raised there.
    """
    if operation == "call":
      self.called = True
      self._copies.clear()  # the assertions may have changed their objects
    encoded = [wire.encode(a, self._number) for a in arguments]
    print(json.dumps([operation, *encoded]), file=self._questions, flush=True)
    answer = json.loads(sys.stdin.readline())
    if "error" not in answer:
      return wire.decode(answer["value"], lambda n: _Remote(self.ask, n))
    kind = self._exception(operation, answer["kinds"])
    self.raised = kind(answer["error"])
    raise self.raised

  def _number(self, value: Any) -> int:
    """The number of an object of the program's process.

    Instances of classes that the prelude defines are copied there.
    """
    if isinstance(value, _Remote):
      return value._number
    if id(value) not in self._copies:
      name = type(value).__name__
      if self.namespace.get(name) is not type(value):
        raise _NotSendableError(f"a {name} cannot be given to the program")
      copy = self.ask("new", name)
      self._copies[id(value)] = value, copy
      for attribute, content in vars(value).items():
        self.ask("set attribute", copy, attribute, content)
    return self._copies[id(value)][1]._number

  def _exception(self, operation: str, kinds: list[str]) -> type[Exception]:
    """The nearest class known here."""
    for name in kinds:
      kind = self.namespace.get(name, getattr(builtins, name, None))
      if isinstance(kind, type) and issubclass(kind, Exception):
        # This one would end a loop of the assertions before its time.
        if issubclass(kind, StopIteration) and operation != "next":
          break
        return kind
    return RuntimeError


class _Remote:
  """A function or an object of the program, which stays in its process."""

  def __init__(self, ask: Callable[..., Any], number: int):
    vars(self).update(_ask=ask, _number=number)

  def __eq__(self, other: object) -> bool:
    return isinstance(other, _Remote) and self._number == other._number

  def __hash__(self) -> int:
    return hash(self._number)

  def __getattr__(self, name: str) -> Any:
    return self._ask("attribute", self, name)

  def __setattr__(self, name: str, value: Any) -> None:
    self._ask("set attribute", self, name, value)

  def __call__(self, *args: Any, **kwargs: Any) -> Any:
    return self._ask("call", self, args, kwargs)

  def __bool__(self) -> bool:
    return bool(self._ask("truth", self))

  def __delitem__(self, key: Any) -> None:
    self._ask("delete item", self, key)

  def __getitem__(self, key: Any) -> Any:
    return self._ask("item", self, key)

  def __iter__(self) -> Any:
    return self._ask("iterate", self)

  def __len__(self) -> int:
    return int(self._ask("length", self))

  def __next__(self) -> Any:
    return self._ask("next", self)

  def __setitem__(self, key: Any, value: Any) -> None:
    self._ask("set item", self, key, value)

  def __str__(self) -> str:
    return str(self._ask("text", self))
