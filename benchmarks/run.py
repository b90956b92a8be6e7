"""All benchmarks, one after the other: one table, one JSON file.

    python -m benchmarks.run --quick
    python -m benchmarks.run --full --json docs/results/benchmarks.json
    python -m benchmarks.run --quick --only sampler selection

Each benchmark runs in a fresh process, so that none inherits another's memory,
compiled programs or threads. One that fails is named, and the others go on.
"""

import argparse
from collections.abc import Sequence
import json
from pathlib import Path
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks import common

_SHARED = ("__init__", "common", "run")


def names() -> list[str]:
  """The benchmarks: every other module of this folder."""
  modules = (path.stem for path in Path(__file__).parent.glob("*.py"))
  return sorted(name for name in modules if name not in _SHARED)


def measure(name: str, size: str, limit: float) -> dict[str, Any] | None:
  """Runs one benchmark and returns what it wrote; None where it failed.

  Args:
    name: module of this folder.
    size: `quick` or `full`.
    limit: seconds after which it counts as failed.
  """
  with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "answer.json"
    command = (sys.executable, "-m", f"benchmarks.{name}", f"--{size}")
    try:
      subprocess.run((*command, "--json", file), check=True, timeout=limit)
      return json.loads(file.read_text())
    except (subprocess.SubprocessError, OSError, ValueError) as error:
      print(f"failed: {name}: {error}", file=sys.stderr)
      return None


def table(answers: Sequence[dict[str, Any]]) -> str:
  """One line a comparison, in aligned columns."""
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
          f"{r['ratio']:.2f} (±{r['spread']:.0%})",
        )
      )
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return "\n".join(
    "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows
  )


def main() -> int:
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
  parser.add_argument("--json", type=Path, metavar="FILE")
  parser.add_argument(
    "--limit", type=float, default=1800, help="seconds for one benchmark"
  )
  args = parser.parse_args()
  machine = common.machine()
  found = [measure(name, args.size, args.limit) for name in args.only]
  answers = [answer for answer in found if answer is not None]
  print(table(answers))
  if args.json:
    content = {"size": args.size, "machine": machine, "benchmarks": answers}
    args.json.write_text(json.dumps(content, indent=1) + "\n")
  return 0 if len(answers) == len(found) else 1


if __name__ == "__main__":
  sys.exit(main())
