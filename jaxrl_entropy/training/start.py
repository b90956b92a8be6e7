"""The start of a run: its folder, its first line, the ties to its length."""

from collections.abc import Callable, Container, Iterator
import contextlib
from pathlib import Path
import shutil

import jax
from ml_collections import ConfigDict

from jaxrl_entropy import distributed, run_files
from jaxrl_entropy.data.task import Task
from jaxrl_entropy.errors import WRITE_FAILED
from jaxrl_entropy.training.lease import FOLDER
from jaxrl_entropy.training.policy import Policy


@contextlib.contextmanager
def nothing_left(
  workdir: Path, check_lease: Callable[[], None]
) -> Iterator[None]:
  """Empties a new folder again if its run is refused before its first record.

  The corrected command then finds it as it was: some mistakes, such as a reward
  that always fails, show only once responses are there.

  Args:
    workdir: a folder that is leased.
    check_lease: raises if the lease is lost.
  """
  lease = {workdir / FOLDER}
  new = set(workdir.iterdir()) == lease
  try:
    yield
  except ValueError as error:
    full = getattr(error, "status", None) == WRITE_FAILED
    if new and not full and distributed.is_writer() and not _results(workdir):
      check_lease()
      for path in set(workdir.iterdir()) - lease:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    raise


def _results(workdir: Path) -> bool:
  """Whether a record of RL, or of a stage before it, is in the folder."""
  files = (
    *workdir.glob(run_files.METRICS),
    *workdir.rglob(run_files.SFT_METRICS),
    *workdir.rglob(run_files.SFT_SAMPLES),
  )
  return any(file.stat().st_size for file in files)


def describe(config: ConfigDict, policy: Policy, task: Task) -> str:
  """Returns one line on the model, task, method and devices of a run.

  Args:
    config: of the run.
    policy: gives the number of parameters and the devices.
    task: gives the number of problems.
  """
  model = config.model
  count = sum(leaf.size for leaf in jax.tree.leaves(policy.params))
  sizes = (
    f"{task.size(split) or 'generated'} {split}" for split in ("train", "test")
  )
  axes = (f"{axis} {n}" for axis, n in policy.mesh.shape.items() if n > 1)
  devices = policy.mesh.devices
  return (
    f"model: {model.weights or f'{model.preset} with random weights'}, "
    f"{count / 1e6:.2f}M parameters in {model.param_dtype}; "
    f"task: {config.task.name}, {' and '.join(sizes)} problems; "
    f"method: {config.recipe}; "
    f"devices: {devices.size} x {devices.flat[0].device_kind}"
    f"{', '.join(('', *axes))}"
  )


def tied_to_steps(config: ConfigDict, needs: Container[str]) -> str:
  """Returns the setting that depends on the number of steps, "" if none does.

  Args:
    config: of the run.
    needs: fields that its loss and its advantages read.
  """
  if config.optimizer.schedule != "constant":
    return f"optimizer.schedule={config.optimizer.schedule!r}"
  if config.rollout.accept.name != "everything":
    return f"rollout.accept.name={config.rollout.accept.name!r}"
  if "progress" in needs:
    return f"advantage.name={config.advantage.name!r}"
  # Responses left unfinished by the last step are not continued.
  return "rollout.partial_tokens" if config.rollout.partial_tokens else ""
