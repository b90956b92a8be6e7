"""Trackio, of Hugging Face; `trackio show` opens its dashboard."""

import os

from jaxrl_entropy.training.writers.base import Record, RunInfo, scalars


class Trackio:
  """One run of Trackio per run folder, continued after a restart.

  TRACKIO_PROJECT names the project ("jaxrl_entropy"), TRACKIO_DIR the folder of
  its database.
  """

  def __init__(self, run: RunInfo) -> None:
    import trackio

    self._run = trackio.init(
      project=os.environ.get("TRACKIO_PROJECT", "jaxrl_entropy"),
      name=f"{run.name}-{run.identity()}",
      config=dict(run.config),
      resume="allow",
      embed=False,
      auto_log_gpu=False,
      auto_log_cpu=False,
    )

  def write(self, record: Record) -> None:
    """Queues the record for the database."""
    self._run.log(scalars(record), step=int(record["step"]))

  def close(self) -> None:
    """Waits for what is queued."""
    self._run.finish()
