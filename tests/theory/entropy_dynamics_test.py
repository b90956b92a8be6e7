"""Lemma 1 and Theorems 1 and 2 of arXiv 2505.22617, to second order.

Each says that the entropy change of a small step of size eta is minus a
covariance, up to terms of order eta^2: the residual's slope on logarithmic axes
is 2. A wrong factor or sign leaves a residual of order eta: slope 1.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.ops.covariance import exact_covariance, token_covariance
from jaxrl_entropy.training import probe
from tests.theory import tabular

STEP_SIZES = np.geomspace(1e-4, 1e-2, 9)


@pytest.fixture(autouse=True)
def double_precision():
  with jax.enable_x64():
    yield


def residual_slope(logits, direction, predicted):
  """Log-log slope of |Delta H - eta * predicted| in eta, over all states."""
  start = tabular.entropy(logits)
  residuals = [
    jnp.linalg.norm(
      tabular.entropy(logits + eta * direction) - start - eta * predicted
    )
    for eta in STEP_SIZES
  ]
  return np.polyfit(np.log(STEP_SIZES), np.log(residuals), 1)[0]


@pytest.mark.parametrize("seed", range(5))
def test_lemma_1_holds_for_any_change_of_logits(seed):
  logits, direction = tabular.problem(seed)
  logp = jax.nn.log_softmax(logits)
  slope = residual_slope(logits, direction, -exact_covariance(logp, direction))
  assert slope == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_theorem_1_policy_gradient(seed):
  logits, advantages = tabular.problem(seed)
  logp = jax.nn.log_softmax(logits)
  predicted = -exact_covariance(logp, jnp.exp(logp) * advantages)
  step = tabular.policy_gradient(logits, advantages)
  assert residual_slope(logits, step, predicted) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_theorem_2_natural_policy_gradient(seed):
  logits, advantages = tabular.problem(seed)
  predicted = -exact_covariance(jax.nn.log_softmax(logits), advantages)
  step = tabular.natural_gradient(logits, advantages)
  assert residual_slope(logits, step, predicted) == pytest.approx(2, abs=0.1)


def test_the_gradient_steps_are_those_of_the_theorems():
  logits, advantages = tabular.problem(0)
  np.testing.assert_allclose(
    tabular.policy_gradient(logits, advantages),
    jax.nn.softmax(logits) * advantages,
    atol=1e-12,
  )
  # Logits count up to a constant a state: center both sides.
  natural = tabular.natural_gradient(logits, advantages)
  np.testing.assert_allclose(
    natural - natural.mean(-1, keepdims=True),
    advantages - advantages.mean(-1, keepdims=True),
    atol=1e-9,
  )


def test_a_wrong_factor_is_seen_as_slope_one():
  logits, direction = tabular.problem(0)
  logp = jax.nn.log_softmax(logits)
  wrong = -1.1 * exact_covariance(logp, direction)
  assert residual_slope(logits, direction, wrong) == pytest.approx(1, abs=0.1)


def test_the_training_probe_measures_both_sides_of_lemma_1():
  logits, direction = tabular.problem(3)
  before = jax.nn.log_softmax(logits)
  residuals = []
  for eta in STEP_SIZES:
    after = jax.nn.log_softmax(logits + eta * direction)
    sides = probe.dynamics(before, after)
    residuals.append(
      abs(sides["probe/delta_entropy"] - sides["probe/minus_cov"])
    )
  slope = np.polyfit(np.log(STEP_SIZES), np.log(residuals), 1)[0]
  assert slope == pytest.approx(2, abs=0.1)


@jax.enable_x64(False)
def test_sampled_token_covariance_estimates_that_of_theorem_2():
  logits, advantages = tabular.problem(1, states=1)
  logp = jax.nn.log_softmax(logits)
  count = 200_000
  policy = np.exp(np.asarray(logp[0], np.float64))
  actions = np.random.default_rng(0).choice(
    len(policy), size=count, p=policy / policy.sum()
  )
  sampled = token_covariance(
    logp[:, actions], advantages[:, actions], jnp.ones((1, count), bool)
  )
  error = float(jnp.mean(sampled) - exact_covariance(logp, advantages)[0])
  assert abs(error) < 4 * float(jnp.std(sampled)) / np.sqrt(count)
