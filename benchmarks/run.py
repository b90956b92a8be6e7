"""All benchmarks, one after the other: a table, and a JSON file for each.

    python -m benchmarks.run --quick
    python -m benchmarks.run --full
    python -m benchmarks.run --quick --only sampler selection --json DIR

Each benchmark runs in a fresh process, so that none inherits another's memory,
compiled programs or threads. One that fails, or takes longer than `--limit`, is
named, and the others go on; the file of an earlier run of it is left alone.
"""

import argparse
from collections.abc import Sequence
import json
import math
import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks import common

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "benchmarks"
# `answers` counts verdicts and measures no time.
_SHARED = ("__init__", "answers", "common", "run")


def names() -> list[str]:
  """Returns the benchmarks: every other module of this folder."""
  modules = (path.stem for path in Path(__file__).parent.glob("*.py"))
  return sorted(name for name in modules if name not in _SHARED)


def measure(
  name: str, size: str, limit: float, max_load: float = math.inf
) -> dict[str, Any] | None:
  """Runs one benchmark and returns what it wrote; None where it failed.

  Args:
    name: module of this folder.
    size: `quick` or `full`.
    limit: seconds after which it counts as failed.
    max_load: running tasks per core above which it does not measure.
  """
  with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "answer.json"
    command = (sys.executable, "-m", f"benchmarks.{name}", f"--{size}")
    command = (*command, f"--max-load={max_load}", "--json", str(file))
    try:
      _run(command, limit)
      return json.loads(file.read_text()) | {"size": size}
    except subprocess.TimeoutExpired:
      reason = f"stopped after {limit:g} s; give it more with --limit"
    except subprocess.CalledProcessError as error:
      reason = f"exit status {error.returncode}; its message is above"
    except (OSError, ValueError) as error:
      reason = f"it wrote no results ({error})"
  print(f"failed: {name}: {reason}", file=sys.stderr)
  return None


def _run(command: Sequence[str], limit: float) -> None:
  """Runs to the end, or ends the command with all that it started.

  Raises:
    CalledProcessError: its status is not 0.
    TimeoutExpired: it took longer than `limit` seconds.
  """
  with subprocess.Popen(command, start_new_session=True) as process:
    try:
      status = process.wait(limit)
    except BaseException:
      os.killpg(process.pid, signal.SIGKILL)
      raise
  if status:
    raise subprocess.CalledProcessError(status, command)


def table(answers: Sequence[dict[str, Any]]) -> str:
  """Returns one line per comparison, in aligned columns."""
  rows = [("benchmark", "case", "metric", "ours", "peer", "theirs", "ratio")]
  for answer in answers:
    for r in answer["results"]:
      rows.append(
        (
          answer["name"],
          r["case"],
          r["metric"],
          f"{r['ours']:.4g}",
          r["peer"],
          f"{r['peer_value']:.4g}",
          _ratio(r),
        )
      )
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return "\n".join(
    "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows
  )


def _ratio(result: dict[str, Any]) -> str:
  low, high = result.get("quartiles") or (result["ratio"],) * 2
  return f"{result['ratio']:.2f} ({low:.2f}-{high:.2f})"


def save(answer: dict[str, Any], folder: Path) -> None:
  """Writes `NAME.json`, unless there is nothing in it (no peer installed)."""
  if answer["results"]:
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(answer, indent=2) + "\n"
    (folder / f"{answer['name']}.json").write_text(content)


def arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.run",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  size = parser.add_mutually_exclusive_group()
  size.add_argument("--quick", dest="size", action="store_const", const="quick")
  size.add_argument("--full", dest="size", action="store_const", const="full")
  parser.set_defaults(size="quick")
  parser.add_argument(
    "--only", nargs="+", choices=names(), default=names(), metavar="NAME"
  )
  parser.add_argument(
    "--json", type=Path, metavar="DIR", default=RESULTS, help="for the results"
  )
  parser.add_argument(
    "--limit", type=float, default=1800, help="seconds for one benchmark"
  )
  common.add_load_flag(parser)
  return parser.parse_args()


def main() -> int:
  args = arguments()
  answers, count, start = [], len(args.only), time.monotonic()
  for index, name in enumerate(args.only, 1):
    load, spent = os.getloadavg()[0], time.monotonic() - start
    print(f"[{index}/{count}] {name} at {spent:.0f} s, load {load:.1f}")
    sys.stdout.flush()
    answer = measure(name, args.size, args.limit, args.max_load)
    if answer is not None:
      answers.append(answer)
      save(answer, args.json)
  print(table(answers))
  return 0 if len(answers) == count else 1


if __name__ == "__main__":
  sys.exit(main())
