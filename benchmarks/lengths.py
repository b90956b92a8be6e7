"""Memory and time of an update against the length of its rows.

    python -m benchmarks.lengths --quick
    python -m benchmarks.lengths --full --json lengths.json

Compiled: KL-Cov on Qwen2.5-7B for a v5p-64 (fsdp 4, tensor 2, context 4) that
is not there (pip install libtpu), with a row on each part of the mesh at a
time, rows of 8,192, 32,768 and 131,072 tokens. `--quick` leaves that out.

Run: a decoder of 2 layers of width 128 on this CPU, one row on one device and
on four that share its cores, its tokens split over context. What four take
more than one is the price of the splitting; no gain can be seen here.

A case is compared with the shortest row, in proportion to the tokens: a ratio
of 1 is proportional growth. The pairs of a query and a key grow with the
square.
"""

from collections.abc import Mapping
import dataclasses
import os
import statistics

import jax

from benchmarks import common, growth
from benchmarks.common import Result
from jaxrl_entropy import sharding
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.planning import compiling, report, topology
from jaxrl_entropy.planning.compiling import Task

CONFIG, SLICE = "configs/qwen2_5_7b_long.py", "v5p-64"
MESH = {"fsdp": "4", "tensor": "2", "context": "4"}
PROMPT = 2048
LENGTHS = (8192, 32768, 131072)
RUN_LENGTHS = (1024, 4096, 16384)
PARTS = 4
LIMIT = 1500  # seconds of compilation


@dataclasses.dataclass(frozen=True)
class LongRow(growth.Size):
  """One row, its tokens split over all devices."""

  layers: int = 2

  @property
  def mesh(self) -> jax.sharding.Mesh:
    return sharding.make_mesh(context=-1, devices=jax.devices()[: self.devices])

  @property
  def model(self) -> TransformerConfig:
    # A small vocabulary, so that attention is most of the work.
    narrow = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 32}
    narrow["vocab_size"] = 512
    return dataclasses.replace(
      super().model, hidden_size=128, intermediate_size=384, **narrow
    )


def compiled(length: int) -> dict[str, float]:
  """Returns figures of one device for an update of rows of this length.

  Raises:
    SystemExit: it does not compile for the slice.
  """
  overrides = (
    *((f"mesh.{axis}", size) for axis, size in MESH.items()),
    ("rollout.max_response_length", str(length - PROMPT)),
  )
  task = Task(CONFIG, overrides, SLICE, "train", low_effort=True)
  result = compiling.compile_apart(task, LIMIT)
  if result.needed is None or result.collectives is None:
    raise SystemExit(f"{length} tokens: {result.status} {result.message}")
  return {
    "GiB at the peak": result.needed / 2**30,
    "GiB temporaries": result.temporaries / 2**30,
    "GiB sent": sum(c["bytes"] for c in result.collectives) / 2**30,
    "s, at least": report.bound(result, topology.parse(SLICE)),
  }


def run(length: int, devices: int, rounds: int) -> dict[str, float]:
  """Returns figures of an update of one row on this machine."""
  size = LongRow(1, length, devices=devices)
  updates = growth.Updates(size)
  updates.rate()  # Compiles it.
  rates = [updates.rate() for _ in range(rounds)]
  return {
    "s": size.work / statistics.median(rates),
    "GiB temporaries": updates.temporaries() / 2**30,
  }


def against_shortest(
  case: str, figures: Mapping[int, Mapping[str, float]]
) -> list[Result]:
  """Compares what each length takes with the shortest, in proportion.

  Args:
    case: what was measured.
    figures: by the tokens of a row; lower is better.
  """
  shortest = min(figures)
  return [
    Result(
      *(f"{case}, rows of {length:,}", metric, value, "in proportion"),
      *(expected, expected / value),
    )
    for length, measured in figures.items()
    for metric, value in measured.items()
    for expected in [figures[shortest][metric] * length / shortest]
  ]


def main() -> None:
  args = common.arguments(__doc__)
  # Read when JAX first looks for devices.
  os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={PARTS}"
  lengths, rounds = (RUN_LENGTHS[:2], 3) if args.quick else (RUN_LENGTHS, 5)
  results = []
  for devices in (1, PARTS):
    figures = {length: run(length, devices, rounds) for length in lengths}
    case = f"context {devices} on CPU"
    results += against_shortest(case, figures)
  if not args.quick and not compiling.has_compiler():
    common.skip("the compiler for TPUs", "pip install libtpu")
  elif not args.quick:
    # The children's own flags; they have no devices of this machine.
    del os.environ["XLA_FLAGS"]
    plans = {length: compiled(length) for length in LENGTHS}
    results += against_shortest(f"7B, {SLICE}", plans)
  common.report("lengths", results, args.json)


if __name__ == "__main__":
  main()
