"""Test cases of programming problems, in the layouts of published sets.

All are turned into the three forms of `verifiers.code`: what a program prints,
what a function returns, and assertions about a function.
"""

import ast
import base64
import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
import io
import json
import pickle
import textwrap
from typing import Any
import zlib

from jaxrl_entropy.data.answers import RowError

Row = Mapping[str, Any]
Test = dict[str, Any]

# Keys that a test of each form must have, and their types.
_FORMS = (
  {"stdin": str, "stdout": str},
  {"call": str, "args": list | tuple, "expected": object},
  {"check": str, "name": str},
)
_MAX_BYTES = 1 << 28  # of one row's unpacked tests


@dataclass(frozen=True)
class Cases:
  """The tests of a problem.

  Attributes:
    tests: in the forms of `rewards.verifiers.code`.
    prelude: code put before the program and before the assertions.
  """

  tests: tuple[Test, ...] = ()
  prelude: str = ""


def parse(value: Any) -> Cases:
  """Returns the tests that a column or an answer holds; none for None or "".

  Args:
    value: JSON text or its value: a list of tests, or a mapping of `inputs` and
      `outputs` (APPS, TACO, Eurus), of `entry_point` and `test_code` or of
      `assert_case` (Skywork).

  Raises:
    RowError: the value is in none of these layouts.
  """
  if isinstance(value, str) and value:
    value = _json(value)
  if not value:
    return Cases()
  if isinstance(value, list | tuple):
    return Cases(tuple(map(_test, value)))
  if not isinstance(value, Mapping):
    raise RowError(f"the tests are {type(value).__name__}, not a list")
  if "test_code" in value:
    return _assertions_of(value)
  if "assert_case" in value:
    return Cases((_check(value["assert_case"]),))
  inputs, outputs = value.get("inputs"), value.get("outputs")
  return Cases(tuple(_pairs(inputs, outputs, value.get("fn_name"))))


def holds_tests(text: Any) -> bool:
  """Whether an answer is JSON text of tests, as in Eurus-2-RL and Skywork."""
  if not isinstance(text, str) or not text.startswith("{"):
    return False
  try:
    keys = set(json.loads(text))
  except (ValueError, RecursionError):
    return False
  return {"inputs", "outputs"} <= keys or bool(
    keys & {"test_code", "assert_case"}
  )


def _of_column(name: str) -> Callable[[Row], Cases]:
  return lambda row: parse(row.get(name))


def _code_contests(row: Row) -> Cases:
  columns = ("public_tests", "private_tests", "generated_tests")
  tests: list[Test] = []
  for column in columns:
    cases = row.get(column)
    if isinstance(cases, Mapping) and cases.get("input"):
      tests += _pairs(cases["input"], cases.get("output"), None)
  return Cases(tuple(tests))


def _live_code_bench(row: Row) -> Cases:
  if not row.get("public_test_cases"):
    return Cases()
  metadata = row.get("metadata") or {}
  if isinstance(metadata, str):
    metadata = _json(metadata)
  tests = [
    *_list(_json(row["public_test_cases"])),
    *_list(_unpacked(row.get("private_test_cases") or "[]")),
  ]
  return Cases(tuple(_test(test, metadata) for test in tests))


def _mbpp(row: Row) -> Cases:
  if not row.get("test_list"):
    return Cases()
  setup = row.get("test_setup_code") or "\n".join(row.get("test_imports") or ())
  return Cases((_check(row["test_list"], setup),))


def _human_eval(row: Row) -> Cases:
  if not (row.get("test") and row.get("entry_point")):
    return Cases()
  test = {"check": row["test"], "name": row["entry_point"]}
  # The prompt has the imports and helpers, and the function without a body.
  return Cases((_own(test),), str(row.get("prompt", "")))


LAYOUTS: dict[str, Callable[[Row], Cases]] = {
  "tests": _of_column("tests"),
  "input_output": _of_column("input_output"),
  "code_contests": _code_contests,
  "live_code_bench": _live_code_bench,
  "mbpp": _mbpp,
  "human_eval": _human_eval,
}
"""Reads the tests of a row, by the layout's name; no tests where the row
lacks its columns."""


def read(row: Row, layouts: Iterable[str]) -> Cases:
  """Returns the tests of the first of these layouts that the row has.

  Args:
    row: a row's values by column, names in lower case.
    layouts: names in `LAYOUTS`, in the order in which they are tried.

  Returns:
    The tests; none if the row has no such column.

  Raises:
    RowError: if a layout's columns are there but cannot be read.
  """
  for layout in layouts:
    cases = LAYOUTS[layout](row)
    if cases.tests:
      return cases
  return Cases()


def _json(text: Any) -> Any:
  try:
    return json.loads(text)
  except (ValueError, TypeError) as error:
    raise RowError(f"the tests are not JSON: {error}") from error


def _list(value: Any) -> Sequence[Any]:
  if not isinstance(value, list | tuple):
    raise RowError(f"the tests are {type(value).__name__}, not a list")
  return value


