"""Shared parts of the benchmarks: fair timing, flags, the results file.

A ratio above 1 always means that ours is better. Contestants take turns
(A, B, A, B, ...) after a warm-up each, so that a busy machine is busy for all;
what is reported is the median of the rounds' ratios.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import importlib.metadata
import json
import os
from pathlib import Path
import platform
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

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
  """

  case: str
  metric: str
  ours: float
  peer: str
  peer_value: float
  ratio: float
  spread: float = 0.0
  quartiles: tuple[float, float] | None = None


def seconds(call: Callable[[], Any]) -> float:
  start = time.perf_counter()
  call()
  return time.perf_counter() - start


def alternate(
  contestants: Mapping[str, Callable[[], float]],
  rounds: int = 5,
  *,
  warm_up: bool = True,
) -> dict[str, list[float]]:
  """Returns each contestant's measurement in each round; all take turns.

  Args:
    contestants: each measures once and returns the value, for example
      `lambda: tokens / seconds(run)`.
    rounds: that count.
    warm_up: whether one more round goes before them.
  """
  measured: dict[str, list[float]] = {name: [] for name in contestants}
  for index in range(-warm_up, rounds):
    for name, measure in contestants.items():
      value = measure()
      if index >= 0:
        measured[name].append(value)
  return measured


def compare(
  case: str,
  metric: str,
  measured: Mapping[str, list[float]],
  ours: str,
  *,
  higher_is_better: bool = True,
) -> list[Result]:
  """Compares `ours` with each other contestant of `alternate`."""
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
      )
    )
  return results


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
  """Parses the flags of every benchmark: `--quick`, `--full`, `--json FILE`."""
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
  return parser.parse_args()


def report(name: str, results: list[Result], file: str | None) -> None:
  """Prints a table of the results, and writes the JSON file if asked to."""
  for r in results:
    print(
      f"{r.case:<28} {r.metric:<18} ours {r.ours:>10.4g}  "
      f"{r.peer} {r.peer_value:.4g}  ratio {r.ratio:.2f} (±{r.spread:.0%})"
    )
  if file is not None:
    answer = {
      "name": name,
      "machine": machine(),
      "versions": versions(),
      "results": [dataclasses.asdict(result) for result in results],
    }
    Path(file).write_text(json.dumps(answer, indent=2) + "\n")
