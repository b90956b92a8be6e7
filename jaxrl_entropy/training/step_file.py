"""Files of JSON lines that a run adds to at some of its steps."""

from collections.abc import Iterable, Mapping
import json
import math
from pathlib import Path
from typing import Any

from jaxrl_entropy.errors import write_failed


class StepFile:
  """JSON lines with a `step` each; a resumed run cuts off later steps.

  The file is opened for every write, which happens every few steps at most.
  """

  def __init__(self, path: Path) -> None:
    self._path = path

  def cut(self, step: int) -> None:
    """Removes the lines of `step` and of later steps, and broken lines.

    Raises:
      UserError: if the file cannot be written.
    """
    if not self._path.exists():
      return
    with self._path.open(encoding="utf-8") as file:
      lines = file.readlines()
    kept = [line for line in lines if _step_of(line) < step]
    if len(kept) < len(lines):
      self._write("w", kept)

  def append(self, records: Iterable[Mapping[str, Any]]) -> None:
    """Adds a line for each record; values that are not finite become null.

    Raises:
      UserError: if the file cannot be written.
    """
    self._write("a", [json.dumps(_finite(r)) + "\n" for r in records])

  def _write(self, mode: str, lines: list[str]) -> None:
    try:
      with self._path.open(mode, encoding="utf-8") as file:
        file.writelines(lines)
    except OSError as error:
      raise write_failed(self._path, str(error.strerror)) from error


def _step_of(line: str) -> float:
  """Returns the step of a line; infinity for a broken one."""
  try:
    return json.loads(line)["step"]
  except (KeyError, TypeError, ValueError):
    return math.inf


def _finite(value: Any) -> Any:
  if isinstance(value, Mapping):
    return {name: _finite(item) for name, item in value.items()}
  if isinstance(value, list):
    return [_finite(item) for item in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value
