"""Rows of traces: a question and a response to it, for imitation."""

from collections.abc import Mapping
from typing import Any

from jaxrl_entropy.data import rows
from jaxrl_entropy.data.answers import RowError, answer_text
from jaxrl_entropy.data.cases import Row
from jaxrl_entropy.data.formats import FORMATS
from jaxrl_entropy.data.prompts import instruct
from jaxrl_entropy.data.table import LeftOutError
from jaxrl_entropy.data.task import Problem

RESPONSE = "response"
"""The field of a problem's `extra` that holds its response."""

_TURNS = ("messages", "conversations")
_QUESTION = ("prompt", "instruction", "query", "problem", "question")
# The last two are what a set without traces has to imitate: MATH's solutions,
# and GSM8K's answers, which are worked out.
_RESPONSE = (
  *("response", "completion", "output", "generation"),
  *("solution", "answer"),
)
_ROLES = {"human": "user", "gpt": "assistant"}


def to_trace(
  row: Any,
  *,
  instruction: str,
  verifier: str,
  only_correct: bool,
  source: str,
  place: str,
) -> Problem:
  """Returns a problem with its response in `extra["response"]`.

  Args:
    row: with `messages` or `conversations` of one user and one assistant turn,
      or with columns of a question and a response. Where there is a reference
      answer as well, it becomes the problem's.
    instruction: appended to a question that asks for no box itself.
    verifier: of the problem.
    only_correct: whether rows with `correct` false are left out, as of the
      samples that `evaluate` writes.
    source: of rows that name none.
    place: `file:line`, the problem's id.

  Raises:
    RowError: a turn is missing, empty or not text.
    LeftOutError: the response is not correct.
  """
  row = rows.columns(row)
  if only_correct and row.get("correct") is False:
    raise LeftOutError
  turns, used = _turns(row)
  for role, text in turns.items():
    rows.check_text(f"{role} turn", text)
  if not turns["user"].strip() or not turns["assistant"].strip():
    raise RowError("a turn is empty")
  problem = Problem(
    id=place,
    prompt=instruct(turns["user"].strip(), instruction),
    answer=_answer(row, used),
    source=rows.source_of(row, source),
    verifier=verifier,
    difficulty=rows.difficulty_of(row),
    extra={RESPONSE: turns["assistant"].strip()},
    system=turns["system"].strip(),
  )
  "".join((*turns.values(), problem.answer)).encode()
  return problem


def _turns(row: Row) -> tuple[dict[str, Any], str]:
  """Returns the text of each role, and the column of the response."""
  used = next((c for c in _RESPONSE if row.get(c) is not None), "")
  for column in _TURNS:
    if row.get(column) is not None:
      return _conversation(row[column], row.get("system")), column
  question = rows.field_of(row, _QUESTION)
  if question is None or not used:
    raise RowError("it has no conversation, nor a question and a response")
  if used == "answer" and answer_text(row[used]) == str(row[used]).strip():
    raise RowError(
      "it has a bare answer and no response: if that text is to be imitated, "
      "name its column 'response'"
    )
  if isinstance(question, list | tuple):
    turn = {"role": "assistant", "content": row[used]}
    return _conversation([*question, turn], row.get("system")), used
  if row.get("input"):  # Alpaca's: what the instruction is about
    question = f"{question}\n\n{row['input']}"
  system = row.get("system") or ""
  return {"system": system, "user": question, "assistant": row[used]}, used


def _conversation(turns: Any, system: Any) -> dict[str, Any]:
  """Returns the text of each role of a conversation of one turn each.

  Args:
    turns: of `role` and `content`, or `from` and `value`.
    system: message of a conversation that has none itself.
  """
  if not isinstance(turns, list | tuple):
    raise RowError(f"the conversation is {type(turns).__name__}, not a list")
  texts: dict[str, Any] = {}
  for turn in turns:
    if not isinstance(turn, Mapping):
      raise RowError("a turn is not an object")
    role = turn.get("role") or turn.get("from")
    role = _ROLES.get(str(role), str(role))
    if role in texts:
      raise RowError(f"the conversation has several turns of {role}")
    texts[role] = turn.get("content", turn.get("value"))
  texts.setdefault("system", system or "")
  if set(texts) != {"system", "user", "assistant"}:
    raise RowError(f"the conversation has turns of {', '.join(texts)}")
  return texts


def _answer(row: Row, used: str) -> str:
  """Returns the reference answer, "" where there is none to compare with."""
  names = [name for name in FORMATS["auto"].answer if name != used]
  try:
    return answer_text(rows.field_of(row, tuple(names)))
  except RowError:
    return ""
