"""Added terms: value, gradient, and that they act."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import losses
from tests.losses import gradients
from tests.losses.gradients import objective, random_batch, value_and_grad

TERMS = {
  "add_kl": (losses.add_kl(0.7), "logp"),
  "add_kl k2": (losses.add_kl(0.7, "k2"), "logp"),
  "reference_kl": (losses.add_reference_kl(0.4), "logp"),
  "reference_kl k1": (losses.add_reference_kl(0.4, "k1"), "logp"),
  "entropy_bonus": (losses.add_entropy(0.3), "entropy"),
  "value_loss": (losses.add_value_loss(0.25), "values"),
  "value_loss unclipped": (losses.add_value_loss(None), "values"),
}


@pytest.mark.parametrize("name", TERMS)
def test_gradient_and_action(name):
  term, field = TERMS[name]
  batch = random_batch()
  # Small enough a step not to cross a kink of |.| or of the clip by much.
  gradients.check_against_differences(
    objective(losses.policy_gradient(), term), batch, field, step=2e-3
  )
  loss, gradient = value_and_grad(objective(term), batch, field)
  assert abs(loss) > 1e-3
  assert np.abs(gradient).max() > 1e-3


def test_kl_cov_penalty_is_idle_on_policy():
  batch = random_batch()
  batch = batch.replace(old_logp=batch.logp)
  loss, gradient = value_and_grad(objective(losses.add_kl(1.0)), batch)
  assert loss == 0
  np.testing.assert_array_equal(gradient, jnp.zeros_like(gradient))


def test_entropy_bonus_lowers_the_loss_by_the_mean_entropy():
  batch = random_batch()
  loss, metrics = objective(losses.add_entropy(0.5))(batch, gradients.KEY)
  mean = np.nanmean(np.where(batch.mask, batch.entropy, np.nan))
  np.testing.assert_allclose(loss, -0.5 * mean, rtol=1e-5)
  np.testing.assert_allclose(
    metrics["entropy/bonus"].compute(), 0.5 * mean, rtol=1e-5
  )


def test_reference_kl_reports_the_estimate_whatever_its_weight():
  batch = random_batch()
  values = [
    objective(losses.add_reference_kl(beta))(batch, gradients.KEY)[1][
      "kl/reference"
    ].compute()
    for beta in (0.0, 2.0)
  ]
  assert values[0] == values[1] > 0


def test_value_loss_holds_a_value_that_ran_away():
  """Past the trust region and improving: the clipped error is the larger."""
  batch = random_batch(rows=1, length=1)
  one = jnp.ones((1, 1))
  batch = batch.replace(values=0.9 * one, old_values=0.0 * one, returns=one)
  loss, gradient = value_and_grad(
    objective(losses.add_value_loss(0.2)), batch, "values"
  )
  np.testing.assert_allclose(loss, 0.5 * (1 - 0.2) ** 2, rtol=1e-6)
  np.testing.assert_array_equal(gradient, 0 * one)


def test_coefficients_may_be_traced():
  batch = random_batch()

  @jax.jit
  def value(beta):
    terms = (losses.add_reference_kl(beta), losses.add_entropy(beta))
    return objective(*terms)(batch, gradients.KEY)[0]

  np.testing.assert_allclose(value(2.0), 2 * value(1.0), rtol=1e-5)


def test_a_missing_reference_is_named():
  batch = random_batch().replace(ref_logp=None)
  with pytest.raises(ValueError, match=r"reference_kl\(\) reads `ref_logp`"):
    objective(losses.add_reference_kl(1.0))(batch, gradients.KEY)
