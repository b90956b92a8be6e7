"""What the collectives of a program add up to, and what is wrong with them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
import math
from typing import Any

import jax

from jaxrl_entropy.planning.hlo import Collective
from jaxrl_entropy.planning.programs import Program

REDUCTIONS = ("all-reduce", "reduce-scatter")
# A reduction of the whole gradient sends this often its own bytes, at most:
# twice for an all-reduce, with room for what is not sharded.
GRADIENT_SHARE = 2.5


def summary(collectives: Iterable[Collective]) -> list[dict[str, Any]]:
  """Executions and bytes sent by a device, for each kind and axes."""
  counts: dict[tuple, int] = defaultdict(int)
  sent: dict[tuple, float] = defaultdict(float)
  for one in collectives:
    counts[one.kind, one.axes] += one.count
    sent[one.kind, one.axes] += one.total
  return [
    {"kind": kind, "axes": axes, "count": counts[kind, axes], "bytes": total}
    for (kind, axes), total in sorted(sent.items(), key=lambda x: -x[1])
  ]


def warnings(
  collectives: Sequence[Collective], program: Program, mesh: Mapping[str, int]
) -> list[str]:
  """What a program should not do, in words.

  Args:
    collectives: of the compiled program.
    program: what was compiled.
    mesh: size of each mesh axis.
  """
  found = [
    *_repeated_head(collectives, program.weights),
    *_repeated_gradient(collectives, program.weights, mesh),
  ]
  gathers = [
    c
    for c in collectives
    if c.kind == "all-gather" and math.prod(c.shape) == program.tokens
  ]
  if gathers:
    found.append(
      f"{len(gathers)} all-gathers of one value a token ({program.tokens}): "
      f"something sorts or indexes all tokens, in {gathers[0].source}"
    )
  return found


def _repeated_head(
  collectives: Iterable[Collective], params: Any
) -> Iterable[str]:
  """The head's gradient, reduced in a loop over chunks of tokens."""
  widths = {params["embed"]["embedding"].shape[0]}
  widths |= {_local(params["embed"]["embedding"])}
  for one in collectives:
    reduced = one.kind in REDUCTIONS and one.count > 1 and len(one.shape) == 2
    if reduced and widths & set(one.shape):
      yield (
        f"a gradient of the LM head, {one.shape}, is reduced {one.count} times "
        f"over {'+'.join(one.axes)}: reduce it once, after the loop"
      )


def _local(embedding: jax.ShapeDtypeStruct) -> int:
  return embedding.sharding.shard_shape(embedding.shape)[0]


def _repeated_gradient(
  collectives: Iterable[Collective], params: Any, mesh: Mapping[str, int]
) -> Iterable[str]:
  """Gradients reduced once a micro-batch."""
  rows = {"data", "fsdp", "context"}
  sent = sum(
    c.total for c in collectives if c.kind in REDUCTIONS and rows & set(c.axes)
  )
  # Before the reduction a device holds the gradient of all that is split over
  # the tensor axis alone.
  gradient = sum(x.size * 4 for x in jax.tree.leaves(params)) / mesh["tensor"]
  if sent > GRADIENT_SHARE * gradient:
    yield (
      "reductions over data, fsdp and context send "
      f"{sent / gradient:.1f} times the bytes of the gradient: it is reduced "
      "in the loop over micro-batches"
    )
