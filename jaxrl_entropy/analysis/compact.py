"""Copies of runs that are small enough to commit.

    python -m jaxrl_entropy.analysis.compact runs/study docs/results/study

Keeps what the analysis reads, to four digits, and drops the rest. A file has a
list for each metric and not an object for each step. A report of the copy shows
the same figures as one of the original.
"""

import argparse
import json
import pathlib
import shutil
from typing import Any

from jaxrl_entropy import run_files
from jaxrl_entropy.analysis import runs, studies
from jaxrl_entropy.errors import UserError

_KEPT = (
  "step",
  "model/parameters",
  "entropy/token_mean",
  "reward/accuracy",
  "response/length",
  "eval/held_out/accuracy",
  "eval/held_out/greedy",
  "eval/held_out/pass@",
  "control/",
  "cov/",
  "extra/",
  "probe/delta_entropy",
  "probe/minus_cov",
  "select/share",
)


def compact(
  source: str | pathlib.Path, destination: str | pathlib.Path
) -> list[pathlib.Path]:
  """Copies the runs of a study, one folder a run.

  Raises:
    UserError: no run is in `source`.
  """
  folders = []
  for run in studies.load(source).runs:
    folder = pathlib.Path(destination) / run.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / run_files.COMPACT_METRICS).write_text(
      _columns(run) + "\n", encoding="utf-8"
    )
    config = pathlib.Path(source) / run.name / run_files.CONFIG
    if config.is_file():
      shutil.copy(config, folder)
    folders.append(folder)
  return folders


def _columns(run: runs.Run) -> str:
  """A JSON object with a list a line, one value a step."""
  keys = sorted(key for key in run.metrics if key.startswith(_KEPT))
  lines = []
  for key in keys:
    values = [_short(record.get(key)) for record in run.records]
    lines.append(f'"{key}":{json.dumps(values, separators=(",", ":"))}')
  return "{\n" + ",\n".join(lines) + "\n}"


def _short(value: Any) -> Any:
  return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
  parser = argparse.ArgumentParser(description="Makes runs small.")
  parser.add_argument("source", help="folder of a study, or of one run")
  parser.add_argument("destination", help="where the copy goes")
  arguments = parser.parse_args()
  try:
    for path in compact(arguments.source, arguments.destination):
      print(path)
  except UserError as error:
    parser.error(str(error))
