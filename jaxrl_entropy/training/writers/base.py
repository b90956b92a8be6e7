"""The interface of a writer, and the facts of a run that it receives."""

from collections.abc import Mapping
import dataclasses
from pathlib import Path
from typing import Any, Protocol
import uuid

Record = Mapping[str, float | int]

_ID = "run_id"


class Writer(Protocol):
  """A place for the records of a run."""

  def write(self, record: Record) -> None:
    """Writes the record of one step, with its number as `step`."""

  def close(self) -> None:
    """Writes what is still held back."""


@dataclasses.dataclass(frozen=True)
class RunInfo:
  """A run, as writers present it.

  Attributes:
    name: `config.name`.
    workdir: its folder.
    config: all of its settings.
    first_step: the step of the next record; above 0 in a continued run.
  """

  name: str
  workdir: Path
  config: Mapping[str, Any]
  first_step: int = 0

  def identity(self) -> str:
    """Returns a name that no other run has, the same after every restart."""
    file = self.workdir / _ID
    if not file.exists():
      file.write_text(uuid.uuid4().hex[:8] + "\n")
    return file.read_text().strip()


def scalars(record: Record) -> dict[str, float]:
  """Returns the metrics of a record, without its step and time."""
  return {k: float(v) for k, v in record.items() if k not in ("step", "time")}
