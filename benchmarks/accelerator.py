"""Speed on an accelerator, against torch and the chip's own limits.

    export XLA_PYTHON_CLIENT_PREALLOCATE=false  # torch needs memory, too
    python -m benchmarks.accelerator --quick
    python -m benchmarks.accelerator --full --json accelerator.json

Random weights of the shapes of Qwen2.5-0.5B and, with `--full`, 1.5B, bfloat16
at use; the update keeps them, and their moments, in float32. The other
benchmarks are of the CPU; these are the same questions where matmuls are cheap
and trips to the host are not, and two more: which settings make the fastest
update, and the phases of whole steps with their share of the matmul rate. The
bounds are of this chip's measured matmul rate and bandwidth. `page by page` is
our sampler, whose attention reads one page of every sequence at a time.

Questions stand in the order of their worth; none begins after `BUDGET` seconds,
and each writes the file, so that one command of nine minutes has what there was
time for. On a CPU it runs at toy size, to show that it would run.
"""

from collections.abc import Callable
import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import common, roofline, sampler, selection, train_step
from benchmarks.common import Result, seconds
from benchmarks.peers import sampling as peers
from benchmarks.sampler import Machine
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.ops import attention
from jaxrl_entropy.training.forward import Forward

BUDGET = 500  # seconds, after which no question begins


@dataclasses.dataclass(frozen=True)
class Scale:
  """How large everything is.

  Attributes:
    models: presets that are updated; the first is sampled from, too.
    updates: rows, micro-batches and tokens of a row.
    chunks: tokens whose logits exist at one time in an update, to choose from.
    slots: rows decoded in lockstep.
    new: tokens of a response in lockstep.
    rl: prompts, and tokens of the longest response.
    attention: rows, and tokens of each.
    tokens: that are selected from.
    matmul: width of the products that the bounds come from.
    step: preset of the whole steps.
    dtype: of activations.
  """

  models: tuple[str, ...] = ("qwen2.5-0.5b",)
  updates: tuple[tuple[int, int, int], ...] = ((16, 4, 1024),)
  chunks: tuple[int, ...] = (1024, 4096)
  slots: tuple[int, ...] = (1, 64)
  new: int = 192
  rl: tuple[int, int] = (32, 256)
  attention: tuple[int, int] = (2, 4096)
  tokens: int = 10**6
  matmul: int = 8192
  step: str = "qwen2.5-0.5b"
  dtype: str = "bfloat16"


FULL = Scale(
  models=("qwen2.5-0.5b", "qwen2.5-1.5b"),
  updates=((16, 4, 1024), (4, 2, 4096)),
)
TOY = Scale(
  models=("nano",),
  updates=((4, 2, 64),),
  chunks=(64,),
  slots=(2,),
  new=8,
  rl=(2, 16),
  attention=(1, 256),
  tokens=10**4,
  matmul=256,
  step=roofline.SMALL,
  dtype="float32",
)


def decoding(scale: Scale, machine: Machine, rounds: int) -> list[Result]:
  """Measures rows in lockstep, then responses of unequal lengths."""
  config = preset(scale.models[0], dtype=scale.dtype)
  params = jax.jit(functools.partial(transformer.init, config))(
    jax.random.key(0)
  )
  make = functools.partial(peers.Transformers, config, params)
  makers = {
    "transformers": make,
    "transformers, static": functools.partial(
      peers.Transformers, config, params, static=True
    ),
  }
  others = sampler.find_peers(config, params, makers)
  results = []
  for rows in scale.slots:
    load = sampler.lockstep_load(config.vocab_size, rows, scale.new)
    sampling = functools.partial(
      sampler.Continuous, config, params, scale.new, slots=rows
    )
    results += sampler.compare(
      f"lockstep B={rows}",
      sampler.decode_rate,
      load,
      {
        "ours": sampling(),
        "page by page": sampling(pages_per_block=1),
        **others,
      },
      sampler.bound(config, params, machine, load, prefill=False),
      rounds,
    )
  groups, longest = scale.rl
  load = sampler.rl_load(config.vocab_size, groups, longest)
  ours = sampler.Continuous(config, params, longest, slots=max(scale.slots))
  results += sampler.compare(
    f"RL-shaped {groups} x 8",
    sampler.useful_rate,
    load,
    {"ours": ours, **others},
    sampler.bound(config, params, machine, load, prefill=True),
    rounds,
  )
  return results


def updating(
  scale: Scale, name: str, machine: Machine, rounds: int
) -> list[Result]:
  """Measures updates: every setting of ours, and the best against torch.

  The bound counts 6 FLOPs per parameter and token at this chip's matmul rate,
  and the goal is `roofline.GOAL` of it.
  """
  model = preset(name, dtype=scale.dtype)
  results = []
  for rows, micro, length in scale.updates:
    setup = train_step.Setup(rows, micro, model=model, length=length)
    best, found = fastest(setup, scale, rounds)
    results += found
    params = jax.tree.leaves(setup.shapes()[0].params)
    limit = machine.flops / (6 * sum(x.size for x in params))
    compared = train_step.measure(setup, best, rounds)
    ours = (compared or found)[0].ours
    for peer, share in (("bound", 1.0), ("goal", roofline.GOAL)):
      sides = {"ours": [ours], peer: [share * limit]}
      case = f"{name}, {rows} x {length} / {micro}"
      results += common.compare(case, "train tok/s", sides, "ours")
    results += [
      dataclasses.replace(r, case=f"{name}, {r.case}") for r in compared
    ]
  return results


