"""Weights by covariance, sampler, sign and teacher, against NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import losses
from tests.losses.gradients import random_batch, weights_of


def test_kernel_lowers_both_extremes_and_keeps_the_scale():
  batch = random_batch()
  weights = weights_of(losses.covariance_kernel(), batch)
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
  weights = weights_of(losses.covariance_kernel(), batch)
  np.testing.assert_allclose(weights[np.asarray(batch.mask)], 1.0, rtol=1e-5)


def test_sign_weight_is_one_plus_or_minus_the_balance():
  batch = random_batch()
  weights = weights_of(losses.sign_weight(0.3), batch)
  expected = np.where(batch.advantages > 0, 1.3, 0.7)
  valid = np.asarray(batch.mask)
  np.testing.assert_allclose(weights[valid], expected[valid], rtol=1e-4)


def gap(batch):
  """sign(A) (teacher - student) of each token."""
  difference = np.asarray(batch.teacher_logp - batch.logp, np.float64)
  return np.sign(np.asarray(batch.advantages)) * difference


def test_rlsd_mixes_a_clipped_ratio_of_teacher_to_student():
  batch = random_batch()
  weights = weights_of(losses.teacher_weight(0.5, 0.2), batch)
  expected = 0.5 + 0.5 * np.clip(np.exp(gap(batch)), 0.8, 1.2)
  valid = np.asarray(batch.mask)
  np.testing.assert_allclose(weights[valid], expected[valid], rtol=1e-4)


def test_rlrt_weighs_doubted_tokens_of_correct_responses_up():
  batch = random_batch()
  rule = losses.masked(
    losses.teacher_weight(1.0, None, reverse=True), losses.correct_responses()
  )
  weights = weights_of(rule, batch)
  expected = np.where(batch.correct > 0.5, np.exp(-gap(batch)), 1.0)
  valid = np.asarray(batch.mask)
  np.testing.assert_allclose(weights[valid], expected[valid], rtol=1e-4)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_mix_of_zero_is_the_plain_surrogate(reverse):
  batch = random_batch()
  weights = weights_of(losses.teacher_weight(0.0, reverse=reverse), batch)
  np.testing.assert_allclose(weights[np.asarray(batch.mask)], 1.0, rtol=1e-4)
