"""How much memory does the fused head save a training step?

    python -m benchmarks.memory --quick
    python -m benchmarks.memory --full --json memory.json

One update of SmolLM2-135M, 32 rows of 192 tokens, a vocabulary of 49,152: the
fused log-prob and entropy with remat of every layer, against the same step with
the logits of the whole batch. `--quick` compares what the compiler plans
(temporaries, from `memory_analysis`); `--full` also runs a step of each in a
process of its own and compares the processes' peaks.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import common
from benchmarks.common import Result
from benchmarks.train_step import Setup
from jaxrl_entropy.models import transformer
from jaxrl_entropy.ops.logprobs import TokenStats
from jaxrl_entropy.training.step import Forward, Rows
from jaxrl_entropy.types import Params

SETUP = Setup(rows=32, micro_batches=1)
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


def planned(forward: Forward) -> float:
  """Bytes of the step's temporaries."""
  update = SETUP.update(forward)
  compiled = update.lower(*SETUP.shapes()).compile()
  return compiled.memory_analysis().temp_size_in_bytes


def run_once(name: str) -> None:
  """One update, for the peak of this process."""
  state, rows = SETUP.arrays()
  jax.block_until_ready(SETUP.update(FORWARDS[name])(state, rows))


def peak(name: str) -> float:
  code = f"from benchmarks import memory\nmemory.run_once({name!r})"
  return common.peak_memory(code)


def compare(metric: str, measure: Any) -> list[Result]:
  ours, *peers = FORWARDS
  sizes = {name: measure(name) / GIB for name in FORWARDS}
  return [
    Result(
      "train step 32 x 192",
      metric,
      sizes[ours],
      peer,
      sizes[peer],
      sizes[peer] / sizes[ours],
    )
    for peer in peers
  ]


def main() -> None:
  args = common.arguments(__doc__)
  results = compare("temporaries, GiB", lambda name: planned(FORWARDS[name]))
  if not args.quick:
    results += compare("peak RSS, GiB", peak)
  common.report("memory", results, args.json)


if __name__ == "__main__":
  main()
