"""The records of a run: JSON lines, the writers of the config, a progress line.

`metrics.jsonl` is the contract: reports, sweeps and a resumed run read it. The
writers (TensorBoard, Weights & Biases, ...) get the same records.
"""

import collections
import contextlib
import json
import os
from pathlib import Path
import sys
import time
from typing import TextIO

from ml_collections import ConfigDict

from jaxrl_entropy import config as config_lib, distributed, run_files
from jaxrl_entropy.errors import UserError, write_failed
from jaxrl_entropy.training import alarms, writers
from jaxrl_entropy.training.step_file import StepFile
from jaxrl_entropy.training.writers.base import Record, RunInfo, Writer

METRICS = run_files.METRICS

# Metrics of the progress line, by label.
SHOWN = {
  "H": run_files.ENTROPY,
  "accuracy": run_files.TRAIN_ACCURACY,
  "R": run_files.REWARD_MEAN,
  "held_out": run_files.HELD_OUT_ACCURACY,
}


class MetricsFile:
  """The file `metrics.jsonl`, cut back to a checkpoint on resume."""

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
    """Appends a line; values that are not finite become null.

    Args:
      record: metrics of one step by name.
    """
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
  """Returns a JSON number; None where the value is not finite."""
  if isinstance(value, int):
    return value
  value = float(value)
  return value if abs(value) < float("inf") else None


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
    stream: TextIO | None = None,
    interval: float = 5.0,
  ) -> None:
    self._name, self._total, self._first = name, total, done
    self._stream, self._interval = stream or sys.stderr, interval
    self._start = time.monotonic()
    self._printed = float("-inf")

  def show(self, done: int, **values: float) -> None:
    """Shows where the run stands, unless it did a moment ago.

    Args:
      done: steps that are done, of the total.
      **values: what is printed beside them, with three decimals.
    """
    if not distributed.is_writer():
      return
    now, live = time.monotonic(), self._stream.isatty()
    if not live and done < self._total:
      if now - self._printed < self._interval:
        return
      self._printed = now
    shown = "  ".join(f"{k} {v:.3f}" for k, v in values.items())
    line = (
      f"[{self._name}] {done}/{self._total}  {self._pace(done, now)}{shown}"
    )
    end = "\n" if not live or done == self._total else ""
    self._stream.write(f"\r\x1b[K{line}{end}" if live else line + end)
    self._stream.flush()

  def note(self, text: str) -> None:
    """Prints a line of its own."""
    start = "\r\x1b[K" if self._stream.isatty() else ""
    self._stream.write(f"{start}[{self._name}] {text}\n")
    self._stream.flush()

  def _pace(self, done: int, now: float) -> str:
    """Returns rate and time left; empty before this process's first step."""
    if done <= self._first:
      return ""
    rate = (done - self._first) / max(now - self._start, 1e-9)
    left = (self._total - done) / rate
    return f"{rate:.2f} steps/s  ETA {left // 60:.0f}:{left % 60:02.0f}  "


class _AlarmLog:
  """Reports alarms when they begin, on the screen and in `alarms.jsonl`."""

  def __init__(self, workdir: Path, first: int, progress: Progress) -> None:
    self._progress = progress
    self._file = StepFile(workdir / run_files.ALARMS)
    self._file.cut(first)
    self._records: collections.deque[Record] = collections.deque(
      maxlen=alarms.WINDOW
    )
    self._last_seen: dict[str, int] = {}

  def look(self, record: Record) -> None:
    """Checks the latest records.

    An alarm is reported again only after it was absent for a whole window.
    """
    self._records.append(record)
    step = int(record[run_files.STEP])
    for alarm in alarms.check(list(self._records)):
      seen = self._last_seen.get(alarm.name, -alarms.WINDOW - 1)
      self._last_seen[alarm.name] = step
      if step - seen <= alarms.WINDOW:
        continue
      self._progress.note(f"step {step}: {alarm.message}; try {alarm.setting}")
      self._file.append(
        [
          {
            "step": step,
            "alarm": alarm.name,
            "message": alarm.message,
            "setting": alarm.setting,
          }
        ]
      )


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
    self._writers: list[Writer] = []
    if distributed.is_writer():
      self._file = MetricsFile(workdir / METRICS, offset)
      run = RunInfo(config.name, workdir, config_lib.to_json(config), first)
      self._writers = writers.make(config.log.writers, run)
      self._alarms = _AlarmLog(workdir, first, self._progress)

  def __enter__(self) -> "RunLog":
    return self

  def __exit__(self, *exception: object) -> None:
    for writer in (self._file, *self._writers):
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
      for writer in (self._file, *self._writers):
        writer.write(record)
    except OSError as error:
      raise write_failed(self._workdir, str(error.strerror)) from error
    self._alarms.look(record)
    self._latest |= {
      short: record[name] for short, name in SHOWN.items() if name in record
    }
    shown = dict(self._latest)
    # A graded or shaped reward is another number than the accuracy.
    if shown.get("R") == shown.get("accuracy"):
      shown.pop("R", None)
    self._progress.show(int(record["step"]), **shown)

  def offset(self) -> int:
    """Bytes of the metrics file, on disk; 0 at a process that writes none."""
    return self._file.offset() if self._file is not None else 0
