"""MLflow; MLFLOW_TRACKING_URI names the server, or mlflow.db here."""

import os
import re
import time

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.training.writers.base import Record, RunInfo, scalars

_TAG = "jaxrl_entropy.run"
_BATCH = 100  # parameters that MLflow takes at a time


class MLflow:
  """One run of MLflow per run folder, continued after a restart.

  MLFLOW_EXPERIMENT_NAME names the experiment ("jaxrl_entropy").
  """

  def __init__(self, run: RunInfo) -> None:
    from mlflow import MlflowClient

    self._client = MlflowClient()
    self._run = self._find(run) or self._create(run)

  def _experiment(self) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "jaxrl_entropy")
    experiment = self._client.get_experiment_by_name(name)
    if experiment is None:
      return self._client.create_experiment(name)
    return experiment.experiment_id

  def _find(self, run: RunInfo) -> str | None:
    query = f"tags.`{_TAG}` = '{run.identity()}'"
    runs = self._client.search_runs([self._experiment()], query)
    return runs[0].info.run_id if runs else None

  def _create(self, run: RunInfo) -> str:
    from mlflow.entities import Param

    tags = {_TAG: run.identity()}
    made = self._client.create_run(
      self._experiment(), tags=tags, run_name=run.name
    ).info.run_id
    fields = config_lib.flatten(run.config).items()
    params = [Param(name, str(value)) for name, value in fields]
    for first in range(0, len(params), _BATCH):
      self._client.log_batch(made, params=params[first : first + _BATCH])
    return made

  def write(self, record: Record) -> None:
    """Logs the record; characters that MLflow refuses become "_"."""
    from mlflow.entities import Metric

    now, step = int(time.time() * 1000), int(record["step"])
    metrics = [
      Metric(re.sub(r"[^\w/.\- :]", "_", name), value, now, step)
      for name, value in scalars(record).items()
    ]
    self._client.log_batch(self._run, metrics=metrics)

  def close(self) -> None:
    """Marks the run as ended."""
    self._client.set_terminated(self._run)
