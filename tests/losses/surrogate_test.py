"""Every surrogate and ratio: its gradient, and that it does something."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import losses
from tests.losses import batches

KEY = jax.random.key(0)

# Differentiated through everything they compute, so that finite differences
# of the value tell the gradient.
SMOOTH = {
  "policy_gradient": (losses.policy_gradient(),),
  "ppo_clip": (losses.ppo_clip(0.2, 0.28),),
  "ppo_clip_two_sided": (losses.ppo_clip(0.2, 0.28, cap=1.4),),
  "dual_clip": (losses.ppo_clip(), losses.dual_clip(1.3)),
  "sapo": (losses.soft_clip(),),
  "geo_mean": (losses.geo_mean(0.2, 0.3),),
  "reinforce": (losses.log_likelihood(),),
  "dro": (losses.log_likelihood(), losses.add_kl(0.5, "k2")),
  "sequence_ratio": (losses.sequence_ratio(), losses.ppo_clip(0.1, 0.1)),
  "importance_weight": (
    losses.policy_gradient(),
    losses.importance_weight(1.1),
  ),
  "add_kl": (losses.policy_gradient(), losses.add_kl(0.7)),
  "reference_kl": (
    losses.policy_gradient(),
    losses.add_reference_kl(0.7, weighted=True),
  ),
  "kl_cov": (
    losses.policy_gradient(),
    losses.masked(losses.add_kl(1.0), losses.top_covariance(0.2)),
  ),
  "clip_cov_on_gspo": (
    losses.sequence_ratio(),
    losses.ppo_clip(0.1, 0.1),
    losses.masked(
      losses.set_to_zero(), losses.random_covariance(0.2, 0.1, 5.0)
    ),
  ),
}


def value_of(transforms, batch=None):
  batch = batches.make(4) if batch is None else batch
  objective = losses.objective(*transforms, aggregate=losses.token_mean())
  return jax.jit(
    lambda logp: objective(batch.replace(logp=logp), KEY)[0]
  ), jnp.asarray(batch.logp)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_is_the_slope_of_the_value(name):
  value, logp = value_of(SMOOTH[name])
  gradient = jax.grad(value)(logp)
  assert jnp.abs(gradient).sum() > 1e-2
  rng = np.random.default_rng(0)
  for _ in range(3):
    direction = rng.normal(size=logp.shape).astype(np.float32)
    step = np.float32(3e-4) * direction
    slope = (value(logp + step) - value(logp - step)) / 6e-4
    expected = (gradient * direction).sum()
    np.testing.assert_allclose(slope, expected, rtol=0.02, atol=2e-3)


# Losses `-weight A logp` hold the weight constant: the gradient of a token is
# -weight A / N, with the weight as in the source.
def weight_cispo(d, a, p, q):
  return np.clip(np.exp(d), 0.8, 1.28)


def weight_dppo_tv(d, a, p, q):
  kept = np.where(a > 0, p - q <= 0.05, p - q >= -0.03)
  return np.minimum(np.exp(d), 3.0) * kept


def weight_dppo_kl(d, a, p, q):
  other = np.log((1 - q + 1e-8) / (1 - p + 1e-8))
  k = -q * d + (1 - q) * other
  kept = np.where(a > 0, (k <= 0.02) | (p <= q), (k <= 0.01) | (p >= q))
  return np.minimum(np.exp(d), 3.0) * kept


@pytest.mark.parametrize(
  ("transform", "weight"),
  [
    (losses.log_likelihood(), lambda d, a, p, q: 1.0),
    (losses.clipped_likelihood(0.2, 0.28), weight_cispo),
    (losses.divergence_likelihood("tv", 0.03, 0.05), weight_dppo_tv),
    (losses.divergence_likelihood("kl", 0.01, 0.02), weight_dppo_kl),
  ],
)
def test_a_weighted_likelihood_has_a_constant_weight(transform, weight):
  batch = batches.make(4)
  value, logp = value_of((transform,), batch)
  p, q = np.exp(np.float64(batch.logp)), np.exp(np.float64(batch.old_logp))
  d = np.float64(batch.logp - batch.old_logp)
  factor = weight(d, batch.advantages, p, np.minimum(q, 1 - 1e-6))
  expected = -factor * batch.advantages * batch.mask / batch.mask.sum()
  np.testing.assert_allclose(
    jax.grad(value)(logp), expected, rtol=1e-4, atol=1e-7
  )


def test_vespo_weighs_a_response_by_its_own_ratio():
  batch = batches.make(4, drift=0.1)
  value, logp = value_of((losses.response_likelihood(),), batch)
  gradient = np.asarray(jax.grad(value)(logp))
  d = np.where(batch.mask, batch.logp - batch.old_logp, 0).sum(1)
  up = batch.advantages[:, 0] >= 0
  k, rate = np.where(up, 2.0, 3.0), np.where(up, 3.0, 2.0)
  phi = np.exp(rate + k * d - rate * np.exp(d))
  expected = -phi[:, None] * batch.advantages * batch.mask / batch.mask.sum()
  np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)


def test_gspo_token_has_the_sequence_ratio_in_value_only():
  batch = batches.make(4)
  by_token, logp = value_of(
    (losses.sequence_token_ratio(), losses.policy_gradient()), batch
  )
  by_response, _ = value_of(
    (losses.sequence_ratio(), losses.policy_gradient()), batch
  )
  np.testing.assert_allclose(by_token(logp), by_response(logp), rtol=1e-5)
  lengths = batch.mask.sum(1, keepdims=True)
  mean = np.where(batch.mask, batch.logp - batch.old_logp, 0).sum(1)
  ratio = np.exp(mean[:, None] / np.maximum(lengths, 1))
  expected = -ratio * batch.advantages * batch.mask / batch.mask.sum()
  np.testing.assert_allclose(
    jax.grad(by_token)(logp), expected, rtol=1e-4, atol=1e-7
  )


@pytest.mark.parametrize(
  "transform",
  [
    losses.dual_clip(1.05),
    losses.importance_weight(1.01),
    losses.importance_weight(None, "response"),
    losses.add_kl(0.5),
    losses.masked(
      losses.set_to_zero(), losses.drifted_responses(0.0, "sampler")
    ),
    losses.masked(losses.set_to_zero(), losses.top_entropy(0.2)),
  ],
)
def test_what_follows_a_surrogate_is_no_no_op(transform):
  plain, logp = value_of((losses.policy_gradient(),))
  changed, _ = value_of((losses.policy_gradient(), transform))
  assert plain(logp) != changed(logp)
  assert (jax.grad(plain)(logp) != jax.grad(changed)(logp)).any()


@pytest.mark.parametrize(
  "ratio",
  [
    losses.token_ratio(0.1),
    losses.sequence_ratio(),
    losses.sequence_token_ratio(),
  ],
)
def test_what_precedes_a_surrogate_is_no_no_op(ratio):
  plain, logp = value_of((losses.policy_gradient(),))
  changed, _ = value_of((ratio, losses.policy_gradient()))
  assert plain(logp) != changed(logp)
  assert (jax.grad(plain)(logp) != jax.grad(changed)(logp)).any()


@pytest.mark.parametrize("advantage", [1.0, -1.0])
@pytest.mark.parametrize("ratio", [1.0, 1.25, 0.75])
def test_on_policy_and_at_a_bound_the_gradient_is_whole(advantage, ratio):
  def linear(loss, batch, key):
    del key
    return loss.replace(ratio=1.0 + batch.logp - batch.old_logp)

  batch = batches.make(masked=0.0)
  batch = batch.replace(
    old_logp=np.zeros_like(batch.logp),
    logp=np.full_like(batch.logp, ratio - 1.0),
    advantages=np.full_like(batch.logp, advantage),
  )
  value, logp = value_of((linear, losses.ppo_clip(0.25, 0.25)), batch)
  np.testing.assert_allclose(
    jax.grad(value)(logp), -advantage / logp.size, rtol=1e-6
  )


def test_kl_cov_is_a_no_op_on_policy():
  batch = batches.make(drift=0.0)
  plain, logp = value_of((losses.policy_gradient(),), batch)
  kl_cov, _ = value_of(SMOOTH["kl_cov"], batch)
  assert plain(logp) == kl_cov(logp)
  np.testing.assert_array_equal(jax.grad(plain)(logp), jax.grad(kl_cov)(logp))


def test_far_log_ratios_stay_finite():
  batch = batches.make()
  batch = batch.replace(old_logp=batch.logp - np.float32(200))
  value, logp = value_of((losses.ppo_clip(),), batch)
  assert np.isfinite(value(logp))
  assert jnp.isfinite(jax.grad(value)(logp)).all()


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: losses.dual_clip(1.0), "limit is 1.0; .* above 1"),
    (lambda: losses.divergence_likelihood("js"), "'tv' or 'kl'"),
    (lambda: losses.ppo_clip(-0.2), r"clip_low is -0.2; .* in \[0.0, 1.0\]"),
    (lambda: losses.ppo_clip(cap=1.0), "cap is 1.0; .* above 1"),
    (
      lambda: losses.top_covariance(2.0),
      r"fraction is 2.0; .* in \[0.0, 1.0\]",
    ),
    (
      lambda: losses.random_covariance(0.1, 0.2, 0.2),
      "cov_low=0.2 .*not below",
    ),
    (lambda: losses.add_kl(-1.0), "coefficient is -1.0; .* at least 0"),
    (lambda: losses.add_kl(1.0, "k4"), "unknown KL kind 'k4'"),
    (lambda: losses.add_reference_kl(1.0, "k4"), "unknown KL kind 'k4'"),
    (lambda: losses.importance_weight(level="row"), "'token' or 'response'"),
    (lambda: losses.drifted_responses(0.1, "new"), "'old' or 'sampler'"),
    (lambda: losses.covariance_score("new"), "'current' or 'old'"),
    (lambda: losses.covariance_score(centering="pi"), "'pi_advantage'"),
  ],
)
def test_bad_settings_are_refused_when_the_loss_is_built(make, message):
  with pytest.raises(ValueError, match=message):
    make()
