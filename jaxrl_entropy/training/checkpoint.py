"""Checkpoints of a run: device state and host position, saved together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from jaxrl_entropy.training.state import TrainState


class Checkpoints:
  """The checkpoints of one run folder, newest last; saving is asynchronous.

  A checkpoint named `step` holds the state after `step` steps and a JSON
  mapping of the host's position (data position, offset of the metrics file).
  """

  def __init__(self, folder: Path, keep: int) -> None:
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
    self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

  def latest(self) -> int | None:
    """The step of the newest complete checkpoint, or None."""
    return self._manager.latest_step()

  def save(self, step: int, state: Any, host: Mapping[str, Any]) -> None:
    """Starts saving; returns once `state` may be donated again."""
    self._manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(state), host=ocp.args.JsonSave(dict(host))
      ),
    )

  def restore(self, step: int, like: TrainState) -> tuple[TrainState, dict]:
    """The state in the shapes, types and layout of `like`, and the host part.

    `like` may come from another mesh than the one that saved.
    """
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    restored = self._manager.restore(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardRestore(target), host=ocp.args.JsonRestore()
      ),
    )
    return restored["state"], restored["host"]

  def close(self) -> None:
    """Waits for saves under way."""
    self._manager.wait_until_finished()
    self._manager.close()
