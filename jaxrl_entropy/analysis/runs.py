"""Training runs on disk: the metrics and the configuration in a run's folder.

The files may come from another machine or from a process that was killed in
the middle of a line. Reading therefore never fails on their content: a line
that cannot be used is left out and reported in `Run.notes`.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import json
import math
import pathlib
from typing import Any

import numpy as np

from jaxrl_entropy import run_files
from jaxrl_entropy.config.recipes import RECIPES
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
  "clip_random": "Random tokens",
  "dapo": "DAPO",
  "gspo": "GSPO",
  "reinforce_plus_plus_baseline": "REINFORCE++-baseline",
  "ppo": "PPO",
  "remax": "ReMax",
  "opo": "OPO",
  "gpg": "GPG",
  "gmpo": "GMPO",
  "cispo": "CISPO",
  "sapo": "SAPO",
  "entropy_tokens": "Entropy tokens",
  "cw_grpo": "CW-GRPO",
  "opefo": "OPEFO",
  "papo": "PAPO",
  "steer": "STEER",
  "ce_gppo": "CE-GPPO",
  "bapo": "BAPO",
  "adaptive_clip": "Adaptive clip",
  "archer": "Archer",
  "entropy_advantage": "Entropy advantage",
  "eda": "EDA",
  "siren": "SIREN",
  "skywork": "Skywork",
  "entropic": "EntroPIC",
  "qae": "QAE",
  "nsr": "NSR",
  "w_reinforce": "W-REINFORCE",
  "entrocraft": "Entrocraft",
  "mcpo": "MCPO",
  "htpo": "HTPO",
  "distillation": "Distillation",
  "tip": "TIP",
  "rlsd": "RLSD",
  "rlrt": "RLRT",
}

_PLAIN_LOSSES = ("grpo", "reinforce")

# No float32 of a training run is larger, and sums of squares do not overflow.
_LARGEST = 1e100

SCORE_NAMES = {
  run_files.HELD_OUT_ACCURACY: "held-out accuracy",
  run_files.TRAIN_ACCURACY: "training accuracy",
  run_files.REWARD_MEAN: "mean reward",
}
"""Metrics that can measure performance, and their names for a reader."""


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
  """One training run, as its files describe it.

  Attributes:
    name: name of the run's folder.
    config: the resolved configuration; empty if the file is missing.
    records: one mapping per step, by increasing step.
    notes: descriptions of content that could not be read.
    folder: where the files are; None for a run that was not read from files.
    commit: git commit of the code that trained; None if unknown.
    score: metric that measures performance; "" chooses it from the records.
    alarms: warnings that training wrote, with `step`, `alarm`, `message` and
      `setting` each.
  """

  name: str
  config: Mapping[str, Any]
  records: Sequence[Mapping[str, Any]]
  notes: tuple[str, ...] = ()
  folder: pathlib.Path | None = None
  commit: str | None = None
  score: str = ""
  alarms: Sequence[Mapping[str, Any]] = ()

  def series(self, key: str) -> Series:
    """Returns the finite values of a metric and their steps.

    Args:
      key: name of the metric in the records; steps without it are left out.
    """
    steps, values = self.table(run_files.STEP, key).T
    return Series(steps.astype(np.int64), values)

  def table(self, *keys: str) -> np.ndarray:
    """Returns the records in which every key is finite: float64[n, keys]."""
    table = np.stack([self._column(key) for key in keys], axis=1)
    return table[np.isfinite(table).all(axis=1)]

  def _column(self, key: str) -> np.ndarray:
    """Returns a metric of all records, NaN where there is none; read once."""
    if key not in self._columns:
      values = [_number(record.get(key)) for record in self.records]
      self._columns[key] = np.array(values, dtype=np.float64)
    return self._columns[key]

  @functools.cached_property
  def _columns(self) -> dict[str, np.ndarray]:
    return {}

  @property
  def metrics(self) -> set[str]:
    """The keys of all records."""
    return {key for record in self.records for key in record}

  def setting(self, path: str, default: Any = None) -> Any:
    """Returns a configured value by dotted path: `loss.args.fraction`.

    Args:
      path: names of the sections and of the field, joined by dots.
      default: value to return where the run's config lacks the field.
    """
    node: Any = self.config
    for key in path.split("."):
      if not isinstance(node, Mapping) or key not in node:
        return default
      node = node[key]
    return node

  @property
  def steps(self) -> int:
    """The last recorded step."""
    return int(self.records[-1][run_files.STEP]) if self.records else 0

  @property
  def seed(self) -> Any:
    """The configured seed; None if unknown."""
    return self.setting("seed")

  @property
  def loss(self) -> str:
    """Name of the loss; the run's own name if there is no configuration."""
    return str(self.setting("loss.name", self.name))

  @property
  def loss_arguments(self) -> Mapping[str, Any]:
    """Configured arguments of the loss."""
    arguments = self.setting("loss.args")
    return arguments if isinstance(arguments, Mapping) else {}

  @property
  def method(self) -> str:
    """The algorithm: the recipe, or what loss and advantage make of it.

    A recipe whose loss or advantage was replaced does not name the method. The
    loss does, or the advantage where the loss is a plain policy gradient.
    """
    advantage = str(self.setting("advantage.name", "grpo"))
    name = str(self.setting("recipe", ""))
    recipe = RECIPES.get(name)
    if recipe and (recipe.loss, recipe.advantage) == (self.loss, advantage):
      key = name
    else:
      key = advantage if self.loss in _PLAIN_LOSSES else self.loss
    return METHOD_NAMES.get(key, key)

  @property
  def score_key(self) -> str:
    """The metric that measures performance; see `choose_score`."""
    return self.score or choose_score([self])


