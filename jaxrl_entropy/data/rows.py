"""Rows of prompt files as problems, whatever the columns are called.

Understood are the columns of DAPO-Math-17k, Eurus-2-RL-Data, MATH, Omni-MATH,
OlympiadBench, Minerva, AIME and AMC files; see docs/data.md.
"""

from collections.abc import Iterator, Mapping
import json
import math
from typing import Any

from jaxrl_entropy.data.boxed import last_boxed
from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.data.prompts import CODE, bare_question, instruct

_PROMPT = ("prompt", "messages", "problem", "question")
_ANSWER = (
  "answer", "ground_truth", "reward_model.ground_truth", "final_answer",
)  # fmt: skip
_SOURCE = ("data_source", "source")
_DIFFICULTY = ("difficulty", "level")
# What a test of each form must have, and of which type.
_TEST_FORMS = (
  {"stdin": str, "stdout": str},
  {"call": str, "args": list | tuple, "expected": object},
  {"check": str, "name": str},
)


class RowError(ValueError):
  """A row that is no problem: says what is missing or wrong."""


def to_problem(
  row: Any, *, instruction: str, verifier: str, source: str, place: str
) -> Problem:
  """The problem of one row.

  Args:
    row: what was read.
    instruction: put after the question.
    verifier: of problems without test cases.
    source: of rows that name none.
    place: where the row is: its id.

  Raises:
    RowError: a field is missing, empty, or of the wrong type.
    UnicodeEncodeError: a text has half a character, a lone surrogate.
  """
  if not isinstance(row, Mapping):
    raise RowError("it is not an object")
  prompt = _question(_field(row, _PROMPT))
  tests = _tests(row.get("tests") or _tests_in_answer(row))
  answer = ""
  if tests:
    instruction, verifier = CODE, "code"
  else:
    answer = _answer(_field(row, _ANSWER, **_solution(row)))
  problem = Problem(
    id=place,
    prompt=instruct(bare_question(prompt), instruction),
    answer=answer,
    source=_source(_field(row, _SOURCE, default=source)),
    verifier=verifier,
    difficulty=_difficulty(_field(row, _DIFFICULTY, default=None)),
    tests=tests,
  )
  "".join((problem.prompt, problem.answer, problem.source)).encode()
  return problem


def _field(row: Mapping[str, Any], names: tuple[str, ...], **default: Any):
  """The first of these columns that the row has; `a.b` looks into `a`."""
  for name in names:
    value: Any = row
    for part in name.split("."):
      value = value.get(part) if isinstance(value, Mapping) else None
    if value is not None:
      return value
  if default:
    return default["default"]
  raise RowError(f"it has none of the fields {', '.join(names)}")


def _question(prompt: Any) -> str:
  """A prompt, or what the user says in a list of messages."""
  if isinstance(prompt, list | tuple):
    users = [
      message.get("content")
      for message in prompt
      if isinstance(message, Mapping) and message.get("role") == "user"
    ]
    if len(users) != 1:
      raise RowError(f"the prompt has {len(users)} user messages, not one")
    prompt = users[0]
  if not isinstance(prompt, str):
    raise RowError(f"the prompt is {type(prompt).__name__}, not text")
  if not prompt.strip():
    raise RowError("the prompt is empty")
  return prompt.strip()


def _answer(answer: Any) -> str:
  if isinstance(answer, list | tuple) and answer:
    # OlympiadBench lists the parts of an answer.
    answer = ", ".join(map(_answer, answer))
  if isinstance(answer, bool) or not isinstance(answer, str | int | float):
    raise RowError(f"the answer is {type(answer).__name__}, not text")
  text = str(answer).strip()
  if not text or text in ("nan", "inf", "-inf"):
    raise RowError(f"the answer is {text or 'empty'}")
  return text


def _solution(row: Mapping[str, Any]) -> dict[str, str]:
  """The answer in a solution's last box, as MATH's own files have it."""
  solution = row.get("solution")
  boxed = last_boxed(solution) if isinstance(solution, str) else None
  return {} if boxed is None else {"default": boxed}


def _source(name: Any) -> str:
  if not isinstance(name, str) or not name.strip():
    raise RowError(f"the source is {name!r:.40}, not a name")
  return name


def _difficulty(value: Any) -> float | None:
  """A number, or the number at the end of `Level 5`."""
  try:
    number = float(str(value).rpartition(" ")[2])
  except ValueError:
    return None
  return number if math.isfinite(number) else None


def _tests_in_answer(row: Mapping[str, Any]) -> Any:
  """Test cases that an answer holds as JSON, as in Eurus-2-RL; else None."""
  answer = _field(row, _ANSWER, default=None)
  if not isinstance(answer, str) or not answer.startswith("{"):
    return None
  try:
    cases = json.loads(answer)
  except ValueError:
    return None
  return cases if {"inputs", "outputs"} <= set(cases) else None


def _tests(cases: Any) -> tuple[dict[str, Any], ...]:
  """Test cases in the forms of `rewards.code`; none for None or nothing."""
  if isinstance(cases, str):
    try:
      cases = json.loads(cases)
    except ValueError as error:
      raise RowError(f"the tests are no JSON: {error}") from error
  if not cases:
    return ()
  if isinstance(cases, list | tuple):
    return tuple(map(_test, cases))
  if not isinstance(cases, Mapping):
    raise RowError(f"the tests are {type(cases).__name__}, not a list")
  return tuple(_pairs(cases))


def _pairs(cases: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
  """The tests of `{"inputs": [...], "outputs": [...], "fn_name": ...}`."""
  inputs, outputs = cases.get("inputs"), cases.get("outputs")
  if not (isinstance(inputs, list) and isinstance(outputs, list)):
    raise RowError("the tests have no lists of inputs and outputs")
  if not inputs or len(inputs) != len(outputs):
    raise RowError(
      f"it has no test cases: {len(inputs)} inputs, {len(outputs)} outputs"
    )
  name = cases.get("fn_name")
  for given, output in zip(inputs, outputs, strict=True):
    if name is None:
      yield {"stdin": _text(given), "stdout": _text(output)}
    else:
      yield _test(_call(name, given, output))


def _test(test: Any) -> dict[str, Any]:
  if isinstance(test, Mapping):
    for form in _TEST_FORMS:
      if all(k in test and isinstance(test[k], t) for k, t in form.items()):
        return dict(test)
  raise RowError("a test has an unknown form")


def _call(name: str, arguments: Any, output: Any) -> dict[str, Any]:
  """A test of a function; APPS and TACO wrap the output in a list."""
  test = {"call": name, "args": arguments, "expected": output}
  if isinstance(output, list | tuple) and len(output) == 1:
    return test | {"unwrapped": output[0]}
  return test


def _text(value: Any) -> str:
  """Lines of a file, which some rows have as a list."""
  return value if isinstance(value, str) else "\n".join(map(str, value))
