"""Studies: runs side by side, and the settings in which they differ."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
import dataclasses
import functools
import json
import pathlib
import re
from typing import Any

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import runs
from jaxrl_entropy.analysis.runs import Run
from jaxrl_entropy.errors import UserError

MAX_LABEL = 24
"""Characters of a variant's label: plots have no room for longer ones."""

# Fields and sections in which the runs of one variant may differ: the seed, and
# settings of measuring, writing and placement.
_NOT_COMPARED = ("seed", "name", "sft.folder")
_SECTIONS_NOT_COMPARED = ("checkpoint.", "eval.", "log.", "mesh.", "probe.")
# Sections without a fixed set of fields: a method sets the ones it needs.
_FREE_SECTIONS = (".args.", ".controllers.")
_SETTINGS_OF_METHODS = (
  *("recipe", "loss.", "advantage.", "critic.", "implicit_reward."),
  *("rollout.group_filter", "rollout.train_groups"),
  "rollout.max_generation_rounds",
)
# Symbols by method and last part of the field. Where the symbol is empty, the
# value alone is clear enough.
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
    name: name of the folder.
    runs: the runs, by name.
    notes: descriptions of content that could not be read.
  """

  name: str
  runs: Sequence[Run]
  notes: tuple[str, ...] = ()

  @functools.cached_property
  def variants(self) -> dict[str, list[Run]]:
    """Groups of runs that differ in their seed alone, by label.

    A label is the method's name and the settings that distinguish this variant
    from others of the method: `Clip-Cov r=0.01`. If such a label would exceed
    `MAX_LABEL`, all variants are labelled by their folders instead.
    """
    by_method: dict[str, list[list[Run]]] = {}
    for members in _groups(self.runs):
      by_method.setdefault(members[0].method, []).append(members)
    ordered = sorted(by_method.items(), key=lambda item: _rank(item[0]))
    fields = _common_fields(self.runs)
    labelled = [
      (label, members)
      for method, variants in ordered
      for label, members in _label_by_settings(method, variants, fields)
    ]
    if any(len(label) > MAX_LABEL for label, _ in labelled):
      groups = [members for _, members in labelled]
      labelled = list(zip(_folder_labels(groups), groups, strict=True))
    return dict(labelled)

  @property
  def baseline(self) -> tuple[str, list[Run]] | None:
    """Label and runs of the first variant of plain GRPO; None without one."""
    for label, members in self.variants.items():
      if members[0].method == runs.BASELINE:
        return label, members
    return None

  @property
  def score_name(self) -> str:
    """Name of the metric that measures performance in every run."""
    return runs.SCORE_NAMES[self.runs[0].score_key]

  @property
  def differing_settings(self) -> dict[str, dict[str, Any]]:
    """Values of the settings in which variants differ: by field, by label.

    A variant whose configuration lacks the field has no entry.
    """
    fields = _common_fields(self.runs)
    settings = {
      label: _settings(members[0], fields)
      for label, members in self.variants.items()
    }
    names = sorted({name for each in settings.values() for name in each})
    values = {
      name: {label: s[name] for label, s in settings.items() if name in s}
      for name in names
    }
    return {
      name: by_label
      for name, by_label in values.items()
      if len(by_label) < len(settings)
      or len({str(value) for value in by_label.values()}) > 1
    }

  def confounders(self, label: str) -> list[str]:
    """Returns the settings in which a variant and the baseline differ.

    Those that make up the method do not count. A comparison with the baseline
    measures the method alone only if this is empty.
    """
    if self.baseline is None:
      return []
    baseline = self.baseline[0]
    return [
      name
      for name, values in self.differing_settings.items()
      if not name.startswith(_SETTINGS_OF_METHODS)
      and str(values.get(label)) != str(values.get(baseline))
    ]


def load(folder: str | pathlib.Path) -> Study:
  """Reads the folder of a single run, or one that holds a folder per run.

  Folders whose records hold no entropy (those of supervised fine-tuning) are
  left out.

  Raises:
    UserError: if there is no such folder, or no run in it.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise UserError(f"{folder} is not a folder: give the folder of a run")
  folders = [folder] if _is_run(folder) else runs.run_folders(folder)
  loaded = [runs.load(each) for each in folders]
  loaded = [run for run in loaded if len(run.series(run_files.ENTROPY))]
  if not loaded:
    raise UserError(
      f"{folder} holds no run with {run_files.ENTROPY!r} in a "
      f"{run_files.METRICS}: give the folder of a training run, or a folder "
      "that holds such folders"
    )
  score = runs.choose_score(loaded)
  notes = tuple(f"{run.name}: {note}" for run in loaded for note in run.notes)
  return Study(
    folder.resolve().name,
    [dataclasses.replace(run, score=score) for run in loaded],
    notes,
  )


