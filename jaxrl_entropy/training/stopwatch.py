"""Seconds of a step by phase, for the metrics `throughput/*`."""

import time


class Stopwatch:
  """Adds up the seconds of each phase since the last lap.

  Attributes:
    seconds: total by phase.
  """

  def __init__(self) -> None:
    self.seconds: dict[str, float] = {}
    self._last = time.perf_counter()

  def lap(self, phase: str) -> None:
    """Counts the time since the last lap as time of `phase`.

    Args:
      phase: name that its seconds are added to.
    """
    now = time.perf_counter()
    self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
    self._last = now
