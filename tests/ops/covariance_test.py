import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy.ops import covariance


def test_its_mean_is_the_covariance():
  rng = np.random.default_rng(0)
  logp, advantages = rng.normal(size=(2, 5, 7)).astype(np.float32)
  mask = rng.random((5, 7)) < 0.7
  logp[~mask] = np.nan
  ours = np.asarray(
    covariance.token_covariance(*map(jnp.asarray, (logp, advantages, mask)))
  )
  theirs = np.cov(logp[mask], advantages[mask], bias=True)[0, 1]
  np.testing.assert_allclose(ours[mask].mean(), theirs, rtol=1e-4)
  assert (ours[~mask] == 0).all()


def test_constant_advantages_have_no_covariance():
  rng = np.random.default_rng(0)
  logp = jnp.asarray(rng.normal(size=(5, 7)).astype(np.float32))
  advantages = jnp.full((5, 7), 0.1, jnp.float32)
  ours = covariance.token_covariance(logp, advantages, jnp.ones((5, 7), bool))
  assert (ours == 0).all()


def test_it_carries_no_gradient():
  def total(logp):
    mask = jnp.ones((3, 4), bool)
    return covariance.token_covariance(logp, logp, mask).sum()

  gradient = jax.grad(total)(jnp.arange(12.0).reshape(3, 4))
  assert (gradient == 0).all()


def test_the_exact_covariance_is_minus_the_slope_of_the_entropy():
  rng = np.random.default_rng(1)
  logits, change = jnp.asarray(rng.normal(size=(2, 3, 6)).astype(np.float32))

  def entropy(step):
    logp = jax.nn.log_softmax(logits + step * change)
    return -(jnp.exp(logp) * logp).sum(-1)

  slope = jax.jacfwd(entropy)(0.0)
  ours = covariance.exact_covariance(jax.nn.log_softmax(logits), change)
  np.testing.assert_allclose(slope, -ours, rtol=1e-4, atol=1e-6)


def test_vocabulary_without_mass_has_no_say():
  logp = jnp.log(jnp.float32([0.5, 0.5, 0.0]))
  change = jnp.float32([1.0, -1.0, jnp.inf])
  assert covariance.exact_covariance(logp, change) == 0
