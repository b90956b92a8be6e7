import functools

import jax
import numpy as np

from benchmarks import context
from jaxrl_entropy import sharding
from jaxrl_entropy.ops import attention
from tests import devices
from tests.ops.attention.dispatch_test import make_inputs


def _ring_on_split_rows():
  context.BLOCK = 4
  inputs = make_inputs(length=32, heads=4, kv_heads=2, dim=8)
  with (
    jax.set_mesh(sharding.make_mesh(fsdp=2, context=4)),
    jax.numpy_rank_promotion("allow"),
    jax.numpy_dtype_promotion("standard"),
  ):
    return jax.jit(context.ring)(*inputs)


def test_the_ring_is_the_same_attention():
  inputs = make_inputs(length=32, heads=4, kv_heads=2, dim=8)
  want = functools.partial(attention.attend, backend="xla")(*inputs)
  got = devices.run(_ring_on_split_rows)
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
