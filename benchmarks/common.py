"""Shared parts of the benchmarks: fair timing, flags, the results file.

A ratio above 1 always means that ours is better. Contestants take turns
(A, B, B, A, ...) after a warm-up each, in many short rounds, so that a busy
machine is busy for all; what is reported is the median of the rounds' ratios
with its quartiles, by the clock and by processor time. The load of the machine
is in the file; `--max-load` refuses to measure above one.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import importlib.metadata
import json
import math
import os
from pathlib import Path
import platform
import resource
import statistics
import subprocess
import sys
import time
from typing import Any, NamedTuple

_BUSY = 0.5  # tasks per core
VERSIONED = ("jax", "jaxlib", "flax", "torch", "transformers", "google-tunix")


@dataclasses.dataclass(frozen=True)
class Result:
  """One comparison.

  Attributes:
    case: the load.
    metric: what was measured, with its unit.
    ours: our value, the median of the rounds.
    peer: who or what it is compared with.
    peer_value: theirs, the median of the rounds.
    ratio: above 1: ours is better; the median of the rounds' ratios.
    spread: (largest - smallest) / median of the rounds' ratios.
    quartiles: first and third quartile of the rounds' ratios; None for a
      result of one round.
    rounds: that were measured.
    cpu_ratio: the peer's processor time over ours, all threads of this process,
      the median of the rounds; None where it was not measured.
    cpu_quartiles: its first and third quartile.
  """

  case: str
  metric: str
  ours: float
  peer: str
  peer_value: float
  ratio: float
  spread: float = 0.0
  quartiles: tuple[float, float] | None = None
  rounds: int = 1
  cpu_ratio: float | None = None
  cpu_quartiles: tuple[float, float] | None = None


class Measured(NamedTuple):
  """Each contestant's value and processor seconds in each round."""

  values: dict[str, list[Any]]
  cpu: dict[str, list[float]]


def seconds(call: Callable[[], Any]) -> float:
  start = time.perf_counter()
  call()
  return time.perf_counter() - start


def alternate(
  contestants: Mapping[str, Callable[[], Any]],
  rounds: int = 5,
  *,
  warm_up: bool = True,
) -> Measured:
  """Measures every contestant in each round, in turns.

  Every other round goes backwards, so that neither a drift of the machine nor a
  place behind another contestant favors any.

  Args:
    contestants: each measures once and returns the value, for example
      `lambda: tokens / seconds(run)`.
    rounds: that count.
    warm_up: whether one more round goes before them.
  """
  measured = Measured(
    {name: [] for name in contestants}, {name: [] for name in contestants}
  )
  for index in range(-warm_up, rounds):
    names = list(contestants)[:: -1 if index % 2 else 1]
    for name in names:
      start = time.process_time()
      value = contestants[name]()
      spent = time.process_time() - start
      if index >= 0:
        measured.values[name].append(value)
        measured.cpu[name].append(spent)
  return measured


def compare(
  case: str,
  metric: str,
  measured: Mapping[str, list[float]],
  ours: str,
  *,
  cpu: Mapping[str, list[float]] | None = None,
  higher_is_better: bool = True,
) -> list[Result]:
  """Compares `ours` with each other contestant of `alternate`.

  Args:
    case: the load.
    metric: what was measured, with its unit.
    measured: values of each contestant, by round.
    ours: name of ours.
    cpu: processor seconds of each, where all of them did the same work in this
      process.
    higher_is_better: whether a larger value is the better one.
  """
  results = []
  for peer, values in measured.items():
    if peer == ours:
      continue
    pairs = zip(measured[ours], values, strict=True)
    ratios = [a / b if higher_is_better else b / a for a, b in pairs]
    middle = statistics.median(ratios)
    results.append(
      Result(
        case,
        metric,
        statistics.median(measured[ours]),
        peer,
        statistics.median(values),
        middle,
        (max(ratios) - min(ratios)) / middle,
        _quartiles(ratios),
        len(ratios),
        *_cpu_ratio(cpu or {}, ours, peer),
      )
    )
  return results


def _cpu_ratio(
  cpu: Mapping[str, list[float]], ours: str, peer: str
) -> tuple[float | None, tuple[float, float] | None]:
  """Returns the median and quartiles of a peer's processor time over ours."""
  if ours not in cpu or peer not in cpu:
    return None, None
  pairs = zip(cpu[ours], cpu[peer], strict=True)
  ratios = [theirs / mine for mine, theirs in pairs if mine]
  if not ratios:
    return None, None
  return statistics.median(ratios), _quartiles(ratios)


