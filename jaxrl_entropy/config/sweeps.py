"""A study: the runs that `sweep(add)` of a config file names; their state."""

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import json
from pathlib import Path
import re
from typing import Any

from jaxrl_entropy import config as config_lib, run_files
from jaxrl_entropy.errors import UserError

_FIGURES = {"entropy": run_files.ENTROPY, "accuracy": run_files.TRAIN_ACCURACY}


@dataclasses.dataclass(frozen=True)
class Run:
  """One run of a study.

  Attributes:
    name: its folder in the study, made of what sets it apart.
    config: `FILE.py` or `FILE.py:ARG`.
    overrides: dotted field and its value as text.
  """

  name: str
  config: str
  overrides: tuple[tuple[str, str], ...]

  def flags(self, study: Path) -> list[str]:
    """Returns the flags of `jaxrl-entropy train` for this run."""
    fields = [f"--config.{field}={text}" for field, text in self.overrides]
    workdir = study / self.name
    return [f"--config={self.config}", f"--workdir={workdir}", *fields]

  def sharing_start(self) -> "Run":
    """Returns this run with an SFT folder shared by the runs of its study."""
    shared = ("sft.folder", "../sft")
    return dataclasses.replace(self, overrides=(*self.overrides, shared))

  def check(self, study: Path) -> None:
    """Checks that the run's folder, if there is one, is of this config.

    Args:
      study: folder of the study, which holds the run's.

    Raises:
      UserError: naming the field that differs.
    """
    if (study / self.name / config_lib.FILE).exists():
      config = config_lib.load(self.config, self.overrides)
      config_lib.check_same(config, study / self.name)


def list_runs(
  spec: str, overrides: Sequence[tuple[str, str]] = ()
) -> list[Run]:
  """Returns the checked runs that `sweep(add)` of the config file adds.

  `FILE.py:PART` calls `sweep(add, PART)`, for a study of several parts.
  `add(overrides, arg)` takes a mapping of dotted fields and the argument of
  `get_config`; both may be left out.

  Args:
    spec: `FILE.py` or `FILE.py:PART`.
    overrides: pairs of a dotted field and its value as text, for all runs.

  Raises:
    UserError: if the file has no `sweep` or that adds no run, two runs have the
      same name, or the config of one is wrong.
  """
  path, _, argument = spec.partition(":")
  sweep = getattr(config_lib.load_module(path), "sweep", None)
  if sweep is None:
    raise UserError(f"config {path}: it has no function sweep(add)")
  runs: dict[str, Run] = {}

  def add(changes: Mapping[str, Any] | None = None, arg: str = "") -> None:
    texts = [(field, str(value)) for field, value in (changes or {}).items()]
    source = f"{path}:{arg}" if arg else path
    run = Run(_name(arg, texts), source, (*texts, *overrides))
    if run.name in runs:
      raise UserError(f"config {path}: sweep adds {run.name!r} twice")
    config_lib.load(run.config, run.overrides)
    runs[run.name] = run

  config_lib.call(sweep, add, arg=argument, path=path)
  if not runs:
    raise UserError(f"config {path}: sweep adds no run; call add in it")
  return list(runs.values())


def _name(arg: str, changes: Sequence[tuple[str, str]]) -> str:
  """Returns a name like `clip_cov,seed=1`, safe for folders and shells."""
  texts = [arg] if arg else []
  texts += [f"{field}={text}" for field, text in changes]
  return re.sub(r"[^\w.=,+-]+", "-", ",".join(texts) or "run")


def is_done(workdir: Path) -> bool:
  """Whether the run in `workdir` took all of its steps."""
  return _state(workdir)[0] == "done"


def table(
  runs: Sequence[Run], study: Path, failed: Collection[str] = ()
) -> str:
  """Returns one line per run: its name, its state and its last figures.

  Args:
    runs: those of the study, in the order of the lines.
    study: folder that holds a folder for each run, or will.
    failed: names of the runs whose command ended with an error.
  """
  rows = [("run", "state", *_FIGURES)]
  for run in runs:
    state, last = _state(study / run.name)
    figures = [last.get(key) for key in _FIGURES.values()]
    shown = ["-" if x is None else f"{x:.3f}" for x in figures]
    rows.append((run.name, "failed" if run.name in failed else state, *shown))
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
  return "\n".join(lines)


def _state(workdir: Path) -> tuple[str, dict[str, Any]]:
  """Returns "waiting", "40/160" or "done", and the last record of metrics."""
  if not (workdir / config_lib.FILE).exists():
    return "waiting", {}
  total = config_lib.read(workdir)["steps"]
  last = _last_record(workdir / run_files.METRICS)
  step = last.get("step", 0)
  # The last record is written before the last checkpoint.
  saved = (workdir / run_files.CHECKPOINTS / str(total + 1)).exists()
  return "done" if step >= total and saved else f"{step}/{total}", last


def _last_record(path: Path) -> dict[str, Any]:
  """Returns the last whole line of a metrics file; {} if there is none."""
  if not path.exists():
    return {}
  lines = path.read_text().rpartition("\n")[0].splitlines()
  return json.loads(lines[-1]) if lines else {}
