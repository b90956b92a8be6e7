from hypothesis import given, settings, strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.ops.selection import quota


@settings(max_examples=60, deadline=None)
@given(
  ratio=st.one_of(
    st.floats(0.0, 1.0),
    st.fractions(0, 1, max_denominator=10**6).map(float),
    st.sampled_from([2e-4, 2e-3, 0.29, 0.7, 1 / 3, 1 - 2**-53, 5e-324]),
  ),
  seed=st.integers(0, 2**31 - 1),
)
def test_is_the_integer_part_of_the_double_product(ratio, seed):
  rng = np.random.default_rng(seed)
  counts = np.concatenate(
    [rng.integers(0, 1000, 20), rng.integers(0, 2**32, 20), [0, 1, 2**32 - 1]]
  ).astype(np.uint32)
  ours = jax.vmap(lambda n: quota.floor_share(ratio, n))(jnp.asarray(counts))
  assert np.asarray(ours).tolist() == [int(ratio * int(n)) for n in counts]


def test_a_traced_ratio_is_a_float32_product():
  share = jax.jit(quota.floor_share)
  assert share(jnp.float32(0.25), jnp.uint32(1000)) == 250
  assert share(jnp.float32(0.0), jnp.uint32(1000)) == 0
  assert share(jnp.float32(2.0), jnp.uint32(1000)) == 1000


def test_refuses_a_negative_ratio():
  with pytest.raises(ValueError, match="at least 0"):
    quota.floor_share(-0.1, jnp.uint32(1))
