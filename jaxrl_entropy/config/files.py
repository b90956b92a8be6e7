"""Configuration files, typed overrides, and the saved config of a run.

A config file is Python with `get_config(arg)`; it changes fields of
`jaxrl_entropy.config.get_config()`. Sections that are not type-safe there
(`args`: keyword arguments of a chosen method) take any key; every other field
is known, and keeps the type of its default.
"""

from collections.abc import Callable, Iterable, Mapping
import importlib.metadata
import importlib.util
import inspect
import json
import os
from pathlib import Path
import platform
import re
import subprocess
import sys
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from jaxrl_entropy import run_files
from jaxrl_entropy.config import defaults, validate
from jaxrl_entropy.errors import UserError

FILE = run_files.CONFIG
# Where the folder configs/ of the project is: in a wheel, or in a checkout.
_PACKAGE = Path(__file__).resolve().parents[1]
_SHARE = _PACKAGE / "share"
if not _SHARE.is_dir():
  _SHARE = _PACKAGE.parent
_PACKAGES = (
  "jaxrl_entropy",
  "jax",
  "jaxlib",
  "flax",
  "optax",
  "orbax-checkpoint",
  "numpy",
)


def load(spec: str, overrides: Iterable[tuple[str, str]] = ()) -> ConfigDict:
  """Loads the config of `path.py` or `path.py:arg`, checked and locked.

  Args:
    spec: a file with `get_config`, and after a colon its argument.
    overrides: pairs of a dotted field (`loss.args.fraction`) and its new value
      as text, read by the type of the field.

  Raises:
    UserError: for a missing file, an unknown field, a value of the wrong type.
  """
  path, _, arg = spec.partition(":")
  get_config = getattr(load_module(path), "get_config", None)
  if get_config is None:
    raise UserError(f"config {path}: it has no function get_config(arg)")
  config = call(get_config, arg=arg, path=path)
  if not isinstance(config, ConfigDict):
    raise UserError(
      f"config {path}: get_config returned {config!r}; return the ConfigDict "
      "of jaxrl_entropy.config.get_config(), changed"
    )
  validate.check_fields(config, path)
  validate.apply_overrides(config, overrides)
  validate.finalize(config)
  return config.lock()


def load_module(path: str) -> ModuleType:
  """Runs the Python file at `path` as a module and returns it.

  It can import from the current folder: `from configs import common`. A file
  that is not there is looked up among those that come with the package.

  Args:
    path: relative to the current folder or to that of the package, or absolute.

  Raises:
    UserError: if there is no such file, or it imports what is not there.
  """
  file, root = Path(path), os.getcwd()
  if not file.is_file():
    file, root = _SHARE / path, str(_SHARE)
  if not file.is_file():
    raise UserError(f"config {path}: no such file; try configs/quickstart.py")
  spec = importlib.util.spec_from_file_location(file.stem, file)
  if spec is None or spec.loader is None:
    raise UserError(f"config {path}: not a Python file (.py)")
  module = importlib.util.module_from_spec(spec)
  if root not in sys.path:
    sys.path.insert(0, root)
  try:
    spec.loader.exec_module(module)
  except ModuleNotFoundError as error:
    raise UserError(
      f"config {path}: {error}; run it from the folder that has it"
    ) from error
  except Exception as error:
    raise _broken(path, error) from error
  return module


