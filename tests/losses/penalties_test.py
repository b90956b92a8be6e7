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
  "add_mastery_kl": (losses.add_mastery_kl(0.7, 0.05), "logp"),
  "add_entropy_anchor": (
    losses.add_entropy_anchor(0.3, 2.0),
    "nucleus_entropy",
  ),
  "add_teacher_kl": (losses.add_teacher_kl(0.5), "teacher_kl"),
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


def test_mcpo_s_hinge_is_a_mean_over_mastered_prompts():
  batch = random_batch()
  batch = batch.replace(old_logp=batch.logp - 0.1 * jnp.sign(batch.advantages))
  penalty = losses.add_mastery_kl(1.0, 0.02)
  value, metrics = losses.objective(penalty, aggregate="seq_mean_token_mean")(
    batch, gradients.KEY
  )
  mask, mastered = np.asarray(batch.mask), np.asarray(batch.group_accuracy) == 1
  d = np.asarray(batch.logp - batch.old_logp, np.float64)

  def k(x):
    return np.exp(x) - x - 1

  phi = np.where(np.abs(d) <= 0.02, 0, k(d) - k(0.02 * np.sign(d)))
  rows = mastered[:, 0]
  assert 0 < rows.sum() < len(rows)
  by_row = np.where(mask, phi, 0).sum(1) / mask.sum(1)
  np.testing.assert_allclose(value, by_row[rows].mean(), rtol=1e-4)
  np.testing.assert_allclose(
    metrics["kl/mastered"].compute(), phi[mask & mastered].mean(), rtol=1e-4
  )


def test_mcpo_s_hinge_is_flat_inside_its_width():
  batch = random_batch()
  batch = batch.replace(old_logp=batch.logp - 0.01)
  loss, gradient = value_and_grad(
    objective(losses.add_mastery_kl(1.0, 0.02)), batch
  )
  assert loss == 0
  assert (np.asarray(gradient) == 0).all()


def anchored(entropy, mask):
  """Mean over rows of the mean of their entropies from the 0.8 quantile on."""
  means = []
  for row, valid in zip(entropy, mask, strict=True):
    values = np.sort(row[valid])
    count = int(0.2 * (len(values) - 1)) + 1
    means.append(values[-count:].mean())
  return np.mean(means)


def test_siren_s_term_can_be_of_the_whole_distribution():
  whole = objective(losses.add_entropy_anchor(0.5, 0.3, nucleus=False))
  assert whole.needs == {"entropy"}
  assert objective(losses.add_entropy_anchor()).needs == {"nucleus_entropy"}


def test_siren_s_term_is_a_squared_distance_to_the_anchor():
  batch = random_batch()
  mask = np.asarray(batch.mask)
  entropy = np.asarray(batch.nucleus_entropy, np.float64)
  term = objective(losses.add_entropy_anchor(0.5, 0.3, 0.2))
  value, metrics = term(batch, gradients.KEY)
  mean = anchored(entropy, mask)
  np.testing.assert_allclose(
    metrics["entropy/anchored"].compute(), mean, rtol=1e-5
  )
  np.testing.assert_allclose(value, 0.5 * (mean - 0.3) ** 2, rtol=1e-4)
  _, gradient = value_and_grad(term, batch, "nucleus_entropy")
  step = 1e-4
  for index in [(0, 0), tuple(np.argwhere(mask)[-1])]:
    moved = entropy.copy()
    moved[index] += step
    slope = (
      0.5 * ((anchored(moved, mask) - 0.3) ** 2 - (mean - 0.3) ** 2) / step
    )
    np.testing.assert_allclose(gradient[index], slope, rtol=1e-2, atol=1e-5)


def test_siren_without_an_anchor_adds_nothing():
  loss, gradient = value_and_grad(
    objective(losses.add_entropy_anchor(0.5)), random_batch(), "nucleus_entropy"
  )
  assert loss == 0
  assert (np.asarray(gradient) == 0).all()


def test_router_losses_are_added_and_logged():
  batch = random_batch()
  balance = 1.0 + batch.entropy
  batch = batch.replace(router_balance=balance, router_z=batch.entropy**2)
  term = objective(losses.add_router_losses(0.5, 0.25))
  loss, metrics = term(batch, gradients.KEY)
  parts = {
    name: metrics[f"router/{name}"].compute() for name in ("balance", "z")
  }
  want = 0.5 * parts["balance"] + 0.25 * parts["z"]
  np.testing.assert_allclose(loss, want, rtol=1e-5)
  _, gradient = value_and_grad(term, batch, "router_balance")
  mask = np.asarray(batch.mask)
  np.testing.assert_allclose(gradient[mask], 0.5 / mask.sum(), rtol=1e-5)
