"""PRIME's reward model maths."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy.advantages import implicit_reward

MASK = jnp.asarray(np.arange(5) < np.array([5, 3, 1, 0])[:, None])


def ratios(seed=0):
  return jax.random.normal(jax.random.key(seed), MASK.shape)


def test_rewards_are_beta_log_ratios_but_for_the_last_token():
  q = ratios()
  got = implicit_reward.implicit_rewards(q, MASK, beta=0.3)
  kept = np.array(MASK)
  kept[0, 4] = kept[1, 2] = kept[2, 0] = False
  np.testing.assert_allclose(got, np.where(kept, 0.3 * q, 0.0), rtol=1e-6)


def test_lambda_lets_earlier_tokens_see_later_ones():
  q = ratios()
  got = implicit_reward.implicit_rewards(q, MASK, beta=1.0, lam=0.5)
  expected = q[1, 1] + 0.5 * q[1, 2]
  np.testing.assert_allclose(got[1, 1], expected, rtol=1e-6)
  np.testing.assert_allclose(got[1, 0], q[1, 0] + 0.5 * expected, rtol=1e-6)


def test_accuracy_makes_the_sum_right():
  accuracy = jnp.asarray([1.0, 0.0, 1.0, 0.0])
  got = implicit_reward.implicit_rewards(
    ratios(), MASK, beta=1.0, lam=1.0, accuracy=accuracy
  )
  # With lam = 1 the first token sees the whole sum.
  np.testing.assert_allclose(got[:2, 0], accuracy[:2], atol=1e-6)


def test_nan_in_padding_stays_there():
  q = jnp.where(MASK, ratios(), jnp.nan)
  got = implicit_reward.implicit_rewards(q, MASK, lam=0.9)
  assert np.isfinite(got).all()


def test_normalised_rewards_to_go_are_at_most_one():
  scaled = implicit_reward.normalize(
    implicit_reward.implicit_rewards(100 * ratios(), MASK)
  )
  to_go = jnp.abs(jnp.cumsum(scaled[:, ::-1], axis=1))
  np.testing.assert_allclose(to_go.max(), 1.0, rtol=1e-5)


def test_cross_entropy_is_least_where_the_prediction_is_right():
  score = jnp.linspace(-4, 4, 81)
  for accuracy in (0.25, 0.5, 0.9):
    losses = implicit_reward.cross_entropy(score, jnp.full(81, accuracy))
    best = jax.nn.sigmoid(score[jnp.argmin(losses)])
    np.testing.assert_allclose(best, accuracy, atol=0.02)
  far = implicit_reward.cross_entropy(jnp.asarray([1e4]), jnp.asarray([0.0]))
  np.testing.assert_allclose(far, 1e4)


def test_pairwise_compares_with_the_opposed_responses_only():
  others = jnp.asarray([[0.5, 0.1, -0.3]] * 3)
  accuracies = jnp.asarray([[1.0, 0.0, 0.0]] * 3)
  score = others[0]
  rival = implicit_reward.rival_score(accuracies[0], others, accuracies)
  got = implicit_reward.pairwise(score, accuracies[0], rival)
  leads = [0.5 - (0.1 - 0.3) / 2, 0.5 - 0.1, 0.5 + 0.3]
  np.testing.assert_allclose(got, np.log1p(np.exp(-np.array(leads))), rtol=1e-5)


def test_pairwise_without_an_opposed_response_compares_with_zero():
  ones = jnp.ones((2, 2))
  rival = implicit_reward.rival_score(ones[0], ones, ones)
  got = implicit_reward.pairwise(jnp.asarray([2.0, 2.0]), ones[0], rival)
  np.testing.assert_allclose(got, np.log1p(np.exp(-2.0)), rtol=1e-6)


def test_best_of_n_weight_of_the_best_and_the_worst():
  others = jnp.asarray([[0.0, 1.0, 2.0, 3.0]] * 2)
  got = implicit_reward.best_of_n_weight(jnp.asarray([3.0, 0.0]), others)
  np.testing.assert_allclose(got, [4.0, 4 * 0.25**3])


def test_pair_accuracy_counts_pairs_of_a_group():
  accuracy = jnp.asarray([1.0, 0.0, 0.0, 1.0, 1.0])
  score = jnp.asarray([0.5, 0.9, 0.1, 3.0, 2.0])
  groups = jnp.asarray([0, 0, 0, 1, 1])
  # Group 0: one of two pairs; group 1: no difference, 0.5.
  got = implicit_reward.pair_accuracy(score, accuracy, groups)
  np.testing.assert_allclose(got, 0.5)
  better = implicit_reward.pair_accuracy(accuracy, accuracy, groups)
  np.testing.assert_allclose(better, 0.75)


def test_pairs_of_one_score_agree_by_half_in_any_order():
  accuracy = jnp.asarray([1.0, 0.0, 0.0])
  groups = jnp.zeros(3, jnp.int32)
  for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
    got = implicit_reward.pair_accuracy(
      jnp.zeros(3), accuracy[jnp.asarray(order)], groups
    )
    np.testing.assert_allclose(got, 0.5)
