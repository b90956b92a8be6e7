"""A trace of some steps, for XProf, TensorBoard or Perfetto."""

from collections.abc import Sequence
from pathlib import Path

import jax


class Profiler:
  """Traces the steps from the first to the last that it was told.

  Every process of a job writes its own trace to the folder.
  """

  def __init__(self, folder: Path, steps: Sequence[int]) -> None:
    """Stores the folder and the steps.

    Args:
      folder: for traces, made when the first one is written.
      steps: first and last step; empty: none is traced.
    """
    self._folder = folder
    self._first, self._last = steps or (-1, -1)
    self._traces = False

  def before(self, step: int) -> None:
    """Starts the trace where its first step begins."""
    if step == self._first:
      jax.profiler.start_trace(str(self._folder))
      self._traces = True

  def after(self, step: int) -> None:
    """Writes the trace where its last step has ended."""
    if step == self._last:
      self.close()

  def close(self) -> None:
    """Writes a trace under way, such as that of a run that is stopped."""
    if self._traces:
      jax.profiler.stop_trace()
      self._traces = False
