"""Problems in JSON, Parquet and CSV files of the user's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
import json
from pathlib import Path
import sys
from typing import Any
import warnings

import numpy as np

from jaxrl_entropy.data import (
  answers,
  cases,
  formats,
  prompts,
  reading,
  rows,
  table,
)
from jaxrl_entropy.data.table import Candidate, Table
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tasks import boxed
from jaxrl_entropy.data.tasks.listed import Listed, OnUse, hold_out

CACHED_BYTES = 16 << 20
"""Files that are larger together are read once and cached."""

# The code that decides what a row becomes, and so whether a cache is valid.
_READERS = (answers, boxed, cases, formats, prompts, reading, rows, table)


class Files(Listed):
  """A task of problems in files, read at first use.

  Args:
    path: of the training problems: a file, a pattern (`data/*.jsonl`) or
      several of them with commas between.
    test_path: of the test problems. Without it, those of `test_size` questions
      in `path` are held out, chosen by a hash of the question.
    test_size: how many.
    instruction: put after each question that does not ask for a box.
    verifier: of problems without test cases.
    max_bad: share of bad rows above which the run stops.
    format: the layout of the rows, a name in `formats.FORMATS`; "auto" looks
      for the columns of all of them.

  Raises:
    ValueError: a setting is out of range.
  """

  def __init__(
    self,
    path: str,
    test_path: str = "",
    test_size: int = 256,
    instruction: str = prompts.BOXED,
    verifier: str = "math",
    max_bad: float = 0.01,
    format: str = "auto",
  ):
    if test_size < 0 or not 0 <= max_bad <= 1:
      raise ValueError(
        f"test_size={test_size}, max_bad={max_bad}: give a number of problems, "
        "and a share from 0 to 1"
      )
    formats.format_named(format)
    settings = {
      "instruction": instruction,
      "verifier": verifier,
      "format": format,
    }

    def read(where: str) -> tuple[Table, np.ndarray]:
      problems = read_table(reading.expand(where), settings)
      return checked(problems, max_bad, where), problems.questions

    super().__init__(splits(path, test_path, test_size, read))


def splits(
  path: str,
  test_path: str,
  test_size: int,
  read: Callable[[str], tuple[Sequence[Problem], np.ndarray]],
) -> OnUse:
  """Returns the training and the test problems, each read at first use.

  Args:
    path: of the training problems.
    test_path: of the test problems; "" to hold some out.
    test_size: questions to hold out.
    read: returns the problems at a path, and the `question_hash` of each.

  Raises:
    ValueError: there is no path.
  """
  if not (path or test_path):
    raise ValueError("the task needs args.path or args.test_path")

  @cache
  def held_out() -> dict[str, Sequence[Problem]]:
    return hold_out(*read(path), test_size)

  def load(split: str) -> Sequence[Problem]:
    if not test_path:
      return held_out()[split]
    where = test_path if split == "test" else path
    return read(where)[0] if where else ()

  return OnUse({split: partial(load, split) for split in ("train", "test")})


def read_table(
  paths: Sequence[Path],
  settings: Mapping[str, Any],
  to_problem: Callable[..., Problem] = rows.to_problem,
) -> Table:
  """Reads all rows of some files, or the cache of what they held.

  Args:
    paths: of the files.
    settings: keyword arguments of `to_problem`, of JSON types.
    to_problem: makes a problem of a row.
  """
  read = partial(candidates, paths, settings, to_problem)
  stats = [path.stat() for path in paths]
  if sum(stat.st_size for stat in stats) < CACHED_BYTES:
    return table.in_memory(read())
  identity = [
    (str(path), str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    for path, stat in zip(paths, stats, strict=True)
  ]
  code = _code(to_problem.__module__)
  return table.cached(json.dumps([identity, settings, code]), read)


def checked(problems: Table, max_bad: float, where: str) -> Table:
  """Returns a table of which few rows are bad; warns of what was left out.

  Args:
    problems: all rows of the files.
    max_bad: largest share of bad rows.
    where: the files, for messages.

  Raises:
    ValueError: more than `max_bad` of the rows are bad, or none is good.
  """
  summary = problems.summary
  if summary.bad:
    shown = "\n".join(summary.reasons)
    message = f"{summary.bad} of {summary.rows} rows are not problems:\n{shown}"
    if summary.bad > max_bad * summary.rows:
      raise ValueError(
        f"{message}\nMend them, choose another format, or raise max_bad."
      )
    warnings.warn(message, stacklevel=3)
  if summary.skipped:
    warnings.warn(
      f"{summary.skipped} of {summary.rows} rows are left out on purpose",
      stacklevel=3,
    )
  if not len(problems):
    raise ValueError(f"{where} has no problems")
  if summary.duplicates:
    warnings.warn(
      f"{summary.duplicates} of {summary.rows} rows repeat another and are "
      f"left out: {len(problems)} problems",
      stacklevel=3,
    )
  return problems


def candidates(
  paths: Sequence[Path],
  settings: Mapping[str, Any],
  to_problem: Callable[..., Problem] = rows.to_problem,
  whole: bool = False,
) -> Iterator[Candidate]:
  """Yields the rows of files, not read as problems yet.

  Args:
    paths: the files, read in this order.
    settings: further keyword arguments of `to_problem`.
    to_problem: makes a problem of a row's content; it is given `source`, the
      file's name without its ending, and `place`, `file:line`, as well.
    whole: whether columns are wanted that are no field of a problem.
  """
  for path in paths:
    for row in reading.rows(path, whole):
      place = f"{path}:{row.line}"
      named = partial(to_problem, source=path.stem, place=place, **settings)
      yield Candidate(
        place, row.content, partial(_problem, row.load, named), row.load
      )


def _problem(
  load: Callable[[], Any], to_problem: Callable[[Any], Problem]
) -> Problem:
  return to_problem(load())


@cache
def _code(module: str) -> list[str]:
  """Returns the source of the readers: what they make of a row may change."""
  modules = (*_READERS, sys.modules[module])
  return [Path(str(module.__file__)).read_text() for module in modules]
