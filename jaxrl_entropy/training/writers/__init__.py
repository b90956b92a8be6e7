"""Writers of a run's records, beside `metrics.jsonl`.

`config.log.writers` names writers; each is a class of a file in this folder,
made from a `RunInfo`, with `write(record)` and `close()`. Its package is
imported only if the config names it.
"""

from collections.abc import Sequence
import importlib
import importlib.util
from typing import cast

from jaxrl_entropy.errors import UserError, install_extra, nearest
from jaxrl_entropy.training.writers.base import Record, RunInfo, Writer

# Module of this folder and class, the package that it needs, and what installs
# that.
_WRITERS = {
  "tensorboard": (
    "tensorboard.TensorBoard",
    "tensorboardX",
    "pip install tensorboardX",
  ),
  "wandb": ("wandb.WandB", "wandb", install_extra("wandb")),
  "trackio": ("trackio.Trackio", "trackio", install_extra("trackio")),
  "mlflow": ("mlflow.MLflow", "mlflow", install_extra("mlflow")),
}


def check(names: Sequence[str]) -> None:
  """Checks `config.log.writers` before anything runs.

  Raises:
    UserError: naming a writer that does not exist, stands there twice, or whose
      package is not installed.
  """
  for name in names:
    if name not in _WRITERS:
      raise UserError(
        f"config.log.writers has {name!r}; {nearest(name, _WRITERS)}"
      )
    if names.count(name) > 1:
      raise UserError(f"config.log.writers has {name!r} twice")
    _, package, remedy = _WRITERS[name]
    if importlib.util.find_spec(package) is None:
      raise UserError(
        f"config.log.writers has {name!r}, which needs {package}: "
        f"{remedy}, or remove it from the tuple"
      )


def make(names: Sequence[str], run: RunInfo) -> list[Writer]:
  """Returns the writers of these names, opened for `run`.

  Args:
    names: of `config.log.writers`, each at most once.
    run: what the writers are told of the run.

  Raises:
    UserError: if one cannot be opened: no account, or no connection.
  """
  check(names)
  return [_open(name, run) for name in names]


def _open(name: str, run: RunInfo) -> Writer:
  module, _, kind = _WRITERS[name][0].partition(".")
  file = importlib.import_module(f"{__name__}.{module}")
  try:
    return cast(Writer, getattr(file, kind)(run))
  # Each service's library raises errors of its own.
  except Exception as error:
    raise UserError(
      f"config.log.writers: {name} could not be opened: {error}"
    ) from error
