import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import losses
from tests.losses import batches

KEY = jax.random.key(7)


def pick(selector, batch=None, key=KEY, clipped=None):
  """The chosen tokens and the metrics of a selector."""
  batch = jax.tree.map(jnp.asarray, batches.make() if batch is None else batch)
  grid = jnp.zeros(batch.mask.shape)
  clipped = jnp.zeros(batch.mask.shape, bool) if clipped is None else clipped
  picked = selector(losses.TokenLoss(grid, grid, clipped, {}), batch, key)
  metrics = {k: float(v.compute()) for k, v in picked.metrics.items()}
  return np.asarray(picked.chosen & batch.mask), metrics


def covariance(batch):
  logp, advantages = batch.logp[batch.mask], batch.advantages[batch.mask]
  scores = (batch.logp - logp.mean()) * (batch.advantages - advantages.mean())
  return np.where(batch.mask, scores, -np.inf)


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.3, 1.0])
def test_top_covariance_is_the_head_of_a_full_sort(fraction):
  batch = batches.make()
  chosen, metrics = pick(losses.top_covariance(fraction), batch)
  scores, count = covariance(batch), int(fraction * batch.mask.sum())
  order = np.argsort(-scores, axis=None, kind="stable")[:count]
  np.testing.assert_array_equal(np.flatnonzero(chosen), np.sort(order))
  if count:
    mean = scores[chosen].mean()
    np.testing.assert_allclose(metrics["score"], mean, rtol=1e-4)


def test_ties_go_to_the_first_tokens_of_the_first_responses():
  batch = batches.make()
  response, position = np.meshgrid([3, 1, 2, 0], [2, 0, 1], indexing="ij")
  blank = np.zeros((4, 3), np.float32)
  batch = batch.replace(
    **{k: blank for k, v in batches.fields(batch).items()},
  ).replace(
    mask=np.ones((4, 3), bool),
    response=response.astype(np.int32),
    position=position.astype(np.int32),
  )

  def score(batch):
    return jnp.ones(batch.mask.shape)

  chosen, _ = pick(losses.top_fraction(score, 5 / 12), batch)
  assert batches.tokens(batch, chosen) == {
    (0, 0),
    (0, 1),
    (0, 2),
    (1, 0),
    (1, 1),
  }


def test_quota_floor_and_off():
  batch = batches.make()
  for make in (
    losses.top_covariance,
    lambda f, **more: losses.random_covariance(f, -99.0, 99.0, **more),
  ):
    assert pick(make(1e-3), batch)[0].sum() == 0
    assert pick(make(1e-3, min_tokens=1), batch)[0].sum() == 1
    assert pick(make(0.0, min_tokens=1), batch)[0].sum() == 0
    assert pick(make(1.0), batch)[0].sum() == batch.mask.sum()


def test_equal_advantages_select_nothing():
  batch = batches.make()
  batch = batch.replace(advantages=np.full_like(batch.logp, 0.1))
  for rule in (
    losses.top_covariance(0.5, min_tokens=1),
    losses.random_covariance(0.5, 1e-9, 5.0),
  ):
    assert not pick(rule, batch)[0].any()


def test_nan_scores_come_last_and_are_reported():
  batch = batches.make()
  logp = batch.logp.copy()
  bad = np.unravel_index(np.flatnonzero(batch.mask)[:4], logp.shape)
  logp[bad] = np.nan
  batch = batch.replace(logp=logp)
  chosen, metrics = pick(losses.top_covariance(0.5), batch)
  assert metrics["nan"] == 4
  assert chosen.sum() == int(0.5 * batch.mask.sum())
  assert not chosen[bad].any()
  assert pick(losses.top_covariance(1.0), batch)[0][bad].all()


def test_band_without_enough_candidates_takes_them_all():
  batch = batches.make()
  scores = covariance(batch)
  chosen, metrics = pick(losses.random_covariance(0.9, 0.2, 2.0), batch)
  inside = (scores > 0.2) & (scores < 2.0)
  np.testing.assert_array_equal(chosen, inside)
  assert metrics["candidates"] == inside.sum()
  none, metrics = pick(losses.random_covariance(0.9, 50.0, 60.0), batch)
  assert not none.any()
  assert metrics["candidates"] == 0


def test_bounds_are_strict_or_closed():
  batch = batches.make(masked=0.0)
  values = np.resize(np.float32([0.5, 1.0, 3.0, 5.0, 7.0]), batch.mask.shape)

  def score(batch):
    del batch
    return jnp.asarray(values)

  strict, _ = pick(losses.random_band(score, 1.0, 1.0, 5.0), batch)
  closed, _ = pick(losses.random_band(score, 1.0, 1.0, 5.0, closed=True), batch)
  np.testing.assert_array_equal(strict, values == 3)
  np.testing.assert_array_equal(closed, (values >= 1) & (values <= 5))


def test_ratio_clipped_tokens_are_no_candidates():
  clipped = jnp.asarray(np.random.default_rng(0).random((8, 12)) < 0.5)
  rule = losses.random_covariance(1.0, -99.0, 99.0)
  assert not (pick(rule, clipped=clipped)[0] & clipped).any()
  rule = losses.random_covariance(1.0, -99.0, 99.0, skip_clipped=False)
  np.testing.assert_array_equal(
    pick(rule, clipped=clipped)[0], batches.make().mask
  )


