"""A study: runs side by side, and what sets them apart."""

from collections.abc import Iterator, Mapping, Sequence, Set
import dataclasses
import json
import pathlib
from typing import Any

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import runs
from jaxrl_entropy.analysis.runs import Run
from jaxrl_entropy.errors import UserError

# What may differ between the runs of one variant: the seed, and what is
# measured, written and placed where.
_NO_SETTINGS = ("seed", "name", "pretrain.folder")
_NO_SECTIONS = ("checkpoint.", "eval.", "log.", "mesh.", "probe.")
# Sections without fields of their own: a method sets what it needs.
_FREE = (".args.", ".controllers.")
# By method and last part of the field; labels stand in narrow plots. An empty
# symbol: the value says enough.
_SYMBOLS = {
  ("Clip-Cov", "fraction"): "r",
  ("KL-Cov", "fraction"): "k",
  ("KL-Cov", "coefficient"): "β",
  ("", "coefficient"): "c",
  ("", "learning_rate"): "lr",
  ("", "target"): "H",
  ("", "name"): "",
  ("", "preset"): "",
}


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
    others of the same method: `Clip-Cov r=0.01`.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    fields = _common_fields(self.runs)
    for run in self.runs:
      key = json.dumps(sorted(_settings(run, fields).items()), default=str)
      groups.setdefault((run.method, key), []).append(run)
    by_method: dict[str, list[list[Run]]] = {}
    for (method, _), members in groups.items():
      by_method.setdefault(method, []).append(members)
    ordered = sorted(by_method.items(), key=lambda item: _rank(item[0]))
    return {
      label: members
      for method, variants in ordered
      for label, members in _label(method, variants, fields)
    }

  @property
  def baseline(self) -> tuple[str, list[Run]] | None:
    """The first variant of plain GRPO, or None."""
    for label, members in self.variants.items():
      if members[0].method == runs.BASELINE:
        return label, members
    return None


def load(folder: str | pathlib.Path) -> Study:
  """Reads a folder with one run a sub-folder; or the folder of a single run.

  Folders whose records hold no entropy (a warm start's) are left out.

  Raises:
    UserError: there is no such folder, or no run is in it.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise UserError(f"{folder} is not a folder: give the workdir of a run.")
  workdirs = [folder] if _is_run(folder) else runs.workdirs(folder)
  found = [runs.load(workdir) for workdir in workdirs]
  found = [run for run in found if len(run.series(run_files.ENTROPY))]
  if not found:
    raise UserError(
      f"{folder} holds no run with {run_files.ENTROPY!r} in a "
      f"{run_files.METRICS}: give the folder of a training run, or a folder "
      "that holds such folders"
    )
  notes = tuple(f"{run.name}: {note}" for run in found for note in run.notes)
  return Study(folder.resolve().name, found, notes)


def load_parts(folder: str | pathlib.Path) -> list[Study]:
  """The studies in a folder of several, by name; [] for a study or a run."""
  folder = pathlib.Path(folder)
  if _is_run(folder) or runs.workdirs(folder):
    return []
  parts = sorted(part for part in folder.glob("*") if runs.workdirs(part))
  return [load(part) for part in parts]


def distinct(
  studies: Sequence[Study],
) -> Iterator[tuple[Study, str, list[Run]]]:
  """All variants, without those whose runs an earlier study has too.

  A study holds copies of another's runs where it compares with them.
  """
  seen: set[bytes] = set()
  for study in studies:
    marks = {
      label: {run.series(run_files.ENTROPY).values.tobytes() for run in members}
      for label, members in study.variants.items()
    }
    for label, members in study.variants.items():
      if not marks[label] <= seen:
        yield study, label, members
    seen.update(*marks.values())


def _is_run(folder: pathlib.Path) -> bool:
  return folder.resolve() in runs.workdirs(folder.resolve().parent)


def _flat(
  node: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
  for key, value in node.items():
    if isinstance(value, Mapping):
      yield from _flat(value, f"{prefix}{key}.")
    else:
      yield f"{prefix}{key}", value


def _common_fields(members: Sequence[Run]) -> set[str]:
  """The fields of all configs: those of an older version lack some."""
  names = [{key for key, _ in _flat(run.config)} for run in members]
  return set.intersection(*names) if names else set()


def _settings(run: Run, fields: Set[str]) -> dict[str, Any]:
  """The settings that decide what is trained, and how.

  Args:
    fields: of configs, that count.
  """
  return {
    key: value
    for key, value in _flat(run.config)
    if (key in fields or any(part in key for part in _FREE))
    and key not in _NO_SETTINGS
    and not key.startswith(_NO_SECTIONS)
  }


def _rank(method: str) -> tuple[int, str]:
  known = list(runs.METHOD_NAMES.values())
  return (known.index(method) if method in known else len(known), method)


def _label(
  method: str, variants: Sequence[list[Run]], fields: Set[str]
) -> Iterator[tuple[str, list[Run]]]:
  """Names each variant by the settings in which it differs from the others."""
  settings = [_settings(members[0], fields) for members in variants]
  keys = _telling(settings)
  for setting, members in zip(settings, variants, strict=True):
    parts = [
      f"{symbol}={setting[key]}"
      if (symbol := symbol_of(method, key))
      else str(setting[key])
      for key in keys
      if key in setting
    ]
    yield " ".join([method, *parts]), members


def symbol_of(method: str, key: str) -> str:
  """The paper's letter for a setting, or the setting's own name."""
  name = key.rsplit(".", 1)[-1]
  return _SYMBOLS.get((method, name)) or _SYMBOLS.get(("", name), name)


def _telling(settings: Sequence[Mapping[str, Any]]) -> list[str]:
  """The keys by which settings differ, by name.

  One that has the same value wherever it is set says nothing beside another
  that is set at the same places and varies.
  """
  values: dict[str, dict[int, str]] = {}
  for index, setting in enumerate(settings):
    for key, value in setting.items():
      values.setdefault(key, {})[index] = str(value)
  varied = {
    key: tuple(found)
    for key, found in values.items()
    if len(set(found.values())) > 1
  }
  return sorted(
    key
    for key, found in values.items()
    if key in varied
    or (len(found) < len(settings) and tuple(found) not in varied.values())
  )