def call(function: Callable[..., Any], *args: Any, arg: str, path: str) -> Any:
  """Calls `function(*args)` of a config file, with `arg` last if there is one.

  Args:
    function: a function that the file defines, `get_config` or `sweep`.
    *args: its leading arguments.
    arg: the text behind the colon of `FILE.py:ARG`; "" is not handed over.
    path: the config file, for messages.

  Raises:
    UserError: if the function has no parameter for `arg`, or raises an error.
  """
  if arg and len(inspect.signature(function).parameters) <= len(args):
    raise UserError(
      f"config {path}: {function.__name__} takes no argument, got {arg!r}"
    )
  try:
    return function(*args, arg) if arg else function(*args)
  except UserError:
    raise
  # The file is the user's own; a value of the wrong type is a TypeError.
  except Exception as error:
    raise _broken(path, error) from error


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Returns a dict from dotted field to value, for every leaf.

  Args:
    config: nested sections, as dicts or ConfigDicts.
    prefix: put before every field, with its dot; "" at the top.
  """
  flat: dict[str, Any] = {}
  for name, value in config.items():
    if isinstance(value, Mapping | ConfigDict):
      flat |= flatten(value, f"{prefix}{name}.")
    else:
      flat[f"{prefix}{name}"] = value
  return flat


def to_json(config: ConfigDict) -> dict[str, Any]:
  """Returns the config as plain JSON types, references resolved."""
  plain = config.copy_and_resolve_references().to_dict()
  return json.loads(json.dumps(plain))


def save(
  config: ConfigDict, workdir: str | Path, tied: str | None = None
) -> None:
  """Writes `config.json`: the config, package versions, the git commit.

  A workdir that already holds the same config is left as it is, so that a run
  can be resumed.

  Args:
    config: of the run.
    workdir: its folder.
    tied: as of `check_same`; a number of steps that may grow is written.

  Raises:
    UserError: if the workdir cannot be written, or holds another config.
  """
  path = Path(workdir) / FILE
  resolved = to_json(config)
  if path.exists():
    check_same(config, workdir, tied)
    if read(workdir)["steps"] == config.steps:
      return
  record = {"config": resolved, "versions": versions(), "commit": commit()}
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Renaming keeps a kill in mid-write from leaving half a config.
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=2) + "\n")
    partial.replace(path)
  except OSError as error:
    raise UserError(
      f"workdir {workdir} cannot be written ({error.strerror}): choose another "
      "--workdir"
    ) from error


def read(workdir: str | Path) -> dict[str, Any]:
  """Returns the config that started `workdir`, in the form of `to_json`.

  Args:
    workdir: folder of a run, with its `config.json`.

  Raises:
    UserError: if there is none, or it cannot be read.
  """
  path = Path(workdir) / FILE
  try:
    return json.loads(path.read_text())["config"]
  except FileNotFoundError:
    raise UserError(f"{path}: no such file; is {workdir} a run?") from None
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise UserError(f"{path} is not the config of a run ({error})") from error


def of_run(
  workdir: str | Path, overrides: Iterable[tuple[str, str]] = ()
) -> ConfigDict:
  """Loads the config that `workdir` was started with, checked and locked.

  Args:
    workdir: folder of a run, with its `config.json`.
    overrides: pairs of a dotted field and its value as text.

  Raises:
    UserError: if the file cannot be read, has unknown fields, or a value or an
      override is wrong.
  """
  config = defaults.get_config()
  with config.unlocked():
    config.update(read(workdir))
  validate.check_fields(config, str(Path(workdir) / FILE))
  validate.apply_overrides(config, overrides)
  validate.finalize(config)
  return config.lock()


def versions() -> dict[str, str]:
  """Returns the versions of Python and of the packages that affect numbers."""
  packages = {name: importlib.metadata.version(name) for name in _PACKAGES}
  return {"python": platform.python_version()} | packages


def commit() -> str | None:
  """Returns this code's git commit, `-dirty` if changed; None outside git."""
  root = Path(__file__).resolve().parents[2]
  if not (root / ".git").exists():
    return None
  describe = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
  try:
    done = subprocess.run(
      ("git", "-C", str(root), *describe), capture_output=True, text=True
    )
  except OSError:
    return None
  return done.stdout.strip() or None


def check_same(
  config: ConfigDict, workdir: str | Path, tied: str | None = None
) -> None:
  """Checks that `workdir` was started with this config.

  Args:
    config: of the run now.
    workdir: its folder.
    tied: the setting that ties the run to its number of steps; "" if there is
      none, so that `steps` may grow; None to compare `steps` as any field.

  Raises:
    UserError: naming the first field that differs.
  """
  flat_new, flat_old = flatten(to_json(config)), flatten(read(workdir))
  for field in sorted(flat_new | flat_old):
    was, now = flat_old.get(field), flat_new.get(field)
    grows = field == "steps" and was is not None and config.steps > was
    if was == now or (grows and tied == ""):
      continue
    reason = f" ({tied} depends on it)" if grows and tied else ""
    raise UserError(
      f"workdir {workdir} holds another config: config.{field} is {was!r} "
      f"there and {now!r} now{reason}; choose another --workdir"
    )


_WRONG_TYPE = re.compile(
  r"override field '(\w+)'.*?\. (.*) is of original type <class '(\w+)'> and "
  r"cannot be casted to type <class '(\w+)'>",
  re.DOTALL,
)


def _broken(path: str, error: Exception) -> UserError:
  kind = type(error).__name__
  if wrong := _WRONG_TYPE.search(str(error)):
    field, value, was, wanted = wrong.groups()
    return UserError(
      f"config {path}: {field} expects {wanted}, and the file gives the {was} "
      f"{value}"
    )
  return UserError(f"config {path}: {kind}: {error} (traceback: --debug)")
