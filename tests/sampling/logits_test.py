"""Filters against sorting, and draws against their probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.sampling import logits as logits_lib
from jaxrl_entropy.sampling.logits import Controls

VOCABULARY = 300  # more than one block
DRAWS = 8_000


def make_controls(
  rows,
  temperature=1.0,
  top_k=0,
  top_p=1.0,
  min_p=0.0,
  uniform_top=0,
  uniform_floor=0.0,
):
  def column(value, dtype):
    return jnp.full((rows,), value, dtype)

  return Controls(
    column(temperature, jnp.float32),
    column(top_k, jnp.int32),
    column(top_p, jnp.float32),
    column(min_p, jnp.float32),
    column(uniform_top, jnp.int32),
    column(uniform_floor, jnp.float32),
    jnp.arange(rows),
  )


def make_logits(rows=1, seed=0, spread=2.0):
  random = np.random.default_rng(seed)
  return spread * random.normal(size=(rows, VOCABULARY)).astype(np.float32)


def expected_probabilities(logits, temperature, top_k, top_p, min_p):
  """By sorting, one filter after the other, in float64."""
  p = np.exp(logits.astype(np.float64) / temperature)
  p /= p.sum()
  order = np.argsort(-p)
  keep = np.zeros_like(p, bool)
  keep[order[: top_k or p.size]] = True
  p = np.where(keep, p, 0) / p[keep].sum()
  before = np.cumsum(p[order]) - p[order]
  keep = np.zeros_like(keep)
  keep[order[before < top_p]] = True
  p = np.where(keep & (p >= min_p * p.max()), p, 0)
  return p / p.sum()


SETTINGS = [
  {"temperature": 1.0},
  {"temperature": 0.6},
  {"temperature": 1.7},
  {"top_k": 5},
  {"top_p": 0.8},
  {"min_p": 0.05},
  {"temperature": 1.3, "top_k": 40, "top_p": 0.9, "min_p": 0.02},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_draws_follow_the_sampled_distribution(settings):
  full = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
  logits = make_logits()
  p = expected_probabilities(logits[0], **(full | settings))
  drawn = jax.jit(logits_lib.draw)(
    jnp.repeat(jnp.asarray(logits), DRAWS, axis=0),
    make_controls(DRAWS, **settings),
    jax.random.uniform(jax.random.key(1), (DRAWS, 2)),
  )
  counts = np.bincount(drawn.token, minlength=VOCABULARY)
  assert not counts[p == 0].any()
  np.testing.assert_allclose(drawn.logp, np.log(p[drawn.token]), atol=1e-5)
  # Pearson's chi-square over cells with enough mass, the rest as one cell.
  large = p * DRAWS > 5
  observed = np.append(counts[large], counts[~large].sum())
  expected = np.append(p[large], p[~large].sum()) * DRAWS
  observed, expected = observed[expected > 0], expected[expected > 0]
  chi_square = ((observed - expected) ** 2 / expected).sum()
  freedom = len(expected) - 1
  # Four standard deviations above the mean of the chi-square distribution.
  assert chi_square < freedom + 4 * np.sqrt(2 * freedom)


def test_raw_and_tempered_logp_and_entropy_ignore_the_filters():
  logits, uniform = (
    make_logits(8),
    jax.random.uniform(jax.random.key(0), (8, 2)),
  )
  drawn = logits_lib.draw(
    jnp.asarray(logits), make_controls(8, temperature=0.7, top_k=3), uniform
  )
  raw = np.asarray(jax.nn.log_softmax(logits))
  tempered = np.asarray(jax.nn.log_softmax(logits / np.float32(0.7)))
  np.testing.assert_allclose(
    drawn.raw_logp, raw[np.arange(8), drawn.token], atol=1e-5
  )
  np.testing.assert_allclose(
    drawn.tempered_logp, tempered[np.arange(8), drawn.token], atol=1e-5
  )
  np.testing.assert_allclose(
    drawn.entropy, -(np.exp(tempered) * tempered).sum(-1), atol=1e-5
  )


def test_temperature_zero_takes_the_first_of_the_most_likely():
  logits = make_logits(4)
  logits[1, 7] = logits[1, 290] = logits[1].max() + 1
  for share in (0.0, 0.6, 0.999):
    drawn = logits_lib.draw(
      jnp.asarray(logits),
      make_controls(4, temperature=0.0),
      jnp.full((4, 2), share),
    )
    assert drawn.token.tolist() == logits.argmax(-1).tolist()
    np.testing.assert_array_equal(drawn.logp, 0.0)
    np.testing.assert_array_equal(drawn.tempered_logp, 0.0)
    np.testing.assert_array_equal(drawn.entropy, 0.0)


def test_rows_have_their_own_controls():
  """A greedy neighbor, or a filtered one, changes nothing."""
  logits = jnp.asarray(make_logits(3))
  uniform = jax.random.uniform(jax.random.key(2), (3, 2))
  alone = logits_lib.draw(logits, make_controls(3), uniform)
  mixed = Controls(
    jnp.array([0.0, 1.0, 1.0]),
    jnp.array([0, 0, 2]),
    jnp.array([1.0, 1.0, 0.5]),
    jnp.array([0.0, 0.0, 0.1]),
    jnp.zeros(3, jnp.int32),
    jnp.zeros(3),
    jnp.zeros(3, jnp.int32),
  )
  together = logits_lib.draw(logits, mixed, uniform)
  assert together.token[1] == alone.token[1]
  np.testing.assert_allclose(together.logp[1], alone.logp[1], atol=1e-6)


def test_largest_uniform_number_still_gives_a_possible_token():
  logits = np.full((1, VOCABULARY), -np.inf, np.float32)
  logits[0, [3, 100, 101]] = [0.3, -0.2, 0.1]
  uniform = jnp.full((1, 2), np.nextafter(np.float32(1), np.float32(0)))
  drawn = logits_lib.draw(jnp.asarray(logits), make_controls(1), uniform)
  assert int(drawn.token[0]) in (3, 100, 101)
  assert np.isfinite(drawn.logp[0])


@pytest.mark.parametrize(
  "settings",
  [{"top_p": 1e-9}, {"top_p": 1e-50}, {"min_p": 1.0}, {"temperature": 1e-40}],
  ids=str,
)
def test_the_smallest_of_values_leave_the_most_likely_token(settings):
  logits = jnp.asarray(make_logits(4))
  uniform = jax.random.uniform(jax.random.key(0), (4, 2))
  drawn = logits_lib.draw(logits, make_controls(4, **settings), uniform)
  assert drawn.token.tolist() == logits.argmax(-1).tolist()
  np.testing.assert_array_equal(drawn.logp, 0.0)


def test_a_share_of_all_the_mass_excludes_nothing():
  logits = jnp.asarray(make_logits(4))
  uniform = jax.random.uniform(jax.random.key(0), (4, 2))
  free = logits_lib.draw(logits, make_controls(4), uniform)
  # The nearest number to 1 that is not 1, and one that float32 takes for 1.
  for top_p in (1 - 2**-24, 1 - 1e-12):
    drawn = logits_lib.draw(logits, make_controls(4, top_p=top_p), uniform)
    assert drawn.token.tolist() == free.token.tolist()
    np.testing.assert_allclose(drawn.logp, free.logp, atol=1e-5)


@pytest.mark.parametrize("k", [1, 2, 17, VOCABULARY, VOCABULARY + 5])
def test_top_k_keeps_k_tokens_and_ties(k):
  def kept(logits):
    top = logits.max(-1, keepdims=True)
    cutoff = logits_lib.cutoffs(logits, top, make_controls(3, top_k=k))
    return np.asarray(logits - top >= cutoff[:, None])

  logits = jnp.asarray(make_logits(3))
  assert (kept(logits).sum(-1) == min(k, VOCABULARY)).all()
  tied = jnp.round(logits)
  last = np.sort(tied, -1)[:, ::-1][:, min(k, VOCABULARY) - 1]
  assert (kept(tied) == (tied >= last[:, None])).all()


@pytest.mark.parametrize(
  ("floor", "want"), [(0.0, 5), (0.03, 3), (0.2, 1), (0.9, 5)]
)
def test_uniform_draws_among_the_likely_tokens(floor, want):
  """Tokens of probability .4, .15, .1, .02, .02, ...: three above 3 %."""
  p = np.full(VOCABULARY, 0.01 / (VOCABULARY - 20), np.float32)
  p[:20] = [0.4, 0.15, 0.1, *np.linspace(0.021, 0.019, 17)]
  rng = np.random.default_rng(0)
  order = rng.permutation(VOCABULARY)
  logits = jnp.log(jnp.asarray(p[order]))[None]
  controls = make_controls(
    DRAWS, temperature=0.7, uniform_top=5, uniform_floor=floor
  )
  drawn = jax.jit(logits_lib.draw)(
    jnp.repeat(logits, DRAWS, axis=0),
    controls,
    jax.random.uniform(jax.random.key(1), (DRAWS, 2)),
  )
  counts = np.bincount(drawn.token, minlength=VOCABULARY)[np.argsort(order)]
  assert (counts[:want] > 0).all()
  assert not counts[want:].any()
  np.testing.assert_allclose(counts[:want] / DRAWS, 1 / want, atol=0.03)
  np.testing.assert_allclose(drawn.logp, -np.log(want), atol=1e-5)


def test_uniform_draws_begin_at_their_position():
  controls = make_controls(4, uniform_top=5)  # from positions 0, 1, 2 and 3 on
  np.testing.assert_array_equal(
    controls.at(jnp.array([0, 0, 2, 5])).uniform_top, [5, 0, 5, 5]
  )
