"""Entropy-aware token weights: what they claim, and that they act."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import losses
from jaxrl_entropy.losses import weighting
from tests.losses import gradients
from tests.losses.gradients import KEY, objective, random_batch, value_and_grad

WEIGHTS = {
  "covariance_kernel": weighting.covariance_kernel(),
  "balance_entropy_flow": weighting.balance_entropy_flow(),
  "polarity_weight": weighting.polarity_weight(0.4),
}


def weights_of(transform, batch):
  """The factor on each token's gradient under the policy gradient."""
  plain = objective(losses.policy_gradient())
  _, before = value_and_grad(plain, batch)
  chained = objective(losses.policy_gradient(), transform)
  _, after = value_and_grad(chained, batch)
  return np.where(batch.mask, after / np.where(batch.mask, before, 1), np.nan)


@pytest.mark.parametrize("name", WEIGHTS)
def test_scales_gradients_and_is_not_idle(name):
  weights = weights_of(WEIGHTS[name], random_batch())
  assert np.isfinite(weights[~np.isnan(weights)]).all()
  assert np.nanmax(np.abs(weights - 1)) > 0.05


@pytest.mark.parametrize("name", WEIGHTS)
def test_gradient_with_the_weights_held(name):
  """The weights are constants: differences must not see them move."""
  batch = random_batch()
  weight = jnp.nan_to_num(jnp.asarray(weights_of(WEIGHTS[name], batch)))

  def held(loss, batch, key):
    del batch, key
    return loss.replace(loss=weight * loss.loss)

  fixed = objective(losses.policy_gradient(), held)
  gradients.check_against_differences(fixed, batch)
  moving = objective(losses.policy_gradient(), WEIGHTS[name])
  np.testing.assert_allclose(
    value_and_grad(moving, batch)[1],
    value_and_grad(fixed, batch)[1],
    atol=1e-6,
  )


def test_kernel_lowers_both_extremes_and_keeps_the_scale():
  batch = random_batch()
  weights = weights_of(weighting.covariance_kernel(), batch)
  np.testing.assert_allclose(np.nanmean(weights), 1.0, rtol=1e-4)
  keep = np.asarray(batch.mask)
  logp, advantage = batch.logp[keep], batch.advantages[keep]
  covariance = (logp - logp.mean()) * (advantage - advantage.mean())
  order = np.argsort(np.abs(covariance))
  assert (np.diff(weights[keep][order]) <= 1e-5).all()
  ratio = weights[keep] / weights[keep].max()
  scaled = covariance / np.std(covariance, ddof=1)
  expected = np.exp(-(scaled**2 - np.min(scaled**2)) / 2)
  np.testing.assert_allclose(ratio, expected, rtol=1e-3)


def test_kernel_leaves_constant_advantages_alone():
  batch = random_batch()
  batch = batch.replace(advantages=jnp.full_like(batch.advantages, 0.7))
  weights = weights_of(weighting.covariance_kernel(), batch)
  np.testing.assert_allclose(weights[np.asarray(batch.mask)], 1.0, rtol=1e-5)


def test_polarity_predicts_the_change_of_entropy():
  """One policy-gradient step on the logits of a state, every token in turn."""
  logits = 1.5 * jax.random.normal(jax.random.key(3), (6,))

  def entropy(z):
    logp = jax.nn.log_softmax(z)
    return -(jnp.exp(logp) * logp).sum()

  logp = jax.nn.log_softmax(logits)
  p = jnp.exp(logp)
  polarity = weighting.entropy_polarity(
    logp,
    jnp.full(6, entropy(logits)),
    jnp.full(6, (p**2).sum()),
    jnp.full(6, (p**2 * logp).sum()),
  )
  for token in range(6):
    direction = jax.nn.one_hot(token, 6) - p
    slope = jax.jvp(entropy, (logits,), (direction,))[1]
    np.testing.assert_allclose(polarity[token], slope, atol=1e-6)
  assert polarity[jnp.argmax(p)] < 0 < polarity[jnp.argmin(p)]


def flows(batch, weights):
  rate = weighting.entropy_polarity(
    batch.logp, batch.entropy, batch.sum_p2, batch.sum_p2_logp
  )
  ratio = jnp.exp(batch.logp - batch.old_logp)
  flow = (batch.advantages * ratio * rate * weights)[np.asarray(batch.mask)]
  return flow[flow > 0].sum(), -flow[flow < 0].sum()


def test_balanced_flows_are_equal():
  batch = random_batch()
  up, down = flows(batch, 1.0)
  assert abs(up - down) > 0.05 * (up + down)
  weights = weights_of(weighting.balance_entropy_flow(), batch)
  after_up, after_down = flows(batch, weights)
  np.testing.assert_allclose(after_up, after_down, rtol=1e-3)
  np.testing.assert_allclose(after_up, 2 * up * down / (up + down), rtol=1e-3)


def test_strength_zero_changes_nothing():
  batch = random_batch()
  weights = weights_of(weighting.balance_entropy_flow(0.0), batch)
  np.testing.assert_allclose(weights[np.asarray(batch.mask)], 1.0, rtol=1e-5)


def test_a_flow_in_one_direction_only_is_stopped():
  """Nothing to balance it with: the only flow would have to be zero."""
  batch = random_batch(rows=1, length=1)
  weights = weights_of(weighting.balance_entropy_flow(), batch)
  np.testing.assert_allclose(weights[np.asarray(batch.mask)], 0.0, atol=1e-6)


def test_polarity_weight_moves_the_flow_the_way_it_is_asked():
  batch = random_batch()
  up, down = flows(batch, 1.0)
  more_up, less_down = flows(
    batch, weights_of(WEIGHTS["polarity_weight"], batch)
  )
  np.testing.assert_allclose(more_up, 1.4 * up, rtol=1e-3)
  np.testing.assert_allclose(less_down, 0.6 * down, rtol=1e-3)


def test_clipped_tokens_count_in_no_flow():
  batch = random_batch()
  far = batch.replace(old_logp=batch.logp - jnp.sign(batch.advantages))
  chained = objective(losses.ppo_clip(), weighting.balance_entropy_flow())
  loss, metrics = chained(far, KEY)
  assert np.isfinite(loss)
  assert metrics["flow/up"].compute() == metrics["flow/down"].compute() == 0


def test_needs_the_moments():
  chained = objective(losses.policy_gradient(), WEIGHTS["polarity_weight"])
  assert chained.needs == {"entropy", "sum_p2", "sum_p2_logp"}
