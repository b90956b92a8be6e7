"""Studies: runs side by side, and the settings in which they differ."""

from collections.abc import Iterator, Sequence
import dataclasses
import functools
import pathlib
from typing import Any

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import runs, variants
from jaxrl_entropy.analysis.runs import Run
from jaxrl_entropy.errors import UserError

_SETTINGS_OF_METHODS = (
  *("recipe", "loss.", "advantage.", "critic.", "implicit_reward."),
  *("rollout.group_filter", "rollout.train_groups"),
  "rollout.max_generation_rounds",
)


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
    """Groups of runs that differ in their seed alone, by label."""
    return variants.by_label(self.runs)

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
    fields = variants.common_fields(self.runs)
    settings = {
      label: variants.settings(members[0], fields)
      for label, members in self.variants.items()
    }
    names = sorted({name for s in settings.values() for name in s})
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

    Args:
      label: of a variant, a key of `variants`.
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

  Args:
    folder: path of a run's folder, or of one that holds several.

  Raises:
    UserError: if there is no such folder, or no run in it.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise UserError(f"{folder} is not a folder: give the folder of a run")
  folders = [folder] if _is_run(folder) else runs.run_folders(folder)
  loaded = [runs.load(path) for path in folders]
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
  paths = sorted(path for path in folder.glob("*") if runs.run_folders(path))
  return [load(path) for path in paths]


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


def _is_run(folder: pathlib.Path) -> bool:
  return folder.resolve() in runs.run_folders(folder.resolve().parent)
