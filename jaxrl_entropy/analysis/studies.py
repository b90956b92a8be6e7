"""A study: runs side by side, and what sets them apart."""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import json
import pathlib
from typing import Any

from jaxrl_entropy.analysis import runs
from jaxrl_entropy.analysis.runs import Run
from jaxrl_entropy.errors import UserError

# What may differ between the runs of one variant: the seed, and what is
# measured, written and placed where.
_NO_SETTINGS = ("seed", "name", "pretrain.folder")
_NO_SECTIONS = ("checkpoint.", "eval.", "log.", "mesh.", "probe.")


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
      if members[0].method == runs.BASELINE:
        return label, members
    return None


def load(folder: str | pathlib.Path) -> Study:
  """Reads a folder with one run a sub-folder; or the folder of a single run.

  Folders whose records hold no entropy (a warm start's) are left out.

  Raises:
    UserError: no run is in the folder.
  """
  folder = pathlib.Path(folder)
  workdirs = sorted(path.parent for path in folder.glob(f"*/{runs.METRICS}"))
  if (folder / runs.METRICS).is_file():
    workdirs = [folder]
  found = [runs.load(workdir) for workdir in workdirs]
  found = [run for run in found if len(run.series(runs.ENTROPY))]
  if not found:
    raise UserError(
      f"{folder} holds no run with {runs.ENTROPY!r} in a {runs.METRICS}: give "
      "the workdir of a training run, or a folder with one workdir a run."
    )
  notes = tuple(f"{run.name}: {note}" for run in found for note in run.notes)
  return Study(folder.resolve().name, found, notes)


def _flat(
  node: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
  for key, value in node.items():
    if isinstance(value, Mapping):
      yield from _flat(value, f"{prefix}{key}.")
    else:
      yield f"{prefix}{key}", value


def _settings(run: Run) -> dict[str, Any]:
  """The settings that decide what is trained, and how."""
  return {
    key: value
    for key, value in _flat(run.config)
    if key not in _NO_SETTINGS and not key.startswith(_NO_SECTIONS)
  }


def _settings_key(run: Run) -> str:
  return json.dumps(sorted(_settings(run).items()), default=str)


def _rank(method: str) -> tuple[int, str]:
  known = list(runs.METHOD_NAMES.values())
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
