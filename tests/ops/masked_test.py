from hypothesis import given, settings, strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.ops import masked

SHAPE = (6, 10)


def draw(seed=0):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=SHAPE).astype(np.float32)
  mask = rng.random(SHAPE) < 0.6
  return x, mask


@pytest.mark.parametrize("junk", [np.nan, np.inf, 0.0])
@pytest.mark.parametrize(
  ("ours", "theirs"),
  [
    (masked.masked_sum, np.sum),
    (masked.masked_mean, np.mean),
    (masked.masked_std, lambda x: np.std(x, ddof=1)),
    (masked.exact_mean, np.mean),
  ],
)
def test_reduces_the_valid_alone(ours, theirs, junk):
  x, mask = draw()
  padded = jnp.asarray(np.where(mask, x, np.float32(junk)))
  np.testing.assert_allclose(
    ours(padded, jnp.asarray(mask)), theirs(x[mask]), rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize(
  "reduce",
  [masked.masked_sum, masked.masked_mean, masked.masked_std, masked.exact_mean],
)
def test_nothing_valid_gives_zero(reduce):
  x = jnp.full(SHAPE, jnp.nan)
  assert reduce(x, jnp.zeros(SHAPE, bool)) == 0


@pytest.mark.parametrize(
  "reduce", [masked.masked_sum, masked.masked_mean, masked.masked_std]
)
def test_no_gradient_comes_from_padding(reduce):
  x, mask = draw()
  x = jnp.asarray(np.where(mask, x, np.float32(np.nan)))
  gradient = np.asarray(jax.grad(reduce)(x, jnp.asarray(mask)))
  assert (gradient[~mask] == 0).all()
  assert np.isfinite(gradient).all()


def test_segment_sum_adds_the_tokens_of_each_response():
  x, _ = draw()
  response = np.random.default_rng(1).integers(0, 4, SHAPE).astype(np.int32)
  ours = masked.segment_sum(jnp.asarray(x), jnp.asarray(response), 5)
  theirs = np.bincount(response.ravel(), x.ravel(), minlength=5)
  np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_segment_sum_leaves_unknown_responses_out():
  x = jnp.ones((1, 3))
  response = jnp.array([[-1, 0, 7]], jnp.int32)
  assert masked.segment_sum(x, response, 2).tolist() == [1.0, 0.0]


_mean = jax.jit(masked.exact_mean)


@settings(max_examples=100, deadline=None)
@given(
  values=st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=60),
  seed=st.integers(0, 2**31 - 1),
)
def test_exact_mean_depends_on_no_order(values, seed):
  rng = np.random.default_rng(seed)

  def laid_out():
    grid = np.full(60, np.nan, np.float32)
    places = rng.permutation(60)[: len(values)]
    grid[places] = values
    return _mean(grid.reshape(SHAPE), ~np.isnan(grid).reshape(SHAPE))

  first = laid_out()
  assert laid_out() == first == laid_out()
  spread = max(values) - min(values)
  bound = spread * 2.0**-22 + abs(np.mean(values)) * 2.0**-22
  bound += np.finfo(np.float32).tiny  # Smaller numbers count as 0.
  assert abs(first - np.mean(np.float64(values))) <= bound


@pytest.mark.parametrize("value", [0.1, -1e-30, 3e30, 1 / 3])
def test_exact_mean_of_a_constant_is_that_constant(value):
  x = jnp.full(SHAPE, value, jnp.float32)
  mask = jnp.asarray(draw()[1])
  assert masked.exact_mean(x, mask) == jnp.float32(value)


def test_exact_mean_passes_over_infinities():
  x = jnp.float32([[1.0, -jnp.inf, 3.0, jnp.nan]])
  assert masked.exact_mean(x, jnp.ones_like(x, bool)) == 2.0
