import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec as P
import pytest

from jaxrl_entropy.planning import traffic
from jaxrl_entropy.planning.hlo import Collective
from jaxrl_entropy.planning.programs import Program

SIZES = {"data": 1, "fsdp": 4, "tensor": 2, "context": 1}
MESH = AbstractMesh(tuple(SIZES.values()), tuple(SIZES))
EMBEDDING = jax.ShapeDtypeStruct(
  (64, 8), jnp.float32, sharding=NamedSharding(MESH, P("tensor", "fsdp"))
)
WEIGHTS = {"embed": {"embedding": EMBEDDING}}
GRADIENT = 64 * 8 * 4 / 2  # bytes on a device before the reduction


def _program(slices=1):
  return Program(
    lambda: None, (), {}, WEIGHTS, tokens=96, steps=1, slices=slices
  )


def _collective(kind, shape, sent=1.0, count=1, axes=("fsdp",)):
  return Collective(kind, axes, shape, sent, count, "source")


def test_summary_adds_up_and_sorts():
  found = traffic.summary(
    [
      _collective("all-reduce", (4,), 10.0, count=2),
      _collective("all-reduce", (8,), 1.0, count=5),
      _collective("all-gather", (8,), 100.0),
    ]
  )
  assert found == [
    {"kind": "all-gather", "axes": ("fsdp",), "count": 1, "bytes": 100.0},
    {"kind": "all-reduce", "axes": ("fsdp",), "count": 7, "bytes": 25.0},
  ]


@pytest.mark.parametrize(
  ("one", "slices", "warning"),
  [
    (_collective("reduce-scatter", (2, 32), count=8), 1, "LM head"),
    (_collective("all-reduce", (8, 64), count=4), 4, "LM head"),
    (_collective("reduce-scatter", (2, 32), count=1), 4, None),
    (_collective("all-gather", (8, 32), count=8), 1, None),
    # The gradient of the embedding.
    (_collective("all-reduce", (32, 8), count=4), 4, None),
    (_collective("all-reduce", (9,), GRADIENT, count=4), 4, "4.0 times"),
    (_collective("all-reduce", (9,), GRADIENT, count=2), 1, None),
    (
      _collective("all-reduce", (9,), GRADIENT, count=9, axes=("tensor",)),
      1,
      None,
    ),
    (_collective("all-gather", (4, 24)), 1, "one value a token"),
    (_collective("all-gather", (4, 25)), 1, None),
    (_collective("all-gather", (4, 24), axes=("expert",)), 1, None),
  ],
)
def test_warnings(one, slices, warning):
  found = traffic.warnings([one], _program(slices), SIZES)
  if warning is None:
    assert found == []
  else:
    (text,) = found
    assert warning in text