def _quartiles(ratios: Sequence[float]) -> tuple[float, float] | None:
  """Returns the first and the third quartile; None for a single value."""
  if len(ratios) < 2:
    return None
  first, _, third = statistics.quantiles(ratios, n=4, method="inclusive")
  return first, third


def fresh_process(code: str) -> tuple[float, float]:
  """Runs `code` in a Python process of its own.

  Returns:
    What it leaves in `value`, and the process's peak resident bytes.
  """
  report = (
    f"{code}\nimport resource, sys\n"
    "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
    "print(value, peak * (1 if sys.platform == 'darwin' else 1024))"
  )
  done = subprocess.run(
    (sys.executable, "-c", report),
    stdout=subprocess.PIPE,
    text=True,
    check=True,
  )
  value, peak = done.stdout.split()[-2:]
  return float(value), float(peak)


LOAD_AT_START = os.getloadavg()


def load_per_core() -> float:
  """Returns the average number of running tasks per core of this process."""
  return os.getloadavg()[0] / len(os.sched_getaffinity(0))


def machine() -> dict[str, Any]:
  """Returns the processor, its cores and load, and JAX's device, if any."""
  name = platform.processor()
  info = Path("/proc/cpuinfo")
  if info.exists():
    models = (line for line in info.read_text().splitlines() if ":" in line)
    fields = dict(map(str.strip, line.split(":", 1)) for line in models)
    name = fields.get("model name", name)
  jax = sys.modules.get("jax")  # Some benchmarks do without it.
  return {
    "processor": name,
    "device": jax.devices()[0].device_kind if jax else "cpu",
    "cores": len(os.sched_getaffinity(0)),
    "load_at_start": LOAD_AT_START,
    "load": os.getloadavg(),
    "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
  }


def versions() -> dict[str, str]:
  found = {}
  for name in VERSIONED:
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found


def skip(peer: str, install: str) -> None:
  """Says that a peer is missing: it is left out, never made up."""
  print(f"skipped: {peer} is not installed ({install})")


def torch_device() -> str:
  """Returns torch's device: the GPU if JAX uses one.

  Raises:
    ImportError: torch is not installed.
  """
  import torch

  return "cuda" if torch.cuda.is_available() else "cpu"


def arguments(description: str | None) -> argparse.Namespace:
  """Parses the flags of every benchmark, and refuses a machine that is busy.

  Raises:
    SystemExit: the load is above `--max-load`.
  """
  parser = argparse.ArgumentParser(
    description=description,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  size = parser.add_mutually_exclusive_group()
  size.add_argument(
    "--quick", action="store_true", help="a small load, under 3 minutes"
  )
  size.add_argument(
    "--full", action="store_true", help="the stated load (the default)"
  )
  parser.add_argument("--json", metavar="FILE", help="also write results here")
  add_load_flag(parser)
  args = parser.parse_args()
  check_load(args.max_load)
  return args


def add_load_flag(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--max-load",
    type=float,
    default=math.inf,
    metavar="TASKS",
    help="refuse to measure with more running tasks per core, such as .25",
  )


def check_load(most: float) -> None:
  """Ends the program if the machine is busier than `most` tasks per core."""
  load = load_per_core()
  if load > most:
    raise SystemExit(
      f"the load is {load:.2f} tasks per core, above --max-load={most:g}: "
      "wait, or measure without that flag"
    )
  if load > _BUSY:
    print(f"a busy machine: {load:.2f} tasks per core; ratios will spread")


def report(name: str, results: list[Result], file: str | None) -> None:
  """Prints a table of the results, and writes the JSON file if asked to."""
  for r in results:
    low, high = r.quartiles or (r.ratio, r.ratio)
    cpu = f", by CPU time {r.cpu_ratio:.2f}" if r.cpu_ratio else ""
    print(
      f"{r.case:<28} {r.metric:<18} ours {r.ours:>10.4g}  "
      f"{r.peer} {r.peer_value:.4g}  ratio {r.ratio:.2f} "
      f"({low:.2f}-{high:.2f} in {r.rounds}{cpu})"
    )
  if file is not None:
    answer = {
      "name": name,
      "machine": machine(),
      "versions": versions(),
      "results": [dataclasses.asdict(result) for result in results],
    }
    Path(file).write_text(json.dumps(answer, indent=2) + "\n")
