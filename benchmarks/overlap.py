"""Rollouts beside updates, against the same run with both in turn.

    python -m benchmarks.overlap --quick
    python -m benchmarks.overlap --full --json overlap.json

Eight fake CPU devices, four that train and four that sample, run the smallest
model. Two cores cannot compute for eight devices at a time, so waits stand for
the work of an accelerator: a step of the decoder takes the same time for any
number of sequences, as it does where memory is the bound, and an update takes
its own. Everything else is the real loop: threads, weights that go from mesh to
mesh, admission, verification, importance weights.

*Equal lengths*: an update takes as long as a rollout, so that overlap may halve
a step; in one process, and in a job of two, each with a device that trains and
one that samples. *Heavy tail*: one response in sixteen is eight times as long
as most; with `partial_tokens` it does not hold its step.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import gzip
import itertools
import json
import multiprocessing
import os
from pathlib import Path
import socket
import tempfile
import time
import types
from typing import Any
from unittest import mock
import zlib

from benchmarks import common
from benchmarks.common import Result

DEVICES = 8
PROMPTS, SAMPLES = 4, 4
DECODE_STEPS = 4

Run = Callable[..., list[dict[str, float]]]
"""From a load and settings of the rollout to records of the run's steps."""


@dataclasses.dataclass(frozen=True)
class Load:
  """What waits stand for, in seconds.

  Attributes:
    longest: tokens of a response, at most.
    length: tokens of a response, by a number from 0 to 15.
    decode: of one step of the decoder.
    update: of the updates of a step.
    steps: of a run.
  """

  longest: int
  length: Callable[[int], int]
  decode: float
  update: float
  steps: int


