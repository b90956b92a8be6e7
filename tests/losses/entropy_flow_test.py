"""Weights by the flow of entropy: what they claim, and that they act."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import losses
from jaxrl_entropy.ops.entropy_flow import entropy_polarity
from tests.losses import gradients
from tests.losses.gradients import (
  KEY,
  objective,
  random_batch,
  value_and_grad,
  weights_of,
)

WEIGHTS = {
  "entropy_change_weight": losses.entropy_change_weight(0.5),
  "entropy_change_weight exact": losses.entropy_change_weight(0.5, exact=True),
  "balance_entropy_flow": losses.balance_entropy_flow(),
  "polarity_weight": losses.polarity_weight(0.4),
}


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


def test_polarity_predicts_the_change_of_entropy():
  """One policy-gradient step on the logits of a state, every token in turn."""
  logits = 1.5 * jax.random.normal(jax.random.key(3), (6,))

  def entropy(z):
    logp = jax.nn.log_softmax(z)
    return -(jnp.exp(logp) * logp).sum()

  logp = jax.nn.log_softmax(logits)
  p = jnp.exp(logp)
  polarity = entropy_polarity(
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
  rate = entropy_polarity(
    batch.logp, batch.entropy, batch.sum_p2, batch.sum_p2_logp
  )
  ratio = jnp.exp(batch.logp - batch.old_logp)
  flow = (batch.advantages * ratio * rate * weights)[np.asarray(batch.mask)]
  return flow[flow > 0].sum(), -flow[flow < 0].sum()


def test_balanced_flows_are_equal():
  batch = random_batch()
  up, down = flows(batch, 1.0)
  assert abs(up - down) > 0.05 * (up + down)
  weights = weights_of(losses.balance_entropy_flow(), batch)
  after_up, after_down = flows(batch, weights)
  np.testing.assert_allclose(after_up, after_down, rtol=1e-3)
  np.testing.assert_allclose(after_up, 2 * up * down / (up + down), rtol=1e-3)


def test_strength_zero_changes_nothing():
  batch = random_batch()
  weights = weights_of(losses.balance_entropy_flow(0.0), batch)
  np.testing.assert_allclose(weights[np.asarray(batch.mask)], 1.0, rtol=1e-5)


def test_a_flow_in_one_direction_only_is_stopped():
  """Nothing to balance it with: the only flow would have to be zero."""
  batch = random_batch(rows=1, length=1)
  weights = weights_of(losses.balance_entropy_flow(), batch)
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
  chained = objective(losses.ppo_clip(), losses.balance_entropy_flow())
  loss, metrics = chained(far, KEY)
  assert np.isfinite(loss)
  assert metrics["flow/up"].compute() == metrics["flow/down"].compute() == 0


def test_needs_the_moments():
  chained = objective(losses.policy_gradient(), WEIGHTS["polarity_weight"])
  assert chained.needs == {"entropy", "sum_p2", "sum_p2_logp"}


def test_opefo_lambda_is_the_published_one():
  batch = random_batch()
  up, down = flows(batch, 1.0)
  _, metrics = objective(
    losses.policy_gradient(), losses.balance_entropy_flow()
  )(batch, KEY)
  expected = (down - up) / (down + up)
  np.testing.assert_allclose(
    metrics["flow/lambda"].compute(), expected, rtol=1e-4
  )
  weights = weights_of(losses.balance_entropy_flow(), batch)
  values = np.unique(np.round(weights[~np.isnan(weights)], 4))
  np.testing.assert_allclose(
    values, [1 - abs(expected), 1 + abs(expected)], rtol=1e-3
  )


def test_steer_damps_by_the_change_of_entropy():
  """exp(-k |Om|), and `least` at the token of largest |Om|."""
  batch = random_batch()
  valid = np.asarray(batch.mask)
  logp, old, advantage, entropy = (
    np.asarray(x, np.float64)[valid]
    for x in (batch.logp, batch.old_logp, batch.advantages, batch.entropy)
  )
  change = np.abs(
    advantage * np.exp(logp - old) * (1 - np.exp(logp)) * (logp + entropy)
  )
  rate = -np.log(0.8) / max(change.max(), 0.02)
  weights = weights_of(losses.entropy_change_weight(0.8), batch)[valid]
  np.testing.assert_allclose(weights, np.exp(-rate * change), rtol=1e-4)
  np.testing.assert_allclose(weights.min(), 0.8, rtol=1e-4)


def test_steer_leaves_small_changes_alone():
  batch = random_batch()
  tiny = batch.replace(advantages=1e-4 * batch.advantages)
  weights = weights_of(losses.entropy_change_weight(0.8), tiny)
  assert np.nanmin(weights) > 0.99
