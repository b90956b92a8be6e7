"""Runs on disk: the metrics and the configuration that a workdir holds.

The files come from training, from other machines, or from a process that was
killed in the middle of a line, so reading never fails on content: what cannot
be used is left out and named in `Run.notes`.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import json
import math
import pathlib
from typing import Any

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.errors import UserError

BASELINE = "GRPO"

METHOD_NAMES = {
  "grpo": BASELINE,
  "dr_grpo": "Dr. GRPO",
  "rloo": "RLOO",
  "reinforce_pp": "REINFORCE++",
  "reinforce_plus_plus": "REINFORCE++",
  "prime": "PRIME",
  "clip_higher": "Clip-higher",
  "entropy_bonus": "Entropy bonus",
  "reference_kl": "Reference KL",
  "clip_cov": "Clip-Cov",
  "kl_cov": "KL-Cov",
  "dapo": "DAPO",
  "gspo": "GSPO",
}


@dataclasses.dataclass(frozen=True)
class Series:
  """One metric over training.

  Attributes:
    steps: int64[n], increasing.
    values: float64[n], finite.
  """

  steps: np.ndarray
  values: np.ndarray

  def __len__(self) -> int:
    return len(self.steps)


@dataclasses.dataclass(frozen=True)
class Run:
  """One training run, as its files tell it.

  Attributes:
    name: the workdir's name.
    config: the resolved configuration; empty where the file is missing.
    records: one mapping a step, by increasing step.
    notes: what could not be read, in words.
  """

  name: str
  config: Mapping[str, Any]
  records: Sequence[Mapping[str, Any]]
  notes: tuple[str, ...] = ()

  def series(self, key: str) -> Series:
    """The steps at which `key` has a finite value, and the values."""
    steps, values = self.table("step", key).T
    return Series(steps.astype(np.int64), values)

  def table(self, *keys: str) -> np.ndarray:
    """float64[n, len(keys)]: the records in which every key is finite."""
    rows = [
      [_number(record.get(key)) for key in keys] for record in self.records
    ]
    table = np.array(rows, dtype=np.float64).reshape(-1, len(keys))
    return table[np.isfinite(table).all(axis=1)]

  @property
  def metrics(self) -> set[str]:
    """The keys of all records."""
    return {key for record in self.records for key in record}

  def setting(self, path: str, default: Any = None) -> Any:
    """The configured value at a dotted path, such as `loss.args.fraction`."""
    node: Any = self.config
    for part in path.split("."):
      if not isinstance(node, Mapping) or part not in node:
        return default
      node = node[part]
    return node

  @property
  def loss(self) -> str:
    return str(self.setting("loss.name", self.name))

  @property
  def loss_arguments(self) -> Mapping[str, Any]:
    arguments = self.setting("loss.args")
    return arguments if isinstance(arguments, Mapping) else {}

  @property
  def method(self) -> str:
    """The algorithm: the loss, or the advantage under plain GRPO."""
    advantage = str(self.setting("advantage.name", "grpo"))
    key = advantage if self.loss == "grpo" else self.loss
    return METHOD_NAMES.get(key, key)

  @property
  def accuracy_key(self) -> str:
    """Accuracy on the held-out set; on the training prompts where none is."""
    has_eval = any(
      run_files.HELD_OUT_ACCURACY in record for record in self.records
    )
    return run_files.HELD_OUT_ACCURACY if has_eval else run_files.TRAIN_ACCURACY


def load(workdir: str | pathlib.Path) -> Run:
  """Reads one run.

  Raises:
    UserError: the folder holds no `metrics.jsonl`.
  """
  workdir = pathlib.Path(workdir)
  if (workdir / run_files.METRICS).is_file():
    records, notes = _read_metrics(workdir / run_files.METRICS)
  elif (workdir / run_files.COMPACT_METRICS).is_file():
    records, notes = _read_columns(workdir / run_files.COMPACT_METRICS)
  else:
    raise UserError(
      f"{workdir} holds no {run_files.METRICS}: give the folder of a "
      "training run"
    )
  config, config_notes = _read_config(workdir / run_files.CONFIG)
  return Run(workdir.resolve().name, config, records, notes + config_notes)


def workdirs(folder: str | pathlib.Path) -> list[pathlib.Path]:
  """The sub-folders that hold metrics, by name."""
  files = pathlib.Path(folder).glob("*/metrics.json*")
  names = (run_files.METRICS, run_files.COMPACT_METRICS)
  return sorted({file.parent for file in files if file.name in names})


def _number(value: Any) -> float:
  is_number = isinstance(value, int | float) and not isinstance(value, bool)
  return float(value) if is_number else math.nan


def _read_metrics(
  path: pathlib.Path,
) -> tuple[list[Mapping[str, Any]], tuple[str, ...]]:
  """The records by step; a step written twice (after a resume) counts once."""
  by_step: dict[int, Mapping[str, Any]] = {}
  bad: list[int] = []
  lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
  for number, line in enumerate(lines, start=1):
    record = _parse(line)
    if record is None:
      bad.append(number)
    else:
      by_step[record["step"]] = record
  notes: tuple[str, ...] = ()
  if bad:
    numbers = ", ".join(map(str, bad[:8])) + (", ..." if len(bad) > 8 else "")
    notes = (
      f"{run_files.METRICS}: {len(bad)} unreadable line(s) left out: {numbers}",
    )
  return [by_step[step] for step in sorted(by_step)], notes


def _read_columns(
  path: pathlib.Path,
) -> tuple[list[Mapping[str, Any]], tuple[str, ...]]:
  """The records of a file that `analysis.compact` wrote."""
  columns = _read_object(path)
  if not columns or not all(isinstance(c, list) for c in columns.values()):
    return [], (f"{run_files.COMPACT_METRICS} is not a JSON object of lists",)
  rows = zip(*columns.values(), strict=False)
  return [dict(zip(columns, row, strict=True)) for row in rows], ()


def _parse(line: str) -> dict[str, Any] | None:
  try:
    record = json.loads(line)
  except (ValueError, RecursionError):
    return None
  is_record = isinstance(record, dict) and type(record.get("step")) is int
  return record if is_record else None


def _read_config(
  path: pathlib.Path,
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
  if not path.is_file():
    return {}, (
      f"{run_files.CONFIG} is missing: the method is taken from the name",
    )
  content = _read_object(path)
  if content is None:
    return {}, (
      f"{run_files.CONFIG} is not a JSON object: the method is taken from "
      "the name",
    )
  return content.get("config", content), ()


def _read_object(path: pathlib.Path) -> dict[str, Any] | None:
  """The JSON object in a file; None for anything else."""
  try:
    content = json.loads(path.read_text(encoding="utf-8", errors="replace"))
  except (ValueError, RecursionError):
    return None
  return content if isinstance(content, dict) else None
