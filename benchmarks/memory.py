"""Memory that the fused head saves a training step.

    python -m benchmarks.memory --quick
    python -m benchmarks.memory --full --json memory.json

One update of SmolLM2-135M, 32 rows of 192 tokens, a vocabulary of 49,152: the
fused log-prob and entropy with remat of every layer, against the same step with
the logits of the whole batch. `--quick` compares what the compiler plans
(temporaries, from `memory_analysis`); `--full` also runs a step of each in a
process of its own and compares the processes' peaks, and runs the leanest
setting of ours against torch with the whole batch at once: peak and speed.
"""

from collections.abc import Mapping
import dataclasses
import importlib.util

import jax
import jax.numpy as jnp

from benchmarks import common
from benchmarks.common import Result, seconds
from benchmarks.train_step import LENGTH, Ours, Setup, Torch
from jaxrl_entropy.models import transformer
from jaxrl_entropy.ops.logprobs import TokenStats
from jaxrl_entropy.training.forward import Forward
from jaxrl_entropy.training.packed_batch import Rows
from jaxrl_entropy.types import Params

SETUP = Setup(rows=32, micro_batches=1)
CASE = f"train step {SETUP.rows} x {LENGTH}"
GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class FullLogits(Forward):
  """The same statistics from the logits of all tokens at once."""

  def __call__(self, params: Params, rows: Rows) -> TokenStats:
    head = transformer.lm_head(params, self.model)
    logp = jax.nn.log_softmax(self.hidden(params, rows) @ head, axis=-1)
    targets = jnp.roll(rows.tokens, -1, axis=-1)[..., None]
    stats = TokenStats(
      logp=jnp.take_along_axis(logp, targets, axis=-1)[..., 0],
      entropy=-jnp.sum(jnp.exp(logp) * logp, axis=-1),
    )
    return jax.tree.map(lambda x: jnp.roll(x, 1, axis=-1), stats)


FORWARDS = {
  "fused + remat": Forward(SETUP.model, remat="full"),
  "full logits + remat": FullLogits(SETUP.model, remat="full"),
  "full logits": FullLogits(SETUP.model),
}
# Two rows at a time, nothing kept of a layer but its input.
LEAN = {
  "ours": lambda: Ours(
    dataclasses.replace(SETUP, micro_batches=16),
    Forward(SETUP.model, remat="full", chunk=2 * LENGTH),
  ),
  "torch": lambda: Torch(SETUP),
}


def planned(name: str) -> float:
  """Returns GiB of the step's temporaries."""
  update = SETUP.update(FORWARDS[name])
  compiled = update.lower(*SETUP.shapes()).compile()
  return compiled.memory_analysis().temp_size_in_bytes / GIB


def run_once(name: str) -> float:
  """Returns the loss of one update, in a process measured from outside."""
  return Ours(SETUP, FORWARDS[name]).step()


def speed(name: str) -> float:
  """Returns tokens per second of one of `LEAN`, after a warm-up step."""
  contestant = LEAN[name]()
  contestant.step()
  return SETUP.rows * LENGTH / seconds(contestant.step)


def alone(call: str) -> tuple[float, float]:
  """Returns `call`'s value and peak GiB, in a fresh process."""
  code = f"from benchmarks import memory\nvalue = memory.{call}"
  value, peak = common.fresh_process(code)
  return value, peak / GIB


def smaller(metric: str, sizes: Mapping[str, float]) -> list[Result]:
  """Compares the first contestant with the others; less is better."""
  (_, ours), *peers = sizes.items()
  return [
    Result(CASE, metric, ours, peer, size, size / ours) for peer, size in peers
  ]


def lean() -> list[Result]:
  """Compares peak and speed of the leanest step with torch's plain one."""
  if importlib.util.find_spec("torch") is None:
    common.skip("torch with transformers", "pip install torch transformers")
    return []
  (ours, our_peak), (theirs, their_peak) = (
    alone(f"speed({name!r})") for name in LEAN
  )
  case, peer = f"{CASE}, lean", "torch, whole batch"
  return [
    Result(
      case, "peak RSS, GiB", our_peak, peer, their_peak, their_peak / our_peak
    ),
    Result(case, "train tok/s", ours, peer, theirs, ours / theirs),
  ]


def main() -> None:
  args = common.arguments(__doc__)
  results = smaller("temporaries, GiB", {n: planned(n) for n in FORWARDS})
  if not args.quick:
    # Without remat a step needs more memory than most machines have.
    names = [name for name in FORWARDS if name.endswith("remat")]
    peaks = {name: alone(f"run_once({name!r})")[1] for name in names}
    results += smaller("peak RSS, GiB", peaks) + lean()
  common.report("memory", results, args.json)


if __name__ == "__main__":
  main()
