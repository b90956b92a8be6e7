"""What a run writes down: JSON lines, TensorBoard, and a progress line."""

from collections.abc import Mapping
import contextlib
import json
import os
from pathlib import Path
import sys
import time
from typing import Any, TextIO

from ml_collections import ConfigDict

from jaxrl_entropy.errors import UserError, write_failed
from jaxrl_entropy.training import multihost

METRICS = "metrics.jsonl"

Record = Mapping[str, float | int]

# What the progress line shows.
SHOWN = {
  "H": "entropy/token_mean",
  "R": "reward/accuracy",
  "held_out": "eval/held_out/accuracy",
}


class MetricsFile:
  """`metrics.jsonl`, one object a step, cut back to a checkpoint on resume."""

  def __init__(self, path: Path, offset: int = 0) -> None:
    """Opens `path` for appending after its first `offset` bytes.

    Raises:
      UserError: if the file is shorter than that.
    """
    size = path.stat().st_size if path.exists() else 0
    if size < offset:
      raise UserError(
        f"{path} has {size} bytes, and the checkpoint was saved after "
        f"{offset}: bring the file back, or choose another --workdir"
      )
    self._file = path.open("ab")
    self._file.truncate(offset)
    self._file.seek(offset)

  def write(self, record: Record) -> None:
    line = json.dumps({k: _plain(v) for k, v in record.items()})
    self._file.write(line.encode() + b"\n")
    self._file.flush()

  def offset(self) -> int:
    """Bytes written so far, all of them on disk when this returns."""
    self._file.flush()
    os.fsync(self._file.fileno())
    return self._file.tell()

  def close(self) -> None:
    self._file.close()


def _plain(value: float | int) -> float | int | None:
  """A JSON number; None where the value is not finite."""
  if isinstance(value, int):
    return value
  value = float(value)
  return value if abs(value) < float("inf") else None


class TensorBoard:
  """Scalars for TensorBoard; silent where tensorboardX is not installed.

  They are written at once. The library's SummaryWriter leaves that to a thread,
  which dies of a full disk, and then waits for it for ever. The file is opened
  for the first record: it can take the library seconds to import.
  """

  def __init__(self, folder: Path, first_step: int) -> None:
    self._folder, self._first = folder, first_step
    self._file: Any = None

  def _open(self) -> None:
    try:
      from tensorboardX.proto.event_pb2 import SessionLog
      from tensorboardX.record_writer import RecordWriter
    except ImportError:
      return
    self._folder.mkdir(parents=True, exist_ok=True)
    name = f"events.out.tfevents.{time.time():.0f}.{os.getpid()}"
    self._file = RecordWriter(str(self._folder / name))
    self._add(0, file_version="brain.Event:2")
    # Hides what a killed run wrote after its last checkpoint.
    start = SessionLog(status=SessionLog.START)
    self._add(self._first, session_log=start)

  def write(self, record: Record) -> None:
    if self._file is None:
      self._open()
    if self._file is None:
      return
    from tensorboardX.proto.summary_pb2 import Summary

    scalars = [
      Summary.Value(tag=name, simple_value=float(value))
      for name, value in record.items()
      if name not in ("step", "time")
    ]
    self._add(int(record["step"]), summary=Summary(value=scalars))

  def close(self) -> None:
    if self._file is not None:
      self._file.close()

  def _add(self, step: int, **content: Any) -> None:
    from tensorboardX.proto.event_pb2 import Event

    event = Event(step=step, wall_time=time.time(), **content)
    self._file.write(event.SerializeToString())
    self._file.flush()


class Progress:
  """A line about the run: rate, time left, and the values that matter.

  On a terminal it is rewritten in place; in a log it is printed at most every
  `interval` seconds. Of a job's processes only the one that writes shows it.
  """

  def __init__(
    self,
    name: str,
    total: int,
    done: int = 0,
    stream: TextIO = sys.stderr,
    interval: float = 5.0,
  ) -> None:
    self._name, self._total, self._first = name, total, done
    self._stream, self._interval = stream, interval
    self._start = time.monotonic()
    self._printed = float("-inf")

  def show(self, done: int, **values: float) -> None:
    if not multihost.is_writer():
      return
    now, live = time.monotonic(), self._stream.isatty()
    if not live and done < self._total:
      if now - self._printed < self._interval:
        return
      self._printed = now
    rate = (done - self._first) / max(now - self._start, 1e-9)
    left = (self._total - done) / rate if rate else 0.0
    shown = "  ".join(f"{k} {v:.3f}" for k, v in values.items())
    line = (
      f"[{self._name}] {done}/{self._total}  {rate:.2f} steps/s  "
      f"ETA {int(left // 60)}:{int(left % 60):02d}  {shown}"
    )
    end = "\n" if not live or done == self._total else ""
    self._stream.write(f"\r\x1b[K{line}{end}" if live else line + end)
    self._stream.flush()


class RunLog:
  """Everything a run writes about itself; only the writing process does.

  A context manager.
  """

  def __init__(
    self, workdir: Path, config: ConfigDict, offset: int, first: int
  ) -> None:
    """Goes on after `offset` bytes of the metrics file, at step `first`."""
    self._workdir = workdir
    self._progress = Progress(config.name, config.steps, first)
    self._latest: dict[str, float] = {}
    self._file: MetricsFile | None = None
    self._board: TensorBoard | None = None
    if multihost.is_writer():
      self._file = MetricsFile(workdir / METRICS, offset)
      if config.log.tensorboard:
        self._board = TensorBoard(workdir / "tensorboard", first)

  def __enter__(self) -> "RunLog":
    return self

  def __exit__(self, *exception: object) -> None:
    for writer in (self._file, self._board):
      if writer is not None:
        # Closing writes only what could not be written before.
        with contextlib.suppress(OSError):
          writer.close()

  def write(self, record: Record) -> None:
    """Records one step in the files, and shows it.

    Raises:
      UserError: if they cannot be written.
    """
    if self._file is None:
      return
    try:
      self._file.write(record)
      if self._board is not None:
        self._board.write(record)
    except OSError as error:
      raise write_failed(self._workdir, str(error.strerror)) from error
    self._latest |= {
      short: record[name] for short, name in SHOWN.items() if name in record
    }
    self._progress.show(int(record["step"]), **self._latest)

  def offset(self) -> int:
    """Bytes of the metrics file, on disk; 0 at a process that writes none."""
    return self._file.offset() if self._file is not None else 0