def choose_score(members: Sequence[Run]) -> str:
  """Returns the metric by which all given runs can be compared.

  This is held-out accuracy if every run has it, otherwise accuracy on the
  training prompts. Where no response of any run was ever correct but rewards
  vary, the rewards are graded, and it is the mean reward.
  """
  every_run_is_evaluated = all(
    run_files.HELD_OUT_ACCURACY in run.metrics for run in members
  )
  accuracy = (
    run_files.HELD_OUT_ACCURACY
    if every_run_is_evaluated
    else run_files.TRAIN_ACCURACY
  )
  keys = (accuracy, run_files.TRAIN_ACCURACY)
  if any(run.series(key).values.any() for run in members for key in keys):
    return accuracy
  rewards = [run.series(run_files.REWARD_MEAN).values for run in members]
  return (
    run_files.REWARD_MEAN
    if any(len(values) and np.ptp(values) > 0 for values in rewards)
    else accuracy
  )


def load(folder: str | pathlib.Path) -> Run:
  """Reads one run.

  Args:
    folder: of the run, or of a copy that `compact` made.

  Raises:
    UserError: if the folder holds no metrics.
  """
  folder = pathlib.Path(folder)
  if (folder / run_files.METRICS).is_file():
    records, notes = _read_metrics(folder / run_files.METRICS)
  elif (folder / run_files.COMPACT_METRICS).is_file():
    records, notes = _read_compact(folder / run_files.COMPACT_METRICS)
  else:
    raise UserError(
      f"{folder} holds no {run_files.METRICS}: give the folder of a training "
      "run"
    )
  content, config_notes = _read_config(folder / run_files.CONFIG)
  alarms, alarm_notes = read_json_lines(folder / run_files.ALARMS)
  return Run(
    name=folder.resolve().name,
    config=content.get("config", content),
    records=records,
    notes=notes + config_notes + alarm_notes,
    folder=folder,
    commit=content.get("commit"),
    alarms=[record for _, record in alarms],
  )


def run_folders(folder: str | pathlib.Path) -> list[pathlib.Path]:
  """Returns the sub-folders that hold metrics, by name.

  Args:
    folder: the one above them; only its direct sub-folders are looked at.
  """
  files = pathlib.Path(folder).glob("*/metrics.json*")
  names = (run_files.METRICS, run_files.COMPACT_METRICS)
  return sorted({file.parent for file in files if file.name in names})


