"""Runs on disk: the metrics and the configuration that a workdir holds.

The files come from training, from other machines, or from a process that was
killed in the middle of a line, so reading never fails on content: what cannot
be used is left out and named in `Run.notes`.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import json
import math
import pathlib
from typing import Any

import numpy as np

from jaxrl_entropy.errors import UserError

METRICS = "metrics.jsonl"
CONFIG = "config.json"
# What may differ between the runs of one variant.
_NO_SETTINGS = ("seed", "name", "pretrain.folder")

ENTROPY = "entropy/token_mean"
HELD_OUT = "eval/held_out/accuracy"
TRAIN_ACCURACY = "reward/accuracy"

_METHOD_NAMES = {
  "grpo": "GRPO",
  "dr_grpo": "Dr. GRPO",
  "rloo": "RLOO",
  "reinforce_pp": "REINFORCE++",
  "reinforce_plus_plus": "REINFORCE++",
  "prime": "PRIME",
  "clip_higher": "Clip-higher",
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
  def method(self) -> str:
    """The algorithm: the loss, or the advantage under plain GRPO."""
    advantage = str(self.setting("advantage.name", "grpo"))
    key = advantage if self.loss == "grpo" else self.loss
    return _METHOD_NAMES.get(key, key)

  @property
  def accuracy_key(self) -> str:
    """Accuracy on the held-out set; on the training prompts where none is."""
    has_eval = any(HELD_OUT in record for record in self.records)
    return HELD_OUT if has_eval else TRAIN_ACCURACY


@dataclasses.dataclass(frozen=True)
class Study:
  """Several runs that a report compares.

  Attributes:
    name: the folder's name.
    runs: the runs, by name.
    notes: what could not be read, in words.
  """

  name: str
  runs: Sequence[Run]
  notes: tuple[str, ...] = ()

  @property
  def variants(self) -> dict[str, list[Run]]:
    """Runs that differ in nothing but their seed, under a name for each group.

    The name is the method's, and the settings that set one group apart from
    others of the same method: `Clip-Cov fraction=0.01`.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in self.runs:
      groups.setdefault((run.method, _settings_key(run)), []).append(run)
    by_method: dict[str, list[list[Run]]] = {}
    for (method, _), members in groups.items():
      by_method.setdefault(method, []).append(members)
    ordered = sorted(by_method.items(), key=lambda item: _rank(item[0]))
    return {
      label: members
      for method, variants in ordered
      for label, members in _label(method, variants)
    }

  @property
  def baseline(self) -> tuple[str, list[Run]] | None:
    """The first variant of plain GRPO, or None."""
    for label, members in self.variants.items():
      if members[0].method == _METHOD_NAMES["grpo"]:
        return label, members
    return None


def load(workdir: str | pathlib.Path) -> Run:
  """Reads one run.

  Raises:
    UserError: the folder holds no `metrics.jsonl`.
  """
  workdir = pathlib.Path(workdir)
  path = workdir / METRICS
  if not path.is_file():
    raise UserError(
      f"{workdir} holds no {METRICS}: give the workdir of a training run."
    )
  records, notes = _read_metrics(path)
  config, config_notes = _read_config(workdir / CONFIG)
  return Run(workdir.resolve().name, config, records, notes + config_notes)


def load_study(folder: str | pathlib.Path) -> Study:
  """Reads a folder with one run a sub-folder; or the folder of a single run.

  Folders whose records hold no entropy (a warm start's) are left out.

  Raises:
    UserError: no run is in the folder.
  """
  folder = pathlib.Path(folder)
  single = (folder / METRICS).is_file()
  workdirs = (
    [folder]
    if single
    else sorted(p.parent for p in folder.glob(f"*/{METRICS}"))
  )
  found = [load(workdir) for workdir in workdirs]
  runs = [run for run in found if len(run.series(ENTROPY))]
  if not runs:
    raise UserError(
      f"{folder} holds no run with {ENTROPY!r} in a {METRICS}: give the "
      "workdir of a training run, or a folder with one workdir a run."
    )
  notes = tuple(f"{run.name}: {note}" for run in runs for note in run.notes)
  return Study(folder.resolve().name, runs, notes)


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
  notes = ()
  if bad:
    numbers = ", ".join(map(str, bad[:8])) + (", ..." if len(bad) > 8 else "")
    notes = (f"{METRICS}: {len(bad)} unreadable line(s) left out: {numbers}",)
  return [by_step[step] for step in sorted(by_step)], notes


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
    return {}, (f"{CONFIG} is missing: the method is taken from the name",)
  try:
    content = json.loads(path.read_text(encoding="utf-8", errors="replace"))
  except (ValueError, RecursionError):
    content = None
  if not isinstance(content, dict):
    return {}, (
      f"{CONFIG} is not a JSON object: the method is taken from the name",
    )
  return content.get("config", content), ()


def _flat(
  node: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
  for key, value in node.items():
    if isinstance(value, Mapping):
      yield from _flat(value, f"{prefix}{key}.")
    else:
      yield f"{prefix}{key}", value


def _settings(run: Run) -> dict[str, Any]:
  """The settings that make a run what it is: all but its seed and name."""
  return {k: v for k, v in _flat(run.config) if k not in _NO_SETTINGS}


def _settings_key(run: Run) -> str:
  return json.dumps(sorted(_settings(run).items()), default=str)


def _rank(method: str) -> tuple[int, str]:
  known = list(_METHOD_NAMES.values())
  return (known.index(method) if method in known else len(known), method)


def _label(
  method: str, variants: Sequence[list[Run]]
) -> Iterator[tuple[str, list[Run]]]:
  """Names each variant by the settings in which it differs from the others."""
  settings = [_settings(members[0]) for members in variants]
  keys = sorted({key for setting in settings for key in setting})
  differing = [
    key for key in keys if len({str(s.get(key)) for s in settings}) > 1
  ]
  for setting, members in zip(settings, variants, strict=True):
    parts = [
      f"{key.rsplit('.', 1)[-1]}={setting[key]}"
      for key in differing
      if key in setting
    ]
    yield " ".join([method, *parts]), members