def load_parts(folder: str | pathlib.Path) -> list[Study]:
  """Reads the studies in a folder of several; [] for a study or a run."""
  folder = pathlib.Path(folder)
  if _is_run(folder) or runs.run_folders(folder):
    return []
  parts = sorted(part for part in folder.glob("*") if runs.run_folders(part))
  return [load(part) for part in parts]


def distinct(
  studies: Sequence[Study],
) -> Iterator[tuple[Study, str, list[Run]]]:
  """Yields all variants except those whose runs an earlier study has too.

  A study holds copies of another study's runs where it compares with them.
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


def symbol_of(method: str, field: str) -> str:
  """Returns the paper's letter for a setting, or the setting's own name."""
  name = field.rsplit(".", 1)[-1]
  default = _SYMBOLS.get(("", name), name)
  return _SYMBOLS.get((method, name), default)


def _is_run(folder: pathlib.Path) -> bool:
  return folder.resolve() in runs.run_folders(folder.resolve().parent)


def _groups(members: Iterable[Run]) -> list[list[Run]]:
  """Groups runs that differ in their seed alone."""
  members = list(members)
  fields = _common_fields(members)
  groups: dict[tuple[str, str], list[Run]] = {}
  for run in members:
    key = json.dumps(sorted(_settings(run, fields).items()), default=str)
    groups.setdefault((run.method, key), []).append(run)
  return list(groups.values())


def _flatten(
  node: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
  for key, value in node.items():
    if isinstance(value, Mapping):
      yield from _flatten(value, f"{prefix}{key}.")
    else:
      yield f"{prefix}{key}", value


def _common_fields(members: Iterable[Run]) -> set[str]:
  """Returns the fields that every config has: older versions lack some."""
  names = [{key for key, _ in _flatten(run.config)} for run in members]
  return set.intersection(*names) if names else set()


def _settings(run: Run, fields: Set[str]) -> dict[str, Any]:
  """Returns the settings that decide what is trained, and how.

  Args:
    run: the run.
    fields: fields to consider beside those of the free sections.
  """
  return {
    key: value
    for key, value in _flatten(run.config)
    if (key in fields or any(part in key for part in _FREE_SECTIONS))
    and key not in _NOT_COMPARED
    and not key.startswith(_SECTIONS_NOT_COMPARED)
  }


def _rank(method: str) -> tuple[int, str]:
  known = list(runs.METHOD_NAMES.values())
  return (known.index(method) if method in known else len(known), method)


def _label_by_settings(
  method: str, variants: Sequence[list[Run]], fields: Set[str]
) -> Iterator[tuple[str, list[Run]]]:
  """Labels each variant by the settings in which it differs from the others."""
  settings = [_settings(members[0], fields) for members in variants]
  keys = _distinguishing(settings)
  for setting, members in zip(settings, variants, strict=True):
    parts = [
      f"{symbol}={setting[key]}"
      if (symbol := symbol_of(method, key))
      else str(setting[key])
      for key in keys
      if key in setting
    ]
    yield " ".join([method, *parts]), members


def _distinguishing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
  """Returns the keys by which settings differ, by name.

  A key that has one value wherever it is set is redundant beside another key
  that is set at the same places and varies.
  """
  values: dict[str, dict[int, str]] = {}
  for index, setting in enumerate(settings):
    for key, value in setting.items():
      values.setdefault(key, {})[index] = str(value)
  varied = {
    key: tuple(by_index)
    for key, by_index in values.items()
    if len(set(by_index.values())) > 1
  }
  return sorted(
    key
    for key, by_index in values.items()
    if key in varied
    or (
      len(by_index) < len(settings) and tuple(by_index) not in varied.values()
    )
  )


_SEED = re.compile(r"[,_-]?seed[=_-]?\d+|[,_.=-]+$")


def _folder_labels(groups: Sequence[Sequence[Run]]) -> list[str]:
  """Labels variants by their folders' names without the seed.

  Long names are cut, and a number distinguishes equal ones.
  """
  labels: list[str] = []
  for members in groups:
    name = _SEED.sub("", members[0].name) or members[0].method
    label, number = _cut(name, MAX_LABEL), 2
    while label in labels:
      mark = f" ({number})"
      label, number = _cut(name, MAX_LABEL - len(mark)) + mark, number + 1
    labels.append(label)
  return labels


def _cut(name: str, length: int) -> str:
  return name if len(name) <= length else f"{name[: length - 1]}…"
