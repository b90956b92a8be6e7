"""Totals of a program's collectives, and warnings about wasteful ones."""

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
  """Executions and bytes sent by a device, for each kind and axes.

  Args:
    collectives: of one program, as its HLO has them.

  Returns:
    Mappings of `kind`, `axes`, `count` and `bytes`, the most bytes first.
  """
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
  """Returns warnings about wasteful collectives of a program.

  Args:
    collectives: of the compiled program.
    program: what was compiled.
    mesh: size of each mesh axis.
  """
  texts = [
    *_repeated_head(collectives, program),
    *_repeated_gradient(collectives, program, mesh),
  ]
  gathers = [
    c
    for c in collectives
    if c.kind == "all-gather"
    and math.prod(c.shape) == program.tokens
    # Tokens that meet the experts of other devices are gathered in any case.
    and c.axes != ("expert",)
  ]
  if gathers:
    texts.append(
      f"{len(gathers)} all-gathers of one value a token ({program.tokens}): "
      f"something sorts or indexes all tokens, in {gathers[0].source}"
    )
  return texts


def _repeated_head(
  collectives: Iterable[Collective], program: Program
) -> Iterable[str]:
  """Returns a warning if the head's gradient, [D, V], is reduced repeatedly."""
  embedding = program.weights["embed"]["embedding"]
  local = embedding.sharding.shard_shape(embedding.shape)
  vocabulary = {embedding.shape[0], local[0]}
  for one in collectives:
    repeated = one.kind in REDUCTIONS and one.count > 1
    # The embedding's gradient, [V, D], is another matter.
    if repeated and len(one.shape) == 2 and one.shape[-1] in vocabulary:
      yield (
        f"a gradient of the LM head, {one.shape}, is reduced {one.count} times "
        f"over {'+'.join(one.axes)}: reduce it once, after the loops over "
        "micro-batches and chunks of tokens"
      )


def _repeated_gradient(
  collectives: Iterable[Collective], program: Program, mesh: Mapping[str, int]
) -> Iterable[str]:
  """Gradients reduced once a micro-batch."""
  rows = {"data", "fsdp", "context"}
  sent = sum(
    c.total for c in collectives if c.kind in REDUCTIONS and rows & set(c.axes)
  )
  # Before the reduction a device holds the gradient of all that is split over
  # the tensor axis alone.
  elements = sum(x.size for x in jax.tree.leaves(program.weights))
  gradient = 4 * elements / mesh["tensor"]
  if sent > GRADIENT_SHARE * gradient:
    yield (
      "reductions over data, fsdp and context send "
      f"{sent / gradient:.1f} times the bytes of the gradient: it is reduced "
      f"in the loop over {program.slices} micro-batches; fewer of them send "
      "less"
    )