def read_json_lines(
  path: pathlib.Path,
) -> tuple[list[tuple[int, dict[str, Any]]], tuple[str, ...]]:
  """Reads a file of one JSON object per line, each with an integer `step`.

  Args:
    path: of the file; a missing one counts as empty.

  Returns:
    (line number, object) for every usable line, and a note about the others;
    nothing if there is no such file.
  """
  if not path.is_file():
    return [], ()
  rows, bad = [], []
  with path.open(encoding="utf-8-sig", errors="replace") as file:
    for number, line in enumerate(file, start=1):
      record = _parse(line)
      if record is None:
        bad.append(number)
      else:
        rows.append((number, record))
  if not bad:
    return rows, ()
  numbers = ", ".join(map(str, bad[:8])) + (", ..." if len(bad) > 8 else "")
  return rows, (
    f"{path.name}: {len(bad)} unreadable line(s) left out: {numbers}",
  )


def _number(value: Any) -> float:
  """Returns the value of a usable number; NaN for anything else."""
  is_number = isinstance(value, int | float) and not isinstance(value, bool)
  return float(value) if is_number and abs(value) < _LARGEST else math.nan


def _read_metrics(
  path: pathlib.Path,
) -> tuple[list[Mapping[str, Any]], tuple[str, ...]]:
  """Reads records by step; of a repeated step, the last record counts.

  A resumed run cuts the file back to its checkpoint, so a step that occurs
  twice was written by a second process.
  """
  rows, notes = read_json_lines(path)
  by_step: dict[int, Mapping[str, Any]] = {}
  repeated: dict[int, int] = {}
  for number, record in rows:
    step = record[run_files.STEP]
    if step in by_step:
      repeated.setdefault(step, number)
    by_step[step] = record
  if repeated:
    step, number = next(iter(repeated.items()))
    notes += (
      f"{path.name}: {len(repeated)} step(s) occur more than once, first step "
      f"{step} at line {number}: two processes have probably written to this "
      "folder; the last record of each step is used",
    )
  return [by_step[step] for step in sorted(by_step)], notes


def _read_compact(
  path: pathlib.Path,
) -> tuple[list[Mapping[str, Any]], tuple[str, ...]]:
  """Reads the records of a file that `compact` wrote."""
  columns = _read_object(path) or {}
  steps = columns.get(run_files.STEP)
  if not isinstance(steps, list) or not all(
    isinstance(column, list | dict) for column in columns.values()
  ):
    return [], (f"{path.name} is not a JSON object of lists",)
  dense = [
    [column.get(str(index)) for index in range(len(steps))]
    if isinstance(column, dict)
    else column
    for column in columns.values()
  ]
  rows = zip(*dense, strict=False)
  return [dict(zip(columns, row, strict=True)) for row in rows], ()


def _parse(line: str) -> dict[str, Any] | None:
  try:
    record = json.loads(line)
  except (ValueError, RecursionError):
    return None
  is_record = (
    isinstance(record, dict) and type(record.get(run_files.STEP)) is int
  )
  return record if is_record else None


def _read_config(
  path: pathlib.Path,
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
  """Reads the object in the config file; empty with a note if there is none."""
  content = _read_object(path) if path.is_file() else None
  if content is not None and isinstance(content.get("config", {}), Mapping):
    return content, ()
  problem = "is not a JSON object" if path.is_file() else "is missing"
  note = f"{path.name} {problem}: the method is taken from the folder's name"
  return {}, (note,)


def _read_object(path: pathlib.Path) -> dict[str, Any] | None:
  """Reads a JSON object; returns None for any other content."""
  try:
    content = json.loads(path.read_text(encoding="utf-8-sig", errors="replace"))
  except (ValueError, RecursionError):
    return None
  return content if isinstance(content, dict) else None
