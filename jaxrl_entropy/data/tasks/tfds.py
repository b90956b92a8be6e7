"""TensorFlow Datasets without TensorFlow: array_record files of problems."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jaxrl_entropy.data.prompts import BOXED
from jaxrl_entropy.data.rows import to_problem
from jaxrl_entropy.data.task import Problem, Task
from jaxrl_entropy.data.tasks.listed import Listed, OnUse

FORMAT = "array_record"
_SPLITS = ("train", "test")
_TEXTS = (
  *("id", "prompt", "answer", "source", "verifier", "system"),
  *("tests", "extra"),
)


class Problems(tfds.core.GeneratorBasedBuilder):
  """The problems of a task, in files of flat rows.

  Args:
    task: its splits, which must not be endless.
    data_dir: folder to build in; more keywords are TFDS's.
  """

  VERSION = tfds.core.Version("1.1.0")

  def __init__(self, task: Task | None = None, **rest: Any):
    self._task = task
    super().__init__(file_format=FORMAT, **rest)

  def _info(self) -> tfds.core.DatasetInfo:
    texts = {name: tfds.features.Text() for name in _TEXTS}
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(
        {**texts, "difficulty": np.float32},
      ),
      description=str(self.__doc__),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
    del dl_manager
    return {split: self._generate_examples(split) for split in _SPLITS}

  def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
    if self._task is None:
      raise ValueError("Problems builds from a task: Problems(task=...)")
    for index in range(self._task.size(split)):
      yield index, _row(self._task.problem(split, index))


def build(task: Task, data_dir: str | Path) -> Path:
  """Writes a task's problems below `data_dir`; returns the folder to read.

  Args:
    task: its splits, which must not be endless.
    data_dir: folder to build in; it is made if it is not there.

  Returns:
    Folder of the written version, which `Tfds` takes as its `data_dir`.
  """
  builder = Problems(task=task, data_dir=str(data_dir))
  builder.download_and_prepare()
  return Path(builder.data_dir)


class Tfds(Listed):
  """A task of problems that TFDS has prepared on this machine.

  Args:
    name: of TFDS's own builder, as `gsm8k` or
      `math_dataset/algebra__linear_1d`; or "" for a folder made by `build`.
    data_dir: TFDS's data folder; or the folder that `build` returned.
    instruction: put after the questions of TFDS's own builders.
    verifier: of their problems.
  """

  def __init__(
    self,
    name: str,
    data_dir: str,
    instruction: str = BOXED,
    verifier: str = "math",
  ):
    settings = {"instruction": instruction, "verifier": verifier}
    read = partial(_question, name, settings) if name else _problem
    builder = _builder(name, data_dir)

    def load(split: str) -> Sequence[Problem]:
      return _Rows(builder.as_data_source(split), partial(read, split))

    super().__init__(OnUse({split: partial(load, split) for split in _SPLITS}))


class _Rows(Sequence[Problem]):
  """Problems of a data source, each read when it is asked for."""

  def __init__(self, rows: Any, read: Callable[[int, dict], Problem]):
    self._rows, self._read = rows, read

  def __len__(self) -> int:
    return len(self._rows)

  def __getitem__(self, index):
    row = {name: _text(value) for name, value in self._rows[index].items()}
    return self._read(index, row)


def _question(
  name: str,
  settings: dict[str, str],
  split: str,
  index: int,
  row: Mapping[str, Any],
) -> Problem:
  """Returns the problem in a row of one of TFDS's own builders."""
  place = f"{name}/{split}/{index}"
  answer = row.get("short_answer") or row["answer"]
  try:
    return to_problem(
      {"question": row["question"], "answer": answer},
      source=name.partition("/")[0],
      place=place,
      **settings,
    )
  except ValueError as error:
    raise ValueError(f"{place}: {error}") from error


def _builder(name: str, data_dir: str) -> tfds.core.DatasetBuilder:
  """Returns a builder whose files can be read without TensorFlow.

  Raises:
    ValueError: there are none, with the command that prepares them.
  """
  if name and next(Path(data_dir, name).rglob("*.tfrecord*"), None):
    raise ValueError(
      f"TFDS: {name} in {data_dir} is stored as tfrecord, which needs "
      f"TensorFlow; prepare it in another folder: {_prepare(name, 'FOLDER')}"
    )
  try:
    if not name:
      return tfds.builder_from_directory(data_dir)
    # Registers the data sets of text, gsm8k and math_dataset among them.
    import tensorflow_datasets.text  # noqa: F401

    builder = tfds.builder(name, data_dir=data_dir, file_format=FORMAT)
  except ModuleNotFoundError as error:
    raise ValueError(
      f"TFDS: {name or data_dir} needs {error.name}: pip install {error.name}"
    ) from error
  except Exception as error:
    # TFDS raises errors of many types for a wrong name or folder.
    raise ValueError(f"TFDS: no data set {name!r} in {data_dir}") from error
  if not builder.is_prepared():
    raise ValueError(
      f"TFDS: {name} is not prepared in {data_dir}; where there is a network: "
      f"{_prepare(name, data_dir)}"
    )
  return builder


def _prepare(name: str, data_dir: str) -> str:
  """Returns the command that prepares a data set without TensorFlow."""
  return (
    'python -c "import tensorflow_datasets as tfds, tensorflow_datasets.text; '
    f"tfds.builder('{name}', data_dir='{data_dir}', "
    f"file_format='{FORMAT}').download_and_prepare()\""
  )


def _row(problem: Problem) -> dict[str, Any]:
  hardness = problem.difficulty
  return {
    "id": problem.id,
    "prompt": problem.prompt,
    "answer": problem.answer,
    "source": problem.source,
    "verifier": problem.verifier,
    "system": problem.system,
    "tests": json.dumps(problem.tests),
    "extra": json.dumps(dict(problem.extra)),
    "difficulty": math.nan if hardness is None else hardness,
  }


def _problem(split: str, index: int, row: Mapping[str, Any]) -> Problem:
  """Returns the problem in a row that `build` wrote."""
  del split, index
  hardness = float(row["difficulty"])
  plain = {name: row[name] for name in _TEXTS[:6]}
  return Problem(
    **plain,
    tests=tuple(json.loads(row["tests"])),
    extra=json.loads(row["extra"]),
    difficulty=None if math.isnan(hardness) else hardness,
  )


def _text(value: Any) -> Any:
  return value.decode() if isinstance(value, bytes) else value
