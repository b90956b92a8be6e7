"""Weights & Biases; WANDB_PROJECT, WANDB_MODE, ... say where to."""

from jaxrl_entropy.training.writers.base import Record, RunInfo, scalars


class WandB:
  """One run of Weights & Biases per run folder, continued after a restart.

  The step is a metric of its own, and the axis of the others: records that a
  restart writes again are points at the same place.
  """

  def __init__(self, run: RunInfo) -> None:
    import wandb

    self._run = wandb.init(
      id=run.identity(),
      name=run.name,
      dir=run.workdir,
      config=dict(run.config),
      resume="allow",
      settings=wandb.Settings(console="off"),
    )
    self._run.define_metric("step")
    self._run.define_metric("*", step_metric="step")

  def write(self, record: Record) -> None:
    """Hands the record to the library's process, which sends it."""
    self._run.log(scalars(record) | {"step": int(record["step"])})

  def close(self) -> None:
    """Waits for what is not sent yet."""
    self._run.finish()
