"""Rows of data files as problems."""

from collections.abc import Mapping
import math
from textwrap import shorten
from typing import Any

from jaxrl_entropy.data import cases
from jaxrl_entropy.data.answers import RowError, answer_text
from jaxrl_entropy.data.cases import Cases, Row
from jaxrl_entropy.data.formats import Format, format_named
from jaxrl_entropy.data.prompts import CODE, bare_question, instruct, program
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tasks.boxed import last_boxed

_SOURCE = ("data_source", "source")
_DIFFICULTY = ("difficulty", "level")
_CHOICES = ("choices", "options")
# CodeContests numbers the sites that its problems come from.
_SITES = (
  *("unknown", "codechef", "codeforces", "hackerearth", "codejam"),
  *("atcoder", "aizu"),
)


def to_problem(
  row: Any,
  *,
  instruction: str,
  verifier: str,
  source: str,
  place: str,
  format: str = "auto",
) -> Problem:
  """Returns the problem of one row.

  Args:
    row: a mapping from columns to values, or the pair of turns of
      Open-Reasoner-Zero.
    instruction: appended to a question that asks for no box itself; a problem
      with test cases gets `prompts.CODE` in its place.
    verifier: of problems without test cases.
    source: of rows that name none.
    place: `file:line`, the problem's id.
    format: a name in `formats.FORMATS`.

  Raises:
    RowError: a field is missing, empty, or of the wrong type.
    UnicodeEncodeError: a text has a lone surrogate.
  """
  layout, row = format_named(format), columns(row)
  system, question = _prompt(row, layout)
  tests = _tests(row, layout)
  if tests.tests:
    prompt, answer, verifier = _program(row, question, tests), "", "code"
  else:
    prompt = instruct(bare_question(question), instruction)
    answer = _answer(row, layout)
  problem = Problem(
    id=place,
    prompt=prompt,
    answer=answer,
    source=source_of(row, source),
    verifier=verifier,
    difficulty=difficulty_of(row),
    tests=tests.tests,
    extra=_settings(row, tests) if tests.tests else {},
    system=system,
  )
  "".join((prompt, answer, problem.source, system)).encode()
  return problem


def columns(row: Any) -> Row:
  """Returns a row with its columns' names in lower case.

  Args:
    row: a mapping, or the pair of turns of Open-Reasoner-Zero.

  Raises:
    RowError: if it is neither.
  """
  if isinstance(row, list | tuple):
    return _turns(row)
  if not isinstance(row, Mapping):
    raise RowError("it is not an object")
  return {str(name).lower(): value for name, value in row.items()}


def _turns(row: Any) -> Row:
  """Returns question and answer of Open-Reasoner-Zero's pair of turns."""
  try:
    question, answer = row
    return {
      "question": question["value"],
      "answer": answer["ground_truth"]["value"],
    }
  except (ValueError, TypeError, KeyError, IndexError):
    raise RowError("it is not an object, nor a pair of turns") from None


def field_of(row: Row, names: tuple[str, ...]) -> Any:
  """Returns the first of these columns that the row has, or None.

  Args:
    row: a row's values by column, names in lower case.
    names: columns in the order of preference; `a.b` is the entry `b` of the
      mapping in column `a`.
  """
  for name in names:
    value: Any = row
    for key in name.split("."):
      value = value.get(key) if isinstance(value, Mapping) else None
    if value is not None:
      return value
  return None


def _required(row: Row, names: tuple[str, ...]) -> Any:
  value = field_of(row, names)
  if value is None:
    fields = shorten(", ".join(row), 100, placeholder=" ...")
    raise RowError(
      f"it has none of the fields {', '.join(names)}; its fields are {fields}"
    )
  return value


def _prompt(row: Row, layout: Format) -> tuple[str, str]:
  """Returns the system message, "" if there is none, and the question."""
  prompt, system = _required(row, layout.question), row.get("system") or ""
  if isinstance(prompt, list | tuple):
    system = "".join(_contents(prompt, "system", (0, 1))) or system
    (prompt,) = _contents(prompt, "user", (1,))
  elif isinstance(prompt, str) and prompt.lstrip().startswith('[{"'):
    raise RowError("the prompt is JSON text: give the messages as a list")
  check_text("prompt", prompt)
  check_text("system message", system)
  if not prompt.strip():
    raise RowError("the prompt is empty")
  return system.strip(), prompt.strip()