def test_the_draw_is_uniform_without_replacement():
  batch = batches.make()
  device = batches.on_device(batch)
  rule = losses.random_covariance(0.1, -99.0, 99.0)
  quota, valid = int(0.1 * batch.mask.sum()), batch.mask.sum()

  @jax.jit
  @jax.vmap
  def draw(key):
    loss = losses.TokenLoss(
      jnp.zeros((8, 12)), jnp.zeros((8, 12)), jnp.zeros((8, 12), bool), {}
    )
    return rule(loss, device, key).chosen

  draws = np.asarray(draw(jax.random.split(KEY, 4000)))
  assert (draws.sum((1, 2)) == quota).all()
  counts = draws.sum(0)[batch.mask]
  expected = 4000 * quota / valid
  # Without replacement the variance of a count is smaller by (1 - share).
  chi_square = ((counts - expected) ** 2).sum() / expected
  chi_square *= (valid - 1) / valid / (1 - quota / valid)
  freedom = valid - 1
  assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)
  pairs = (draws[:-1] & draws[1:])[:, batch.mask].sum()
  assert abs(pairs / (3999 * quota) - quota / valid) < 0.01


def test_pi_advantage_centering_weighs_advantages_by_probability():
  batch = batches.on_device(batches.make())
  ours = losses.covariance_score(centering="pi_advantage")(batch)
  weighted = batch.replace(advantages=jnp.exp(batch.logp) * batch.advantages)
  theirs = losses.covariance_score()(weighted)
  np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
  one, _ = pick(losses.top_covariance(0.3, centering="pi_advantage"), batch)
  two, _ = pick(losses.top_covariance(0.3), batch)
  assert (one != two).any()


def test_old_log_probs_are_an_option():
  batch = batches.make(drift=1.0)
  old, _ = pick(losses.top_covariance(0.3, logprob="old"), batch)
  moved = batch.replace(logp=batch.old_logp)
  np.testing.assert_array_equal(old, pick(losses.top_covariance(0.3), moved)[0])


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.5, 1.0])
def test_top_entropy_reaches_the_quantile(fraction):
  batch = batches.make()
  chosen, _ = pick(losses.top_entropy(fraction), batch)
  cut = np.quantile(np.float64(batch.entropy[batch.mask]), 1 - fraction)
  np.testing.assert_array_equal(
    chosen, batch.mask & (batch.entropy >= cut - 1e-7)
  )


@pytest.mark.parametrize("within", ["response", "group"])
@pytest.mark.parametrize("fraction", [0.0, 0.2, 1.0])
def test_a_quantile_within_a_segment(within, fraction):
  batch = batches.make()
  chosen, _ = pick(losses.top_entropy(fraction, within=within), batch)
  for index in range(batches.RESPONSES):
    inside = batch.mask & (getattr(batch, within) == index)
    if not inside.any():
      continue
    cut = np.quantile(np.float64(batch.entropy[inside]), 1 - fraction)
    np.testing.assert_array_equal(
      chosen[inside], batch.entropy[inside] >= cut - 1e-7
    )


@pytest.mark.parametrize("within", ["response", "group"])
def test_a_quota_within_a_segment_among_some_tokens(within):
  batch = batches.make(masked=0.1)
  low = losses.complement(losses.top_entropy(0.3))
  rule = losses.top_fraction(
    losses.certainty_score, 0.4, within=within, among=low
  )
  chosen, _ = pick(rule, batch)
  among, _ = pick(low, batch)
  for index in range(batches.RESPONSES):
    inside = among & (getattr(batch, within) == index)
    order = np.sort(batch.entropy[inside])[: int(0.4 * inside.sum())]
    picked = chosen & (getattr(batch, within) == index)
    np.testing.assert_array_equal(np.sort(batch.entropy[picked]), order)


def test_too_many_token_numbers_are_refused():
  batch = batches.make().replace(num_responses=2**20, max_length=2**13)
  with pytest.raises(ValueError, match="exceed 2\\^32"):
    pick(losses.top_covariance(0.1), batch)


def test_random_as_many_draws_the_other_rule_s_number_from_the_pool():
  batch = batches.make()
  rule = losses.top_covariance(0.1)
  count = pick(rule, batch)[0].sum()
  assert count > 1
  pools = (None, losses.rewarded_tokens(), losses.top_entropy(0.3))
  for pool in pools:
    inside = batch.mask if pool is None else pick(pool, batch)[0]
    selector = losses.random_as_many(rule, pool)
    chosen, metrics = pick(selector, batch)
    assert chosen.sum() == count
    assert not (chosen & ~inside).any()
    assert metrics["candidates"] == inside.sum()
    other, _ = pick(selector, batch, jax.random.key(1))
    assert (other != chosen).any()


def test_random_as_many_takes_the_whole_of_a_small_pool():
  few = losses.top_entropy(0.02)
  chosen, _ = pick(losses.random_as_many(losses.top_covariance(0.5), few))
  np.testing.assert_array_equal(chosen, pick(few)[0])
