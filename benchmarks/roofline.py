"""Error of the time that `plan` estimates, on this machine.

    python -m benchmarks.roofline --quick
    python -m benchmarks.roofline --full --json roofline.json

The matmul rate and the memory bandwidth of one device are measured before and
after a short run of `train`, and the seconds of the run's phases are compared
with the estimate for these rates. A ratio of 1 is an exact estimate; below, the
phase took longer: it is the share of the roofline that the phase reached. The
weights are random, and the first step, which compiles, is left out. `--quick`
trains 1.8 million parameters, where what no roofline has (calls, the host) is
most of a step; `--full` SmolLM2-135M, or Qwen2.5-0.5B where there is an
accelerator.

On a CPU all seconds, of the rates and of the phases, are of processor time over
all threads, so that other work on the machine does not count.
"""

import contextlib
import json
from pathlib import Path
import statistics
import tempfile
import time
from typing import Any
from unittest import mock

import jax

from benchmarks import common
from benchmarks.common import Result
from benchmarks.sampler import Machine
import jaxrl_entropy as jrl
from jaxrl_entropy import run_files
from jaxrl_entropy.config import finalize
from jaxrl_entropy.models import transformer
from jaxrl_entropy.planning import estimate, programs, roofline
from jaxrl_entropy.planning.roofline import Phase
from jaxrl_entropy.training import throughput

STEPS = 5
GOAL = 0.45  # of the matmul rate, in an update on an accelerator
SMALL = "mini"
# Phases of the estimate, by the phase of the run that has them.
PHASES = {
  "sample": ("prefill", "decode", "transfer"),
  "add_logprobs": ("score",),
  "update": ("update",),
}
ALONE = {"data": 1, "fsdp": 1, "tensor": 1, "context": 1}


def run_config(preset: str) -> Any:
  """Returns a run of a few steps from random weights, on one device."""
  config = jrl.load_config("configs/quickstart.py")
  on_cpu, small = jax.default_backend() == "cpu", preset == SMALL
  config.steps = STEPS
  config.sft.steps = config.eval.every = config.checkpoint.every = 0
  config.log.samples_every = 0
  config.model.preset = preset
  config.model.compute_dtype = "float32" if on_cpu else "bfloat16"
  config.mesh.fsdp = 1
  config.rollout.update(
    group_filter="all",
    prompts_per_step=4 if on_cpu and not small else 16,
    train_groups=0,
    group_size=8,
    max_response_length=48 if on_cpu or small else 512,
    num_minibatches=2,
    pack=False,
    share_prompts=False,
  )
  finalize(config)
  return config


def run(config: Any) -> list[dict[str, float]]:
  """Trains; returns the records of the steps after the first."""
  with tempfile.TemporaryDirectory() as folder:
    jrl.train(config, folder)
    lines = Path(folder, run_files.METRICS).read_text().splitlines()
  records = [json.loads(line) for line in lines]
  timed = f"{run_files.THROUGHPUT}update_s"
  return [record for record in records if timed in record][1:]


def clock() -> contextlib.AbstractContextManager[Any]:
  """Lets seconds be those of the processor where it is the device, too."""
  if jax.default_backend() != "cpu":
    return contextlib.nullcontext()
  return mock.patch("time.perf_counter", time.process_time)


def rates() -> Machine:
  dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
  return Machine.measure(1024, 1 << 25, dtype)


def estimated(
  config: Any, records: list[dict[str, float]], machine: Machine
) -> dict[str, Phase]:
  """Returns the estimate of the phases for the lengths of a run."""
  lengths = [record[run_files.RESPONSE_LENGTH] for record in records]
  prompt = config.rollout.max_prompt_length
  load = estimate.make_load(config, prompt, statistics.fmean(lengths))
  rates = roofline.Machine(machine.flops, machine.bandwidth)
  model = programs.planned_model(config)
  return roofline.phases(model, load, ALONE, rates)


def utilization(
  config: Any, records: list[dict[str, float]], machine: Machine
) -> list[Result]:
  """Compares an update's share of the matmul rate with `GOAL`.

  Of the FLOPs that the model needs; recomputation and padding do not count.
  """
  model = programs.planned_model(config)
  shapes = jax.eval_shape(lambda: transformer.init(model, jax.random.key(0)))
  rollout, shares = config.rollout, []
  for record in records:
    length = rollout.max_prompt_length + record[run_files.RESPONSE_LENGTH]
    lengths = [length] * rollout.prompts_per_step * rollout.group_size
    needed = throughput.training_flops(model, shapes, lengths)
    spent = record[f"{run_files.THROUGHPUT}update_s"]
    shares.append(needed / spent / machine.flops)
  return common.compare(
    f"{config.model.preset}, update",
    "share of the matmul rate",
    {"ours": shares, "goal": [GOAL] * len(shares)},
    "ours",
  )


def measure(preset: str) -> list[Result]:
  """Compares the estimate of each phase of a run with its seconds."""
  config = run_config(preset)
  with clock():
    before = rates()
    records = run(config)
    after = rates()
  machine = Machine(
    statistics.fmean((before.flops, after.flops)),
    statistics.fmean((before.bandwidth, after.bandwidth)),
  )
  print(
    f"{machine.flops / 1e9:.0f} GFLOP/s, {machine.bandwidth / 1e9:.1f} GB/s"
  )
  phases = estimated(config, records, machine)
  results = []
  for name, parts in PHASES.items():
    spent = [record[f"{run_files.THROUGHPUT}{name}_s"] for record in records]
    predicted = sum(phases[part].seconds for part in parts)
    results += common.compare(
      f"{config.model.preset}, {name}",
      "s a step",
      {"estimate": [predicted] * len(spent), "measured": spent},
      "estimate",
      higher_is_better=True,
    )
  results += utilization(config, records, machine)
  for result in results[: len(PHASES)]:
    print(f"{result.case}: error of the estimate {result.ratio - 1:+.0%}")
  return results


def main() -> None:
  args = common.arguments(__doc__)
  on_cpu = jax.default_backend() == "cpu"
  large = "smollm2-135m" if on_cpu else "qwen2.5-0.5b"
  results = measure(SMALL if args.quick else large)
  common.report("roofline", results, args.json)


if __name__ == "__main__":
  main()
