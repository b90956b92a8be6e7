import functools

from hypothesis import HealthCheck, given, settings, strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.ops.selection import radix

SIZE = 64
MANY_TIES = np.float32([-np.inf, -1.5, -0.0, 0.0, 1e-40, 1.5, np.inf, np.nan])


def test_keys_are_in_the_order_of_floats():
  rng = np.random.default_rng(0)
  bits = rng.integers(0, 2**32, 1000, dtype=np.uint32)
  x = np.concatenate([bits.view(np.float32), MANY_TIES])
  x = x[np.abs(np.nan_to_num(x, nan=1.0)) >= np.finfo(np.float32).tiny]
  keys = np.asarray(radix.ascending_bits(jnp.asarray(x)))
  order = np.argsort(keys, kind="stable")
  np.testing.assert_array_equal(x[order], np.sort(x))


def test_zeros_of_either_sign_are_equal_and_nan_is_last():
  x = jnp.float32([-0.0, 0.0, np.inf, np.nan, -np.nan])
  keys = np.asarray(jax.jit(radix.ascending_bits)(x))
  assert keys[0] == keys[1]
  assert keys[2] < keys[3] == keys[4] == 2**32 - 1


def test_keys_spell_their_numbers():
  x = jnp.float32([-np.inf, -2.5, 0.0, 1e-30, 7.0, np.inf])
  keys = radix.ascending_bits(x)
  np.testing.assert_array_equal(radix.from_ascending_bits(keys), x)


@functools.cache
def _jitted(digits):
  del digits  # read when the function is traced
  return jax.jit(lambda *args: radix.smallest.__wrapped__(*args))


@pytest.mark.parametrize(
  "digits", [radix._SCATTER_DIGITS, radix._COMPARE_DIGITS]
)
@settings(
  max_examples=50,
  deadline=None,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
  keys=st.lists(
    st.integers(0, 2**32 - 1) | st.integers(0, 3),
    min_size=SIZE,
    max_size=SIZE,
  ),
  seed=st.integers(0, 2**31 - 1),
  count=st.integers(0, SIZE + 3),
)
def test_picks_what_a_full_sort_picks(digits, keys, seed, count, monkeypatch):
  monkeypatch.setattr(radix, "_digits", lambda: digits)
  rng = np.random.default_rng(seed)
  keys = np.array(keys, np.uint32)
  identity = rng.permutation(SIZE).astype(np.uint32)
  candidates = rng.random(SIZE) < 0.8
  chosen = _jitted(digits)(keys, identity, candidates, np.uint32(count))
  order = np.lexsort((identity, keys))
  order = order[candidates[order]][:count]
  np.testing.assert_array_equal(np.flatnonzero(chosen), np.sort(order))


def test_kth_smallest_is_that_of_the_sorted_candidates_or_the_last():
  rng = np.random.default_rng(3)
  keys = rng.integers(0, 2**32, 200, dtype=np.uint32)
  candidates = rng.random(200) < 0.5
  count = candidates.sum()
  for rank in (1, 7, count, count + 5):
    ours = radix.kth_smallest(
      jnp.asarray(keys), jnp.asarray(candidates), jnp.uint32(rank)
    )
    assert ours == np.sort(keys[candidates])[min(rank, count) - 1]


def test_mixed_numbers_are_distinct_and_uniform():
  key = jax.random.key(5)
  mixed = np.asarray(radix.mix(key, jnp.arange(2**16, dtype=jnp.uint32)))
  assert len(np.unique(mixed)) == len(mixed)
  counts = np.bincount(mixed >> 24, minlength=256)
  chi_square = ((counts - 256) ** 2 / 256).sum()
  assert 160 < chi_square < 370  # 255 degrees of freedom: 1e-6 either side
  other = np.asarray(
    radix.mix(jax.random.key(6), jnp.arange(2**16, dtype=jnp.uint32))
  )
  assert (mixed == other).mean() < 1e-3