def get_config(load: Load, **rollout: Any) -> Any:
  """Returns the settings of a run."""
  from jaxrl_entropy.config import defaults

  config = defaults.get_config()
  config.steps = load.steps
  config.model.update(
    preset="nano",
    tokenizer="symbols",
    compute_dtype="float32",
    remat="none",
  )
  config.task.name = "countdown"
  config.optimizer.learning_rate = 1e-4
  config.eval.update(every=0, problems=1, samples=1)
  config.checkpoint.update(every=0, keep_best=0)
  config.log.writers = ()
  config.rollout.update(
    prompts_per_step=PROMPTS,
    group_size=SAMPLES,
    max_prompt_length=8,
    max_response_length=load.longest,
    num_minibatches=1,
    group_filter="all",
    **({"devices": DEVICES // 2} | rollout),
  )
  return config


@contextlib.contextmanager
def slowed(load: Load) -> Iterator[None]:
  """Gives responses their lengths, and decoder and updates their seconds."""
  from jaxrl_entropy.sampling import tuning
  from jaxrl_entropy.sampling.batch import Batch
  from jaxrl_entropy.sampling.stream import Stream
  from jaxrl_entropy.training import build, loop
  from jaxrl_entropy.training.learner import Learner

  advance, update = Stream.advance, Learner.update
  make_requests = build.make_requests

  def slow_advance(stream: Stream) -> list:
    events = advance(stream)
    time.sleep(load.decode * max((len(e.tokens) for e in events), default=0))
    return events

  def slow_update(*args: Any) -> Any:
    updated = update(*args)
    time.sleep(load.update)
    return updated

  def end(batch: Batch, sample: Any, new: int) -> None:
    del batch, new
    name = f"{sample.request.seed} {sample.index}"
    length = load.length(zlib.crc32(name.encode()) % 16)
    if sample.length >= length:
      sample.truncate(length)
      sample.stopped = True

  def unstopped(*args: Any, **settings: Any) -> list:
    requests = make_requests(*args, **settings)
    return [dataclasses.replace(r, stop_ids=()) for r in requests]

  def nothing(*args: Any) -> Any:
    del args
    return types.SimpleNamespace(table={})

  # A program of the decoder ends when sequences do. Here the host ends them,
  # after the program, so that programs must be short.
  short = dataclasses.replace(tuning.TUNINGS["cpu"], steps=DECODE_STEPS)

  with (
    mock.patch.dict(tuning.TUNINGS, cpu=short),
    # It would compile the sampler's programs once more.
    mock.patch.object(loop, "evaluate_policy", nothing),
    mock.patch.object(Stream, "advance", slow_advance),
    mock.patch.object(Learner, "update", slow_update),
    mock.patch.object(Batch, "_stop_at_strings", end),
    mock.patch.object(build, "make_requests", unstopped),
  ):
    yield


def run(load: Load, **rollout: Any) -> list[dict[str, float]]:
  """Returns the records of the run's second half, with their `seconds`.

  In the first half programs are compiled, and the long responses begin.
  """
  with tempfile.TemporaryDirectory() as folder:
    _train(load, folder, get_config(load, **rollout))
    return _records(load, folder)


def run_together(load: Load, **rollout: Any) -> list[dict[str, float]]:
  """As `run`, by a job of two processes that each train and sample on one.

  Emulated devices of a process run their programs one after the other.
  """
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    port = probe.getsockname()[1]
  spawn = multiprocessing.get_context("spawn")
  with tempfile.TemporaryDirectory() as folder:
    job = []
    for index in range(2):
      variables = {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "2",
        "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
        "JAX_NUM_PROCESSES": "2",
        "JAX_PROCESS_ID": str(index),
      }
      # A child reads them before it imports anything.
      with mock.patch.dict(os.environ, variables):
        child = spawn.Process(
          target=_member, args=(load, folder, rollout | {"devices": 2})
        )
        child.start()
        job.append(child)
    for child in job:
      child.join()
      if child.exitcode:
        raise RuntimeError(f"a process of the job ended with {child.exitcode}")
    return _records(load, folder)


def _member(load: Load, folder: str, rollout: dict[str, Any]) -> None:
  """Trains as one process of the job."""
  from jaxrl_entropy import distributed
  from jaxrl_entropy.cli import failures

  distributed.start()
  _train(load, folder, get_config(load, **rollout))
  failures.finish_job(0)


def _train(load: Load, folder: str, config: Any) -> None:
  from jaxrl_entropy.training import loop

  with slowed(load):
    loop.train(config, folder)


def _records(load: Load, folder: str) -> list[dict[str, float]]:
  from jaxrl_entropy import run_files

  lines = (Path(folder) / run_files.METRICS).read_text().splitlines()
  records = [json.loads(line) for line in lines]
  for record, following in itertools.pairwise(records):
    record["seconds"] = following["time"] - record["time"]
  return records[load.steps // 2 : -1]


def equal_lengths(load: Load, run: Run, case: str) -> list[Result]:
  """Compares the seconds of a step."""
  runs = {"ours": run(load, max_staleness=1), "in turn": run(load)}
  seconds = {
    name: [record["seconds"] for record in records]
    for name, records in runs.items()
  }
  waits = {
    "ours": [record["throughput/wait_s"] for record in runs["ours"]],
    "in turn": [record["throughput/sample_s"] for record in runs["in turn"]],
  }
  options = {"higher_is_better": False}
  return [
    *common.compare(case, "s/step", seconds, "ours", **options),
    *common.compare(case, "s for a rollout", waits, "ours", **options),
  ]


def traced(load: Load) -> list[Result]:
  """Reads from the profiler's trace of two steps what runs beside updates."""
  config = get_config(load, max_staleness=1)
  config.log.profile_steps = (load.steps // 2, load.steps // 2 + 1)
  with tempfile.TemporaryDirectory() as folder:
    _train(load, folder, config)
    (file,) = Path(folder).glob("profile/**/*.trace.json.gz")
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
  sampling, updating = (
    _spans(events, name) for name in ("slow_advance", "slow_update")
  )
  beside = sum(
    max(0.0, min(end, last) - max(start, first))
    for start, end in sampling
    for first, last in updating
  )
  share = beside / sum(end - start for start, end in updating)
  return [
    Result(
      "4 + 4 devices, trace of two steps",
      "share of updates with sampling beside them",
      share,
      "all",
      1.0,
      share,
    )
  ]


def _spans(events: list[dict], name: str) -> list[tuple[float, float]]:
  """Returns start and end of the calls of a function in a trace, in us."""
  return [
    (event["ts"], event["ts"] + event["dur"])
    for event in events
    if event.get("ph") == "X" and event["name"].endswith(f" {name}")
  ]


def heavy_tail(load: Load) -> list[Result]:
  """Compares the tokens learned from per second."""

  def rate(records: list[dict[str, float]]) -> list[float]:
    seconds = sum(record["seconds"] for record in records)
    return [sum(record["tokens"] for record in records) / seconds]

  usual = load.longest // 8
  ours = run(load, max_staleness=1, partial_tokens=2 * usual)
  measured = {"ours": rate(ours), "in turn": rate(run(load))}
  case = "4 + 4 devices, heavy tail"
  return common.compare(case, "useful tok/s", measured, "ours")


def _eight(number: int) -> int:
  del number
  return 8


def main() -> None:
  os.environ["JAX_PLATFORMS"] = "cpu"
  os.environ["JAX_NUM_CPU_DEVICES"] = str(DEVICES)
  args = common.arguments(__doc__)
  steps = 6 if args.quick else 12
  even = Load(8, _eight, decode=0.25, update=2.0, steps=steps)
  tailed = Load(64, lambda n: 64 if n == 0 else 4 + n % 8, 0.06, 0.3, 2 * steps)
  results = [
    *equal_lengths(even, run, "4 + 4 devices, equal lengths"),
    *equal_lengths(even, run_together, "2 + 2 devices of two processes"),
    *traced(even),
    *heavy_tail(tailed),
  ]
  common.report("overlap", results, args.json)


if __name__ == "__main__":
  main()
