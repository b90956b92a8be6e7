"""Weights by entropy of tokens and responses, against NumPy."""

import numpy as np

from jaxrl_entropy import losses
from tests.losses.gradients import random_batch, weights_of


def valid_of(batch, weights):
  return np.asarray(weights)[np.asarray(batch.mask)]


def response_entropies(batch):
  """Mean entropy of each row, float64."""
  mask = np.asarray(batch.mask)
  total = np.where(mask, np.asarray(batch.entropy, np.float64), 0).sum(1)
  return total / mask.sum(1)


def test_entropy_advantage_adds_a_bounded_bonus():
  """A' = A + min(alpha H, |A| / kappa), and never another sign."""
  batch = random_batch()
  weights = weights_of(losses.scale_by_entropy_advantage(0.4, 2.0), batch)
  advantage = np.asarray(batch.advantages, np.float64)
  entropy = np.asarray(batch.entropy, np.float64)
  shaped = advantage + np.minimum(0.4 * entropy, np.abs(advantage) / 2.0)
  got = valid_of(batch, weights * advantage)
  np.testing.assert_allclose(got, valid_of(batch, shaped), rtol=1e-4)
  assert (np.sign(got) == np.sign(valid_of(batch, advantage))).all()


def test_an_advantage_of_zero_stays_zero():
  batch = random_batch()
  batch = batch.replace(advantages=0.0 * batch.advantages)
  objective = losses.objective(
    losses.policy_gradient(),
    losses.scale_by_entropy_advantage(),
    aggregate="token_mean",
  )
  from tests.losses.gradients import value_and_grad

  value, gradient = value_and_grad(objective, batch)
  assert value == 0
  assert (gradient == 0).all()


def test_eda_weighs_by_the_mean_entropy_over_the_response_s():
  batch = random_batch()
  own = response_entropies(batch)
  expected = np.broadcast_to((own.mean() / own)[:, None], batch.mask.shape)
  weights = weights_of(losses.confident_response_weight(), batch)
  np.testing.assert_allclose(
    valid_of(batch, weights), valid_of(batch, expected), rtol=1e-4
  )


def test_aem_weighs_by_scaled_entropy_within_the_group():
  batch = random_batch()
  own, groups = response_entropies(batch), np.asarray(batch.group)[:, 0]
  expected = np.empty_like(own)
  for group in np.unique(groups):
    h = own[groups == group]
    scaled = (h - h.min()) / (np.ptp(h) or 1.0)
    raw = np.exp(-1.5 * scaled)
    expected[groups == group] = raw / raw.mean()
  weights = weights_of(losses.uncertain_response_weight(1.5), batch)
  spread = np.broadcast_to(expected[:, None], batch.mask.shape)
  np.testing.assert_allclose(
    valid_of(batch, weights), valid_of(batch, spread), rtol=1e-4
  )


def test_aem_leaves_equal_responses_alone():
  batch = random_batch()
  batch = batch.replace(entropy=0.0 * batch.entropy + 0.5)
  weights = weights_of(losses.uncertain_response_weight(1.5), batch)
  np.testing.assert_allclose(valid_of(batch, weights), 1.0, rtol=1e-5)
