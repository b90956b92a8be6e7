"""Counts the responses that could not be judged, and says so in time."""

from collections.abc import Sequence

NOTICE_SHARE = 0.1  # of the responses of one call


class Tally:
  """Counts of one reward function: judged, failed and timed-out responses."""

  def __init__(self) -> None:
    self._judged = self._unjudged = 0
    self._cause = self._notice = ""
    self._has_told = False

  def add(self, causes: Sequence[str | None]) -> None:
    """Counts responses, and those among them that were not judged.

    Args:
      causes: for each response why it was not judged, or None.
    """
    failures = [" ".join(cause.split()) for cause in causes if cause]
    self._judged += len(causes) - len(failures)
    self._unjudged += len(failures)
    if not failures:
      return
    self._cause = self._cause or failures[0]
    share = len(failures) / len(causes)
    if share >= NOTICE_SHARE and not self._notice:
      self._notice = (
        f"{share:.0%} of the responses could not be judged and earn nothing "
        f"(reward/errors counts them): {failures[0]}"
      )

  def nothing_judged(self) -> str | None:
    """Returns what to tell the user if no response at all could be judged."""
    if self._judged or not self._unjudged:
      return None
    return (
      f"none of the first {self._unjudged} responses could be judged: "
      f"{self._cause}"
    )

  def notice(self) -> str | None:
    """Returns, once, what to tell of a call in which a tenth was not judged."""
    if self._has_told or not self._notice:
      return None
    self._has_told = True
    return self._notice
