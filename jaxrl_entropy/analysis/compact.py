"""Copies of runs that are small enough to commit.

    python -m jaxrl_entropy.analysis.compact runs/study docs/results/study

A copy holds the metrics that the analysis reads, to four significant digits, as
one list per metric, or as values by the index of their record where most
records have none. A report of the copy shows the same figures as one of the
original.
"""

import argparse
import json
import pathlib
import re
import shutil
from typing import Any

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import runs, studies
from jaxrl_entropy.errors import UserError

_KEPT = (
  *(run_files.STEP, run_files.PARAMETERS, run_files.GRADIENT_NORM),
  *(run_files.ENTROPY, run_files.TRAIN_ACCURACY, run_files.REWARD_MEAN),
  *(run_files.RESPONSE_LENGTH, run_files.TRUNCATED),
  *(run_files.HELD_OUT_ACCURACY, run_files.HELD_OUT_GREEDY),
  *(run_files.HELD_OUT_PASS, run_files.CONTROL, run_files.COVARIANCE),
  *(run_files.EXTRA_SHARE, run_files.EXTRA_COVARIANCE),
  *(run_files.PROBE_DELTA_ENTROPY, run_files.PROBE_MINUS_COVARIANCE),
  *(run_files.PREDICTORS, run_files.PICKS),
  *(run_files.SELECTED_SHARE, run_files.SELECTED_REWARDED),
  *(run_files.SELECTED_PROBABILITY, run_files.CLIP_SHARE, run_files.KL_OLD),
)
# Metrics at another temperature are kept as those at the evaluation's own.
_TEMPERATURE = re.compile(r"/at_[\d.]+/")


def compact(
  source: str | pathlib.Path, destination: str | pathlib.Path
) -> list[pathlib.Path]:
  """Copies the runs of a study, one folder per run.

  Args:
    source: folder of a study.
    destination: folder of the copy.

  Returns:
    The folders of the copied runs.

  Raises:
    UserError: if there is no run in `source`.
  """
  folders = []
  for run in studies.load(source).runs:
    folder = pathlib.Path(destination) / run.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / run_files.COMPACT_METRICS).write_text(
      _columns(run) + "\n", encoding="utf-8"
    )
    config = run.folder and run.folder / run_files.CONFIG
    if config and config.is_file():
      shutil.copy(config, folder)
    folders.append(folder)
  return folders


def _columns(run: runs.Run) -> str:
  """Returns a JSON object with one metric per line."""
  keys = sorted(
    key for key in run.metrics if _TEMPERATURE.sub("/", key).startswith(_KEPT)
  )
  lines = []
  for key in keys:
    column = _column([_rounded(record.get(key)) for record in run.records])
    lines.append(f'"{key}":{json.dumps(column, separators=(",", ":"))}')
  return "{\n" + ",\n".join(lines) + "\n}"


def _column(values: list[Any]) -> list[Any] | dict[int, Any]:
  known = {index: v for index, v in enumerate(values) if v is not None}
  return known if len(known) < len(values) / 2 else values


def _rounded(value: Any) -> Any:
  return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
  parser = argparse.ArgumentParser(
    description="Makes copies of runs that are small enough to commit."
  )
  parser.add_argument("source", help="folder of a study, or of one run")
  parser.add_argument("destination", help="folder of the copy")
  arguments = parser.parse_args()
  try:
    for path in compact(arguments.source, arguments.destination):
      print(path)
  except UserError as error:
    parser.error(str(error))