def _pairs(inputs: Any, outputs: Any, name: Any) -> Iterator[Test]:
  """Yields the tests of parallel lists: calls of `name`, or else programs."""
  if not (isinstance(inputs, list) and isinstance(outputs, list)):
    raise RowError("the tests have no lists of inputs and outputs")
  if not inputs or len(inputs) != len(outputs):
    raise RowError(
      f"it has no test cases: {len(inputs)} inputs, {len(outputs)} outputs"
    )
  for argument, output in zip(inputs, outputs, strict=True):
    if name:
      yield _own(_call(name, argument, output))
    else:
      yield {"stdin": _text(argument), "stdout": _text(output)}


def _test(test: Any, metadata: Any = None) -> Test:
  """Returns one test: of our own forms, or `{input, output, ...}`."""
  if not isinstance(test, Mapping) or not {"input", "output"} <= set(test):
    return _own(test)
  of_test = test.get("metadata")
  metadata = of_test if isinstance(of_test, Mapping) else metadata
  name = test.get("fn_name") or (metadata or {}).get("func_name")
  kind = test.get("testtype") or test.get("type")
  if kind in ("functional", "function_call"):
    if not name:
      raise RowError("a test calls a function and does not name it")
    return _own(_call(name, _arguments(test["input"]), _value(test["output"])))
  return {"stdin": _text(test["input"]), "stdout": _text(test["output"])}


def _own(test: Any) -> Test:
  if isinstance(test, Mapping):
    for form in _FORMS:
      if all(k in test and isinstance(test[k], t) for k, t in form.items()):
        return dict(test)
  raise RowError("a test has an unknown form")


def _call(name: Any, arguments: Any, output: Any) -> Test:
  """Returns a test of a function; APPS and TACO wrap the output in a list."""
  if isinstance(arguments, list | tuple):
    arguments = list(map(_with_integer_keys, arguments))
  test = {"call": name, "args": arguments, "expected": output}
  if isinstance(output, list | tuple) and len(output) == 1:
    return test | {"unwrapped": output[0]}
  return test


def _with_integer_keys(value: Any) -> Any:
  """Returns a dict whose integer keys JSON has made texts as it was before."""
  if not isinstance(value, Mapping):
    return value
  try:
    return {int(key): item for key, item in value.items()}
  except ValueError:
    return value


def _arguments(value: Any) -> Any:
  """Returns arguments, which may be JSON text with one on each line."""
  if not isinstance(value, str):
    return value
  return [_json(line) for line in value.splitlines() if line.strip()]


def _value(output: Any) -> Any:
  return _json(output) if isinstance(output, str) else output


def _text(value: Any) -> str:
  """Returns the text of a file, which some rows have as a list of lines."""
  return value if isinstance(value, str) else "\n".join(map(str, value))


def _assertions_of(value: Mapping[str, Any]) -> Cases:
  """Returns LeetCode's `def check(candidate)` of Skywork-OR1."""
  name = str(value.get("entry_point") or "").removeprefix("Solution().")
  if not name:
    raise RowError("the tests have test_code and no entry_point")
  test = {"check": value["test_code"], "name": name}
  return Cases((_own(test),), value.get("import_prefix") or "")


def _check(assertions: Any, setup: str = "") -> Test:
  """Returns the `check` form of assertions that call a function by its name."""
  lines = [str(line) for line in _list(assertions)]
  try:
    trees = [ast.parse(line.strip()) for line in lines]
  except (SyntaxError, MemoryError) as error:
    raise RowError(f"an assertion is not Python: {error}") from error
  name = next((n for tree in trees for n in _called(tree)), None)
  if name is None:
    raise RowError("the assertions call no function")
  body = textwrap.indent("\n".join(map(ast.unparse, trees)), "  ")
  return {"check": f"{setup}\ndef check({name}):\n{body}\n", "name": name}


def _called(tree: ast.AST) -> Iterator[str]:
  """Yields the names of the functions called that Python does not have."""
  for node in ast.walk(tree):
    name = (
      getattr(node.func, "id", None) if isinstance(node, ast.Call) else None
    )
    if name and not hasattr(builtins, name):
      yield name


class _TextUnpickler(pickle.Unpickler):
  """Unpickles plain values; a file that names a class is refused."""

  def find_class(self, module: str, name: str) -> Any:
    raise RowError(f"the private tests name {module}.{name}")


def _unpacked(text: str) -> Any:
  """Returns LiveCodeBench's private tests: JSON, or pickled, zipped base64."""
  if text.lstrip().startswith("["):
    return _json(text)
  try:
    packed = zlib.decompressobj().decompress(
      base64.b64decode(text, validate=True), _MAX_BYTES
    )
    return _json(_TextUnpickler(io.BytesIO(packed)).load())
  except (ValueError, zlib.error, pickle.UnpicklingError, EOFError) as error:
    raise RowError(f"the private tests cannot be unpacked: {error}") from error
