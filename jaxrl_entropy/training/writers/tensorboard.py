"""Event files for TensorBoard."""

import os
import time
from typing import Any

from jaxrl_entropy import run_files
from jaxrl_entropy.training.writers.base import Record, RunInfo, scalars


class TensorBoard:
  """Scalars in `workdir/tensorboard`.

  They are written at once. The library's SummaryWriter leaves that to a thread,
  which dies of a full disk, and then waits for it for ever. The file is opened
  for the first record: it can take the library seconds to import.
  """

  def __init__(self, run: RunInfo) -> None:
    self._folder = run.workdir / run_files.TENSORBOARD
    self._first = run.first_step
    self._file: Any = None

  def _open(self) -> None:
    from tensorboardX.proto.event_pb2 import SessionLog
    from tensorboardX.record_writer import RecordWriter

    self._folder.mkdir(parents=True, exist_ok=True)
    name = f"events.out.tfevents.{time.time():.0f}.{os.getpid()}"
    self._file = RecordWriter(str(self._folder / name))
    self._add(0, file_version="brain.Event:2")
    # Hides what a killed run wrote after its last checkpoint.
    start = SessionLog(status=SessionLog.START)
    self._add(self._first, session_log=start)

  def write(self, record: Record) -> None:
    """Adds an event with all scalars of the record."""
    if self._file is None:
      self._open()
    from tensorboardX.proto.summary_pb2 import Summary

    values = [
      Summary.Value(tag=name, simple_value=value)
      for name, value in scalars(record).items()
    ]
    self._add(int(record["step"]), summary=Summary(value=values))

  def close(self) -> None:
    """Closes the file."""
    if self._file is not None:
      self._file.close()

  def _add(self, step: int, **content: Any) -> None:
    from tensorboardX.proto.event_pb2 import Event

    event = Event(step=step, wall_time=time.time(), **content)
    self._file.write(event.SerializeToString())
    self._file.flush()
