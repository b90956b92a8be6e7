"""KL estimators: values, gradients, and what they estimate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.ops.kl import kl

PLAIN = ("k1", "k2", "k3", "k3_unclamped", "abs")


def gradient(d, kind):
  return jax.grad(lambda x: kl(x, jnp.zeros_like(x), kind).sum())(d)


@pytest.mark.parametrize(
  ("alias", "kind"), [("kl", "k1"), ("mse", "k2"), ("low_var_kl", "k3")]
)
def test_peer_names(alias, kind):
  d = jnp.linspace(-2, 2, 9)
  np.testing.assert_array_equal(kl(d, 0 * d, alias), kl(d, 0 * d, kind))


@pytest.mark.parametrize("kind", PLAIN)
def test_values_against_their_formulas(kind):
  d = np.linspace(-1.5, 1.5, 13)
  expected = {
    "k1": d,
    "k2": d**2 / 2,
    "k3": np.exp(-d) - 1 + d,
    "k3_unclamped": np.exp(-d) - 1 + d,
    "abs": np.abs(d),
  }[kind]
  got = kl(jnp.asarray(d - 1, jnp.float32), jnp.full(13, -1.0), kind)
  np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("kind", PLAIN)
def test_gradient_against_finite_differences(kind):
  d = jnp.asarray([-1.3, -0.4, 0.3, 1.1])
  h = 1e-2
  zero = jnp.zeros(4)
  numeric = (kl(d + h, zero, kind) - kl(d - h, zero, kind)) / (2 * h)
  np.testing.assert_allclose(gradient(d, kind), numeric, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["abs", "abs+", "k2", "k3", "k3+"])
def test_no_force_where_the_policies_agree(kind):
  zeros = jnp.zeros(3)
  np.testing.assert_array_equal(gradient(zeros, kind), zeros)
  np.testing.assert_array_equal(kl(zeros, zeros, kind), zeros)


@pytest.mark.parametrize("kind", PLAIN)
def test_plus_keeps_the_value_and_takes_the_gradient_of_k2(kind):
  d = jnp.asarray([-3.0, -0.5, 0.0, 0.7, 2.0])
  np.testing.assert_allclose(
    kl(d, 0 * d, kind + "+"), kl(d, 0 * d, kind), atol=1e-6
  )
  np.testing.assert_allclose(gradient(d, kind + "+"), d, atol=1e-6)


def test_k1_and_k3_are_unbiased_and_the_gradient_of_k2_is():
  key, ref_key = jax.random.split(jax.random.key(0))
  logits = jax.random.normal(key, (6,))
  ref = jax.nn.log_softmax(jax.random.normal(ref_key, (6,)))

  def exact(logits):
    logp = jax.nn.log_softmax(logits)
    return (jnp.exp(logp) * (logp - ref)).sum()

  p = jax.nn.softmax(logits)
  for kind in ("k1", "k3"):
    mean = (p * kl(jnp.log(p), ref, kind)).sum()
    np.testing.assert_allclose(mean, exact(logits), rtol=1e-5)

  def sampled_k2(logits):
    return (p * kl(jax.nn.log_softmax(logits), ref, "k2")).sum()

  np.testing.assert_allclose(
    jax.grad(sampled_k2)(logits), jax.grad(exact)(logits), atol=1e-6
  )


def test_k3_is_bounded_however_far_the_policies_are():
  d = jnp.asarray([-500.0, 500.0])
  np.testing.assert_allclose(kl(d, 0 * d, "k3"), [10.0, 10.0])
  np.testing.assert_array_equal(gradient(d, "k3"), jnp.zeros(2))


def test_low_precision_is_computed_in_float32():
  d = jnp.asarray([0.1, -2.0], jnp.bfloat16)
  assert kl(d, 0 * d, "k3").dtype == jnp.float32


@pytest.mark.parametrize("kind", ["full", "K1", "", "k1++"])
def test_unknown_kind(kind):
  with pytest.raises(ValueError, match="unknown KL kind"):
    kl(jnp.zeros(1), jnp.zeros(1), kind)