def fastest(
  setup: train_step.Setup, scale: Scale, rounds: int
) -> tuple[Forward, list[Result]]:
  """Returns the fastest forward pass, and how the others compare with it.

  One after the other, as the states of all would not fit beside each other.
  """
  tokens = setup.rows * setup.length
  rates: dict[tuple[str, int], list[float]] = {}
  for remat in ("none", "dots", "full"):
    for chunk in scale.chunks:
      forward = Forward(setup.model, remat=remat, chunk=chunk)
      try:
        ours = train_step.Ours(setup, forward)
        turns = {"ours": lambda ours=ours: tokens / seconds(ours.step)}
        rates[remat, chunk] = common.alternate(turns, rounds).values["ours"]
        del ours, turns  # Or the next state needs a place beside this one.
      except jax.errors.JaxRuntimeError as error:
        print(f"remat={remat}, chunk={chunk}: {str(error).splitlines()[0]}")
  best = max(rates, key=lambda choice: sorted(rates[choice])[rounds // 2])
  names = {choice: f"remat {choice[0]}, chunk {choice[1]}" for choice in rates}
  results = common.compare(
    f"{setup.rows} x {setup.length}, {names[best]}",
    "train tok/s",
    {names[choice]: rate for choice, rate in rates.items()},
    names[best],
  )
  return Forward(setup.model, remat=best[0], chunk=best[1]), results


def attending(scale: Scale, rounds: int) -> list[Result]:
  """Measures the platform's kernel, both passes, against XLA's blocks."""
  config = preset(scale.models[0])
  rows, length = scale.attention
  keys = jax.random.split(jax.random.key(0), 3)
  heads = (config.num_heads, config.num_kv_heads, config.num_kv_heads)
  q, k, v = (
    jax.random.normal(key, (rows, length, n, config.head_dim), scale.dtype)
    for key, n in zip(keys, heads, strict=True)
  )
  segments = jnp.broadcast_to(jnp.arange(length) // 1024 + 1, (rows, length))

  def gradient(backend: str) -> Callable[..., Any]:
    def total(*qkv: jax.Array) -> jax.Array:
      mixed = attention.attend(*qkv, segments, backend=backend)
      return (mixed.astype(jnp.float32) ** 2).sum()

    return jax.jit(jax.grad(total, (0, 1, 2)))

  calls = {"ours": gradient("auto"), "xla": gradient("xla")}
  found = {name: call(q, k, v) for name, call in calls.items()}
  for ours, theirs in zip(found["ours"], found["xla"], strict=True):
    error = jnp.linalg.norm((ours - theirs).astype(jnp.float32))
    assert error < 0.02 * jnp.linalg.norm(theirs.astype(jnp.float32))
  turns = {
    name: lambda call=call: (
      1e3 * seconds(lambda: jax.block_until_ready(call(q, k, v)))
    )
    for name, call in calls.items()
  }
  return common.compare(
    f"attention {rows} x {length}",
    "ms, with gradient",
    common.alternate(turns, rounds).values,
    "ours",
    higher_is_better=False,
  )


def questions(
  scale: Scale, machine: Machine, rounds: int
) -> dict[str, Callable[[], list[Result]]]:
  """Returns what is measured, in the order of its worth."""
  updates = {
    f"updates of {name}": functools.partial(
      updating, scale, name, machine, rounds
    )
    for name in scale.models
  }
  first, *others = updates
  return {
    first: updates[first],
    "whole steps": functools.partial(roofline.measure, scale.step),
    "decoding": functools.partial(decoding, scale, machine, rounds),
    "attention": functools.partial(attending, scale, 5 * rounds),
    "selection": functools.partial(selection.measure, scale.tokens, 5 * rounds),
    **{name: updates[name] for name in others},
  }


def main() -> None:
  args = common.arguments(__doc__)
  start = time.monotonic()
  scale, rounds = (Scale(), 3) if args.quick else (FULL, 7)
  if jax.default_backend() == "cpu":
    print("no accelerator here: toy sizes, whose figures mean nothing")
    scale = TOY
  machine = Machine.measure(scale.matmul, scale.matmul << 14, scale.dtype)
  print(
    f"{machine.flops / 1e12:.3g} TFLOP/s, {machine.bandwidth / 1e9:.3g} GB/s"
  )
  results: list[Result] = []
  for name, ask in questions(scale, machine, rounds).items():
    spent = time.monotonic() - start
    if spent > BUDGET:
      print(f"no time for {name}: {spent:.0f} s are gone")
      continue
    print(f"{name}, at {spent:.0f} s", flush=True)
    results += ask()
    # A lent chip may be gone before the last one.
    common.report("accelerator", results, args.json)


if __name__ == "__main__":
  main()
