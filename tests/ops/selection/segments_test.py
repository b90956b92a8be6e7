"""Selection within segments is a sort of each segment."""

from hypothesis import given, settings, strategies as st
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy.ops.selection import segments

SIZE, SEGMENTS = 48, 5


def case(seed, coarse):
  rng = np.random.default_rng(seed)
  keys = rng.integers(0, 4 if coarse else 2**32, SIZE, dtype=np.uint64)
  return (
    keys.astype(np.uint32),
    rng.permutation(SIZE).astype(np.uint32),
    rng.random(SIZE) < 0.8,
    rng.integers(0, SEGMENTS, SIZE).astype(np.int32),
    rng.integers(0, SIZE // 3, SEGMENTS).astype(np.uint32),
  )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), coarse=st.booleans())
def test_the_smallest_of_each_segment(seed, coarse):
  keys, identity, candidates, where, counts = case(seed, coarse)
  expected = np.zeros(SIZE, bool)
  for segment in range(SEGMENTS):
    index = np.flatnonzero(candidates & (where == segment))
    order = index[np.lexsort((identity[index], keys[index]))]
    expected[order[: counts[segment]]] = True
  chosen = segments.smallest(
    *map(jnp.asarray, (keys, identity, candidates, where, counts))
  )
  np.testing.assert_array_equal(chosen, expected)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), coarse=st.booleans())
def test_the_key_of_a_rank(seed, coarse):
  keys, _, candidates, where, counts = case(seed, coarse)
  found = segments.kth_smallest(
    *map(jnp.asarray, (keys, candidates, where, counts))
  )
  for segment in range(SEGMENTS):
    ordered = np.sort(keys[candidates & (where == segment)])
    if counts[segment] and ordered.size:
      rank = min(counts[segment], ordered.size)
      assert found[segment] == ordered[rank - 1]


def test_counts_are_those_of_the_mask():
  _, _, candidates, where, _ = case(0, False)
  counts = segments.count(jnp.asarray(candidates), jnp.asarray(where), SEGMENTS)
  np.testing.assert_array_equal(
    counts, np.bincount(where[candidates], minlength=SEGMENTS)
  )
