"""Speed on an accelerator, against torch and the chip's own limits.

    export XLA_PYTHON_CLIENT_PREALLOCATE=false  # torch needs memory, too
    python -m benchmarks.accelerator --quick
    python -m benchmarks.accelerator --full

Random weights of the shape of Qwen2.5-0.5B, bfloat16 at use; the update keeps
them, and their moments, in float32. The other benchmarks are of the CPU; these
are the same questions where matmuls are cheap and trips to the host are not.
The bounds are of this chip's measured matmul rate and bandwidth. `page by page`
is our sampler, whose attention reads one page of every sequence at a time.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import common, sampler, selection, train_step
from benchmarks.common import Result, seconds
from benchmarks.peers import sampling as peers
from benchmarks.sampler import Machine
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import TransformerConfig, preset
from jaxrl_entropy.ops import attention
from jaxrl_entropy.training.forward import Forward

NEW = 192  # tokens of a response in lockstep
GROUPS, LONGEST = 32, 256  # of the RL-shaped responses
UPDATE = dict(rows=16, micro_batches=4, length=1024)
CHUNK = 4096  # tokens whose logits exist at one time in the update
ATTENTION = (2, 4096)  # rows, tokens


def decoding(
  config: TransformerConfig, machine: Machine, rounds: int
) -> list[Result]:
  """Measures rows in lockstep, then responses of unequal lengths."""
  params = jax.jit(functools.partial(transformer.init, config))(
    jax.random.key(0)
  )
  make = functools.partial(peers.Transformers, config, params)
  others = sampler.find_peers(config, params, {"transformers": make})
  results = []
  for rows in (1, 64):
    load = sampler.lockstep_load(config.vocab_size, rows, NEW)
    sampling = functools.partial(
      sampler.Continuous, config, params, NEW, slots=rows
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
  load = sampler.rl_load(config.vocab_size, GROUPS, LONGEST)
  ours = sampler.Continuous(config, params, LONGEST, slots=64)
  results += sampler.compare(
    f"RL-shaped {GROUPS} x 8",
    sampler.useful_rate,
    load,
    {"ours": ours, **others},
    sampler.bound(config, params, machine, load, prefill=True),
    rounds,
  )
  return results


def updating(
  config: TransformerConfig, machine: Machine, rounds: int
) -> list[Result]:
  """Measures one update against torch, and against the chip's matmul rate."""
  setup = train_step.Setup(model=config, **UPDATE)
  forward = Forward(config, remat="dots", chunk=CHUNK)
  results = train_step.measure(setup, forward, rounds)
  params = jax.tree.leaves(setup.shapes()[0].params)
  limit = machine.flops / (6 * sum(x.size for x in params))
  for result in results[:1]:
    sides = {"ours": [result.ours], "bound": [limit]}
    results += common.compare(result.case, result.metric, sides, "ours")
  return results


def attending(config: TransformerConfig, rounds: int) -> list[Result]:
  """Measures the platform's kernel, both passes, against XLA's blocks."""
  rows, length = ATTENTION
  keys = jax.random.split(jax.random.key(0), 3)
  heads = (config.num_heads, config.num_kv_heads, config.num_kv_heads)
  q, k, v = (
    jax.random.normal(key, (rows, length, n, config.head_dim), jnp.bfloat16)
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


def main() -> None:
  args = common.arguments(__doc__)
  if jax.default_backend() == "cpu":
    print("skipped: no accelerator here")
    return
  rounds = 2 if args.quick else 5
  machine = Machine.measure(8192, 1 << 30, "bfloat16")
  model = preset("qwen2.5-0.5b", dtype="bfloat16")
  questions: list[Callable[[], list[Result]]] = [
    lambda: attending(model, 5 * rounds),
    lambda: selection.measure(10**6, 5 * rounds),
    lambda: updating(model, machine, rounds),
    lambda: decoding(model, machine, rounds),
  ]
  results: list[Result] = []
  for question in questions:
    results += question()
    # A lent chip may be gone before the last one.
    common.report("accelerator", results, args.json)


if __name__ == "__main__":
  main()