def _contents(messages: Any, role: str, counts: tuple[int, ...]) -> list[Any]:
  """Returns the texts of the messages of a role, as many as there may be."""
  contents = [
    message.get("content")
    for message in messages
    if isinstance(message, Mapping) and message.get("role") == role
  ]
  if len(contents) not in counts:
    raise RowError(f"the prompt has {len(contents)} {role} messages, not one")
  for content in contents:
    check_text("prompt", content)
  return contents


def check_text(name: str, value: Any) -> None:
  """Checks that a value of a row is text.

  Args:
    name: what the value is, for the message.
    value: of the row.

  Raises:
    RowError: if it is of another type.
  """
  if not isinstance(value, str):
    raise RowError(f"the {name} is {type(value).__name__}, not text")


def _tests(row: Row, layout: Format) -> Cases:
  """Returns the tests in the columns of a layout, or in its answer."""
  tests = cases.read(row, layout.tests)
  answer = field_of(row, layout.answer)
  if not tests.tests and cases.holds_tests(answer):
    return cases.parse(answer)
  if not tests.tests and not layout.answer:
    raise RowError("it has no test cases")
  return tests


def _settings(row: Row, tests: Cases) -> dict[str, Any]:
  """Returns how the verifier `code` is to judge the row's programs."""
  settings: dict[str, Any] = {}
  if tests.prelude:
    settings["prelude"] = tests.prelude
  tolerance = row.get("tolerance")
  if tolerance is not None:
    if not isinstance(tolerance, float) or not 0 < tolerance < 1:
      raise RowError(f"the tolerance is {tolerance!r:.40}, not from 0 to 1")
    settings["tolerance"] = tolerance
  return settings


def _answer(row: Row, layout: Format) -> str:
  """Returns the reference, or the last box of a solution as in MATH."""
  if field_of(row, _CHOICES):
    raise RowError("it is a question of multiple choice, which is not read")
  answer, solution = field_of(row, layout.answer), row.get("solution")
  if answer is None and isinstance(solution, str):
    answer = last_boxed(solution)
  if answer is None:
    _required(row, layout.answer)
  return answer_text(answer)


def _program(row: Row, question: str, tests: Cases) -> str:
  """Returns the prompt of a programming problem."""
  starter = row.get("starter_code") or ""
  if tests.prelude and tests.prelude.strip() == question:
    question, starter = "", tests.prelude  # HumanEval's prompt is code
  names = {test.get("call") or test.get("name") for test in tests.tests}
  return program(
    question,
    instruction=CODE,
    starter=starter,
    names=sorted(name for name in names if name),
    assertions=row.get("test_list") or (),
  )


def source_of(row: Row, default: str) -> str:
  """Returns the name of the data set that a row is from.

  Args:
    row: a row's values by column, names in lower case.
    default: name for a row that has none.

  Raises:
    RowError: if the row's source is no name.
  """
  name = field_of(row, _SOURCE)
  if name is None:
    return default
  if isinstance(name, int) and 0 <= name < len(_SITES):
    return _SITES[name]
  if not isinstance(name, str) or not name.strip():
    raise RowError(f"the source is {name!r:.40}, not a name")
  return name


def difficulty_of(row: Row) -> float | None:
  """Returns a number, that of `Level 5`, or the share of `6/8`.

  Args:
    row: a row's values by column, names in lower case.

  Returns:
    In the row's own unit; None where there is no such number.
  """
  value = field_of(row, _DIFFICULTY)
  text = str(value).rpartition(" ")[2]
  top, _, bottom = text.partition("/")
  try:
    number = float(top) / float(bottom or 1)
  except (ValueError, ZeroDivisionError):
    return None
  return number if math.isfinite(number) else None
