"""Checkpoints of a run: device state and host position, saved together."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
import warnings

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxrl_entropy.errors import UserError
from jaxrl_entropy.training.state import TrainState
from jaxrl_entropy.types import Params

Restored = TypeVar("Restored")


class Found(NamedTuple):
  """What a checkpoint holds."""

  step: int
  state: TrainState
  host: dict[str, Any]
  carried: np.ndarray


class Checkpoints:
  """The checkpoints of one run folder; saving is asynchronous.

  A checkpoint named `step` holds the state after `step` steps, its parameters
  as an item of their own, a JSON mapping of the host's position (data position,
  offset of the metrics file), and bytes that the host carries from step to
  step. It may be restored onto another mesh.
  """

  def __init__(self, folder: Path, keep: int) -> None:
    """Opens `folder`, made if it is missing; the last `keep` are kept."""
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
    self._folder = folder.absolute()
    self._manager = ocp.CheckpointManager(self._folder, options=options)

  def save(
    self,
    step: int,
    state: TrainState,
    host: Mapping[str, Any],
    carried: np.ndarray,
  ) -> None:
    """Starts saving; returns once `state` may be donated again."""
    self._manager.save(
      step,
      args=ocp.args.Composite(
        params=ocp.args.StandardSave(state.params),
        state=ocp.args.StandardSave(state.replace(params={})),
        host=ocp.args.JsonSave(dict(host)),
        carried=ocp.args.StandardSave({"bytes": carried}),
      ),
    )

  def restore(self, like: TrainState) -> "Found | None":
    """The newest checkpoint that can be read.

    The state has the shapes, types and layout of `like`. A checkpoint that is
    corrupt or cut short is passed over with a warning, and deleted.

    Returns:
      None where there is no checkpoint at all.

    Raises:
      UserError: if there are checkpoints and none of them can be read.
    """

    def read(step: int) -> Found:
      items = self._manager.restore(
        step,
        args=ocp.args.Composite(
          params=ocp.args.StandardRestore(_abstract(like.params)),
          state=ocp.args.StandardRestore(_abstract(like.replace(params={}))),
          host=ocp.args.JsonRestore(),
          carried=ocp.args.StandardRestore(),
        ),
      )
      state = items["state"].replace(params=items["params"])
      carried = np.asarray(items["carried"]["bytes"])
      return Found(step, state, items["host"], carried)

    return self._newest(read)

  def restore_params(self, like: Params) -> tuple[int, Params] | None:
    """As `restore`, of the policy's parameters alone."""

    def read(step: int) -> tuple[int, Params]:
      args = ocp.args.Composite(
        params=ocp.args.StandardRestore(_abstract(like))
      )
      return step, self._manager.restore(step, args=args)["params"]

    return self._newest(read)

  def close(self) -> None:
    """Waits for saves under way."""
    self._manager.wait_until_finished()
    self._manager.close()

  def _newest(self, read: Callable[[int], Restored]) -> Restored | None:
    steps = sorted(self._manager.all_steps(), reverse=True)
    reasons: dict[int, str] = {}
    for step in steps:
      try:
        found = read(step)
      # What a damaged file raises is up to the storage libraries.
      except Exception as error:
        reasons[step] = str(error).strip().partition("\n")[0]
        continue
      self._drop(reasons, step)
      return found
    if steps:
      raise UserError(
        f"{self._folder}: no checkpoint there fits this config and can be read "
        f"({reasons[steps[0]]}); choose another --workdir"
      )
    return None

  def _drop(self, reasons: Mapping[int, str], used: int) -> None:
    """Deletes the damaged checkpoints, whose steps will be saved again."""
    for step, reason in reasons.items():
      warnings.warn(
        f"{self._folder / str(step)} cannot be read ({reason}): it is deleted "
        f"and the checkpoint of step {used} used",
        stacklevel=4,
      )
      self._manager.delete(step)


def _abstract(tree: Any) -> Any:
  return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)
