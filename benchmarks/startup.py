"""Time from `train` to the first update, with imports and compiling.

    python -m benchmarks.startup --quick
    python -m benchmarks.startup --full --json startup.json

Each measurement is a fresh process that runs one step of the quick start's GRPO
from random weights, and ends when the step's record is in the metrics file.
`cold` has an empty compilation cache, `warm` the one that a run before it
filled. The peers are bounds: the seconds that a user should not have to wait
on two idle cores.
"""

import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time

from benchmarks import common
from benchmarks.common import Result

BOUNDS = {"cold": 60.0, "warm": 15.0}  # seconds
_TRAIN = (
  *(sys.executable, "-m", "jaxrl_entropy", "train"),
  "--config=configs/quickstart.py",
  "--config.sft.steps=0",
  "--config.steps=1",
  "--config.eval.every=0",
  # Random weights answer nothing right: no group would be learned from.
  "--config.rollout.group_filter=all",
  "--config.rollout.train_groups=0",
)
_POLL = 0.05  # seconds


def first_update(cache: Path, workdir: Path) -> float:
  """Seconds until the first step of a fresh process is recorded.

  Raises:
    RuntimeError: the process ended before that.
  """
  environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
  metrics = workdir / "metrics.jsonl"
  start = time.perf_counter()
  with subprocess.Popen(
    (*_TRAIN, f"--workdir={workdir}"),
    env=environment,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  ) as process:
    while not (metrics.exists() and metrics.stat().st_size):
      if process.poll() is not None:
        raise RuntimeError(f"train ended with status {process.returncode}")
      time.sleep(_POLL)
    elapsed = time.perf_counter() - start
    process.terminate()
  return elapsed


def measure(rounds: int) -> list[Result]:
  results = []
  for case, bound in BOUNDS.items():
    times = []
    for _ in range(rounds):
      with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        if case == "warm":
          first_update(cache, Path(folder) / "before")
        times.append(first_update(cache, Path(folder) / "run"))
    results += common.compare(
      case,
      "s to first update",
      {"ours": times, "bound": [bound] * rounds},
      "ours",
      higher_is_better=False,
    )
  return results


def main() -> None:
  args = common.arguments(__doc__)
  common.report("startup", measure(1 if args.quick else 5), args.json)


if __name__ == "__main__":
  main()
