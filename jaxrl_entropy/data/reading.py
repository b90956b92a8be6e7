"""Rows of JSON, Parquet and CSV files, each with its place in the file."""

from collections.abc import Callable, Iterator
import csv
from functools import partial
import glob
import gzip
import json
from pathlib import Path
import pickle
from typing import IO, Any, NamedTuple, cast

from jaxrl_entropy import hub, paths
from jaxrl_entropy.data.formats import COLUMNS

HUB = "hub:"
_BATCH = 1024  # rows of Parquet
_DECODER = json.JSONDecoder()


class Row(NamedTuple):
  """One row of a file.

  Attributes:
    line: of a text file, or else the row's number; from 1.
    content: bytes that are alike only for rows that are alike.
    load: returns the row's value, or raises ValueError for a bad row.
  """

  line: int
  content: bytes
  load: Callable[[], Any]


def expand(where: str) -> list[Path]:
  """Returns the files that a path or a pattern names, or several with commas.

  URLs of object stores and data sets of the hub (`hub:ORG/NAME:PATTERN`, the
  pattern of its files) are copied to this machine first.

  Args:
    where: paths, patterns of `glob`, URLs and `hub:` names, commas between.

  Raises:
    ValueError: one of them names no file.
  """
  files: list[Path] = []
  for pattern in where.split(","):
    pattern = pattern.strip()
    if pattern.startswith(HUB):
      name, _, inside = pattern.removeprefix(HUB).partition(":")
      fetched = hub.fetch_data(name, inside or "*", "task.args.path")
      matches = [str(path) for path in fetched]
    elif paths.is_url(pattern):
      urls = paths.expand_url(pattern, "task.args.path")
      matches = [str(paths.fetch(url, "task.args.path")) for url in urls]
    else:
      matches = sorted(glob.glob(pattern))
    if not matches:
      raise ValueError(f"{pattern!r}: there is no such file of problems")
    files += map(Path, matches)
  for path in files:
    if path.is_dir():
      raise ValueError(f"{path} is a folder: give its files, as {path}/*.jsonl")
  return files


def rows(path: Path, whole: bool = False) -> Iterator[Row]:
  """Yields the rows of a file, by its name's ending.

  `.parquet` and `.csv` are what they say; `.json` may hold one array or one
  object; all else is JSON lines. `.gz` is unzipped.

  Args:
    path: of the file.
    whole: whether columns are wanted that are no field of a problem.

  Raises:
    ValueError: the file as a whole cannot be read.
  """
  kind = Path(path.name.removesuffix(".gz")).suffix
  if kind == ".parquet":
    yield from _parquet(path, whole)
    return
  with _opened(path) as file:
    try:
      if kind == ".csv":
        yield from _csv(file)
      elif kind == ".json" and _is_whole(file):
        yield from _elements(path, file.read())
      else:
        yield from _lines(file)
    except (gzip.BadGzipFile, EOFError, csv.Error) as error:
      raise ValueError(f"{path}: {error}") from error


def _opened(path: Path) -> IO[bytes]:
  open_file = gzip.open if path.suffix == ".gz" else open
  return cast(IO[bytes], open_file(path, "rb"))


def _lines(file: IO[bytes]) -> Iterator[Row]:
  for line, raw in enumerate(file, 1):
    if raw.strip():
      # Invalid UTF-8 and invalid JSON are both ValueErrors.
      yield Row(line, raw, partial(_parse, raw))


def _parse(raw: bytes) -> Any:
  return json.loads(raw.decode("utf-8-sig"))


def _is_whole(file: IO[bytes]) -> bool:
  """Whether a file is one JSON value, and not one on each line."""
  start = file.readline()
  try:
    whole = isinstance(_parse(start), list) and not file.read(1)
  except ValueError:
    whole = start.decode("utf-8-sig", "replace").lstrip()[:1] in ("[", "{")
  file.seek(0)
  return whole


def _elements(path: Path, content: bytes) -> Iterator[Row]:
  """Yields the elements of an array, or one object alone.

  Raises:
    ValueError: naming the line at which the JSON breaks off.
  """
  text = content.decode("utf-8-sig").strip()
  if text.startswith("{"):
    yield Row(1, content, partial(json.loads, text))
    return
  at, line = _skip(text, 1), 1
  counted = 0
  while at < len(text) and text[at] != "]":
    line += text.count("\n", counted, at)
    counted = at
    try:
      value, end = _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
      raise ValueError(f"{path}:{error.lineno}: {error.msg}") from error
    yield Row(line, text[at:end].encode(), partial(_same, value))
    at = _skip(text, end)
  if at >= len(text):
    raise ValueError(f"{path}: the array has no end; is the file complete?")


def _skip(text: str, at: int) -> int:
  """Returns the place of the next character that is no space or comma."""
  while at < len(text) and text[at] in " \t\r\n,":
    at += 1
  return at


def _same(value: Any) -> Any:
  return value


def _csv(file: IO[bytes]) -> Iterator[Row]:
  reader = csv.DictReader(raw.decode("utf-8-sig") for raw in file)
  for row in reader:
    cells = {name: cell for name, cell in row.items() if name and cell}
    yield Row(reader.line_num, repr(cells).encode(), partial(_same, cells))


def _parquet(path: Path, whole: bool) -> Iterator[Row]:
  import pyarrow.parquet

  try:
    file = pyarrow.parquet.ParquetFile(path)
    names = file.schema_arrow.names
    if not whole:
      names = [name for name in names if name.lower() in COLUMNS]
    line = 0
    for batch in file.iter_batches(_BATCH, columns=names):
      for row in _of_batch(batch):
        line += 1
        yield Row(line, *row)
  except pyarrow.ArrowInvalid as error:
    raise ValueError(f"{path}: {error}") from error


def _of_batch(batch: Any) -> Iterator[tuple[bytes, Callable[[], Any]]]:
  try:
    for row in batch.to_pylist():
      yield pickle.dumps(row), partial(_same, row)
  except UnicodeDecodeError:
    # Row by row, to find which.
    for i in range(len(batch)):
      yield b"", partial(_only_row, batch.slice(i, 1))


def _only_row(batch: Any) -> Any:
  (row,) = batch.to_pylist()
  return row
