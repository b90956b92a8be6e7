"""Many problems in little memory: a table of records, cached between runs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
import hashlib
import io
import json
import mmap
import os
from pathlib import Path
import sys
import tempfile
from typing import IO, Any, NamedTuple

import numpy as np

from jaxrl_entropy.data.task import Problem

_RECORDS, _INDEX, _SUMMARY = "records.jsonl", "index.npz", "summary.json"
SHOWN = 5  # bad rows


@dataclass
class Summary:
  """Counts of what was read.

  Attributes:
    rows: of all files.
    duplicates: rows that repeat an earlier one and are left out.
    skipped: rows that are left out on purpose.
    bad: rows that are not problems.
    reasons: `file:line: what is wrong` of the first bad rows.
  """

  rows: int = 0
  duplicates: int = 0
  skipped: int = 0
  bad: int = 0
  reasons: list[str] = field(default_factory=list)


class LeftOutError(Exception):
  """A row that is left out on purpose."""


class Candidate(NamedTuple):
  """A row before it is read.

  Attributes:
    place: `file:line`.
    content: bytes that are alike only for rows that are alike; b"" if unknown.
    load: returns the problem; ValueError, TypeError or RecursionError says that
      the row is bad.
    raw: returns the row as it stands in the file.
  """

  place: str
  content: bytes
  load: Callable[[], Problem]
  raw: Callable[[], Any] = dict


class Table(Sequence[Problem]):
  """Problems that are parsed from their records when they are asked for.

  Args:
    records: two JSON objects for each problem, the second with its tests, in
      memory or memory-mapped.
    ends: where each of them ends.
    questions: a hash of each problem's question, uint64.
    summary: of the rows that the problems come from.
  """

  def __init__(
    self,
    records: Any,
    ends: np.ndarray,
    questions: np.ndarray,
    summary: Summary,
  ):
    self._records, self._ends = records, ends
    self.questions, self.summary = questions, summary

  def __len__(self) -> int:
    return len(self._ends)

  def __getitem__(self, index):
    if isinstance(index, slice):
      return [self[i] for i in range(len(self))[index]]
    start, middle, end = self._bounds(index)
    fields = json.loads(self._records[start:middle])
    heavy = json.loads(self._records[middle:end])
    return Problem(**fields, tests=tuple(heavy["tests"]), extra=heavy["extra"])

  def brief(self, index: int) -> Problem:
    """Returns a problem without its tests, which may be megabytes."""
    start, middle, _ = self._bounds(index)
    return Problem(**json.loads(self._records[start:middle]))

  def _bounds(self, index: int) -> tuple[int, int, int]:
    index = range(len(self))[index]
    start = int(self._ends[index - 1]) if index else 0
    end = int(self._ends[index])
    return start, self._records.find(b"\n", start, end), end


class Chosen(Sequence[Problem]):
  """The problems at some positions of a sequence.

  Args:
    problems: the sequence, which is read when a problem is asked for.
    positions: of the problems in it, int64[n], in the order of this sequence.
  """

  def __init__(self, problems: Sequence[Problem], positions: np.ndarray):
    self._problems, self._positions = problems, positions

  def __len__(self) -> int:
    return len(self._positions)

  def __getitem__(self, index):
    if isinstance(index, slice):
      return Chosen(self._problems, self._positions[index])
    return self._problems[int(self._positions[index])]

  def brief(self, index: int) -> Problem:
    """Returns a problem without its tests, as far as that saves anything."""
    return brief(self._problems, int(self._positions[index]))


def brief(problems: Sequence[Problem], index: int) -> Problem:
  """Returns a problem, without its tests where those would have to be read.

  Args:
    problems: a sequence; a `Table` and a `Chosen` can leave the tests out.
    index: of the problem, from 0.
  """
  read = getattr(problems, "brief", None)
  return read(index) if read else problems[index]


def in_memory(candidates: Iterable[Candidate]) -> Table:
  """Reads rows into a table; duplicates are left out, bad rows are counted."""
  records = io.BytesIO()
  ends, questions, summary = _write(candidates, records)
  return Table(records.getvalue(), ends, questions, summary)


def cached(key: str, read: Callable[[], Iterable[Candidate]]) -> Table:
  """Returns the table of `key` from the user's cache, made where missing.

  Processes that make it at the same time do not disturb each other: the folder
  is written aside and renamed. A cache that cannot be written costs the
  reading at every start.

  Args:
    key: text that is equal only where the same problems are read, such as the
      files' paths and times and the reader's code.
    read: returns the rows; it is called where the cache has no table.
  """
  folder = cache_folder() / hashlib.sha256(key.encode()).hexdigest()[:32]
  if not (folder / _SUMMARY).exists():
    try:
      folder.parent.mkdir(parents=True, exist_ok=True)
      print(f"reading data files once, into {folder}", file=sys.stderr)
      with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
        _fill(Path(partial), read())
        _move(Path(partial), folder)
    except OSError:
      return in_memory(read())
  return _open(folder)


def cache_folder() -> Path:
  """Returns the folder of cached tables, below `XDG_CACHE_HOME`."""
  home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
  return Path(home) / "jaxrl_entropy" / "problems"


def question_hash(problem: Problem) -> int:
  """Returns 64 bits that are alike for problems that ask the same."""
  text = f"{problem.system}\0{problem.prompt}".encode()
  return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def distinct(
  candidates: Iterable[Candidate], summary: Summary
) -> Iterator[tuple[Candidate, Problem, bytes]]:
  """Yields the rows that are problems and repeat none before them.

  Args:
    candidates: rows.
    summary: where all rows are counted.

  Yields:
    A row, its problem, and that problem's record.
  """
  seen: set[bytes] = set()
  for candidate in candidates:
    summary.rows += 1
    row_key = _digest(candidate.content)
    if candidate.content and row_key in seen:
      summary.duplicates += 1
      continue
    try:
      problem = candidate.load()
      key, record = _record(problem)
    except LeftOutError:
      summary.skipped += 1
      continue
    except (ValueError, TypeError, RecursionError) as error:
      summary.bad += 1
      if len(summary.reasons) < SHOWN:
        summary.reasons.append(f"{candidate.place}: {error}")
      continue
    seen.add(row_key)
    if key in seen:
      summary.duplicates += 1
      continue
    seen.add(key)
    yield candidate, problem, record


def _write(
  candidates: Iterable[Candidate], records: IO[bytes]
) -> tuple[np.ndarray, np.ndarray, Summary]:
  """Writes one record for each problem; returns their index and the counts."""
  summary = Summary()
  ends: list[int] = []
  questions: list[int] = []
  for _, problem, record in distinct(candidates, summary):
    records.write(record)
    ends.append(records.tell())
    questions.append(question_hash(problem))
  return np.array(ends, np.int64), np.array(questions, np.uint64), summary


def _record(problem: Problem) -> tuple[bytes, bytes]:
  """Returns a digest of all that decides a problem, and its record."""
  fields = asdict(problem)
  heavy = json.dumps({name: fields.pop(name) for name in ("tests", "extra")})
  record = f"{json.dumps(fields)}\n{heavy}"
  for name in ("id", "source", "difficulty"):
    del fields[name]
  return _digest(f"{json.dumps(fields)}\n{heavy}".encode()), record.encode()


def _digest(content: bytes) -> bytes:
  return hashlib.blake2b(content, digest_size=16).digest()


def _fill(folder: Path, candidates: Iterable[Candidate]) -> None:
  with (folder / _RECORDS).open("wb") as records:
    ends, questions, summary = _write(candidates, records)
  np.savez(folder / _INDEX, ends=ends, questions=questions)
  (folder / _SUMMARY).write_text(json.dumps(asdict(summary)))


def _move(partial: Path, folder: Path) -> None:
  """Renames files into the folder, the summary, which marks it whole, last."""
  folder.mkdir(exist_ok=True)
  for name in (_RECORDS, _INDEX, _SUMMARY):
    (partial / name).replace(folder / name)


def _open(folder: Path) -> Table:
  index = np.load(folder / _INDEX)
  summary = Summary(**json.loads((folder / _SUMMARY).read_text()))
  records: Any = b""
  if len(index["ends"]):
    with (folder / _RECORDS).open("rb") as file:
      records = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
  return Table(records, index["ends"], index["questions"], summary)
