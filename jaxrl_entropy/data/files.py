"""Problems in JSON-lines and Parquet files of the user's."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
import glob
import json
from pathlib import Path
from typing import Any
import warnings

from jaxrl_entropy.data.listed import Listed, hold_out
from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.data.prompts import BOXED
from jaxrl_entropy.data.rows import to_problem

SHOWN = 5
_BATCH = 1024  # rows of Parquet


@dataclass(frozen=True)
class Read:
  """What files held.

  Attributes:
    problems: the good rows, in order.
    bad: a line for each bad row: `file:line: what is wrong`.
  """

  problems: list[Problem]
  bad: list[str]


class Files(Listed):
  """A task of problems in files.

  Args:
    path: of the training problems: a file, a pattern (`data/*.jsonl`) or
      several of them with commas between.
    test_path: of the test problems. Without it, `test_size` of the training
      problems are held out, chosen by a hash of their prompts.
    test_size: how many.
    instruction: put after each question that does not ask for a box.
    verifier: of problems without test cases.
    max_bad: share of bad rows above which the run stops.
  """

  def __init__(
    self,
    path: str,
    test_path: str = "",
    test_size: int = 256,
    instruction: str = BOXED,
    verifier: str = "math",
    max_bad: float = 0.01,
  ):
    if test_size < 0 or not 0 <= max_bad <= 1:
      raise ValueError(
        f"test_size={test_size}, max_bad={max_bad}: give a number of problems, "
        "and a share from 0 to 1"
      )

    def read(where: str) -> list[Problem]:
      settings = {"instruction": instruction, "verifier": verifier}
      return checked(read_problems(expand(where), **settings), max_bad)

    problems = read(path) if path else []
    if test_path:
      super().__init__({"train": problems, "test": read(test_path)})
    else:
      super().__init__(hold_out(problems, test_size))


def expand(where: str) -> list[Path]:
  """The files that a path, a pattern, or several of them name.

  Raises:
    ValueError: one of them names no file.
  """
  found: list[Path] = []
  for pattern in where.split(","):
    pattern = pattern.strip()
    matches = sorted(glob.glob(pattern))
    if not matches:
      raise ValueError(f"{pattern!r}: there is no such file of problems")
    found += map(Path, matches)
  for path in found:
    if path.is_dir():
      raise ValueError(f"{path} is a folder: give its files, as {path}/*.jsonl")
  return found


def read_problems(paths: Sequence[Path], **settings: str) -> Read:
  """All rows of some files; `settings` are those of `rows.to_problem`."""
  problems: list[Problem] = []
  bad = []
  for path in paths:
    for line, load in _rows(path):
      place = f"{path}:{line}"
      try:
        problem = to_problem(load(), source=path.stem, place=place, **settings)
      except (ValueError, TypeError, RecursionError) as error:
        bad.append(f"{place}: {error}")
      else:
        problems.append(problem)
  return Read(problems, bad)


def checked(read: Read, max_bad: float) -> list[Problem]:
  """The problems; warns of bad rows.

  Raises:
    ValueError: more than `max_bad` of the rows are bad, or none is good.
  """
  rows = len(read.problems) + len(read.bad)
  if read.bad:
    shown = "\n".join(read.bad[:SHOWN])
    message = f"{len(read.bad)} of {rows} rows are no problems:\n{shown}"
    if len(read.bad) > max_bad * rows:
      raise ValueError(f"{message}\nMend them, or raise max_bad.")
    warnings.warn(message, stacklevel=3)
  if not read.problems:
    raise ValueError("the files hold no problems")
  return read.problems


def _rows(path: Path) -> Iterator[tuple[int, Callable[[], Any]]]:
  """(line, loader) of each row; a loader raises ValueError for a bad one."""
  if path.suffix == ".parquet":
    yield from enumerate(_parquet(path), 1)
    return
  with path.open("rb") as lines:
    for line, raw in enumerate(lines, 1):
      if raw.strip():
        # Invalid UTF-8 and invalid JSON are both ValueErrors.
        yield line, partial(_parse, raw)


def _parquet(path: Path) -> Iterator[Callable[[], Any]]:
  import pyarrow.parquet

  try:
    for batch in pyarrow.parquet.ParquetFile(path).iter_batches(_BATCH):
      try:
        yield from (partial(dict, row) for row in batch.to_pylist())
      except UnicodeDecodeError:
        # Row by row, to find which.
        yield from (
          partial(_only_row, batch.slice(i, 1)) for i in range(len(batch))
        )
  except pyarrow.ArrowInvalid as error:
    raise ValueError(f"{path}: {error}") from error


def _only_row(batch: Any) -> Any:
  (row,) = batch.to_pylist()
  return row


def _parse(raw: bytes) -> Any:
  return json.loads(raw.decode())
