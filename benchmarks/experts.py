"""Updates and decoding of mixtures of experts, against `transformers`.

    python -m benchmarks.experts --quick
    python -m benchmarks.experts --full --json experts.json

The layout of OLMoE in float32, random weights, the same for both. Tiny: 3
layers of width 128, 16 experts, of which a token is given to 4. Wide, with
`--full` alone: 4 layers of width 512, 32 experts. Updates are those of
`benchmarks.train_step`, the loads of decoding those of `benchmarks.sampler`.
"""

from collections.abc import Callable
import dataclasses
import functools

import jax

from benchmarks import common, sampler
from benchmarks.common import Result
from benchmarks.sampler import Contestant, Continuous, Load
from benchmarks.train_step import Setup, measure
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import TransformerConfig, preset
from jaxrl_entropy.training.forward import Forward

CHOSEN = {"vocab_size": 512, "num_experts_per_tok": 4}
MODELS = {
  "tiny": preset("tiny-moe", num_experts=16, **CHOSEN),
  "wide": preset(
    "tiny-moe",
    num_experts=32,
    num_layers=4,
    hidden_size=512,
    num_heads=8,
    num_kv_heads=4,
    head_dim=64,
    intermediate_size=256,
    **CHOSEN,
  ),
}
LONGEST = 64
"""Tokens of a response, at most."""


def updates(
  name: str, model: TransformerConfig, rows: tuple[int, ...], rounds: int
) -> list[Result]:
  """Compares updates on as many full rows."""
  forward = Forward(model)
  return [
    dataclasses.replace(result, case=f"{name}, update {result.case}")
    for count in rows
    for result in measure(Setup(count, 1, model=model), forward, rounds)
  ]


def decoding(name: str, model: TransformerConfig, rounds: int) -> list[Result]:
  """Compares rates of decoding in lockstep, and of an RL step's responses."""
  params = jax.jit(functools.partial(transformer.init, model))(
    jax.random.key(0)
  )
  makers = sampler.peer_makers(model, params, sampler.PROMPT + LONGEST)
  kept = {"transformers": makers["transformers"]}
  contestants: dict[str, Contestant] = {
    "ours": Continuous(model, params, LONGEST),
    **sampler.find_peers(model, params, kept),
  }
  size = model.vocab_size
  lockstep = {
    f"lockstep B={rows}": sampler.lockstep_load(size, rows, LONGEST)
    for rows in (1, sampler.SLOTS)
  }
  shaped = {"RL-shaped 4 x 8": sampler.rl_load(size, 4, LONGEST)}
  loads: list[tuple[Callable[..., float], str, Load]] = [
    (rate, case, load)
    for rate, cases in (
      (sampler.decode_rate, lockstep),
      (sampler.useful_rate, shaped),
    )
    for case, load in cases.items()
  ]
  results = []
  for rate, case, load in loads:
    turns = {
      contestant: functools.partial(rate, generator, load)
      for contestant, generator in contestants.items()
    }
    measured = common.alternate(turns, rounds)
    results += common.compare(
      f"{name}, {case}",
      rate.__name__.replace("_rate", " tok/s"),
      measured.values,
      "ours",
      cpu=measured.cpu,
    )
  return results


def main() -> None:
  args = common.arguments(__doc__)
  names, rows, rounds = (("tiny",), (4,), 3)
  if not args.quick:
    names, rows, rounds = (tuple(MODELS), (4, 16), 7)
  results = []
  for name in names:
    results += updates(name, MODELS[name], rows, rounds)
    results += decoding(name, MODELS[name], rounds)
  common.report("experts", results, args.json)


if __name__ == "__main__":
  main()
