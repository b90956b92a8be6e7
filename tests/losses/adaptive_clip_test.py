"""Clips with a gradient where they bite, or bounds of their own."""

import numpy as np
import pytest

from jaxrl_entropy import losses
from tests.losses import batches
from tests.losses.gradients import KEY, objective, value_and_grad


def arrays(batch):
  """Ratio and advantage of each token, float64."""
  d = np.asarray(batch.logp, np.float64) - np.asarray(batch.old_logp)
  return np.exp(d), np.asarray(batch.advantages, np.float64)


def gradient_of(transform, batch):
  """Gradient of each token times the number of tokens."""
  _, gradient = value_and_grad(objective(transform), batch)
  return np.asarray(gradient) * batch.mask.sum()


def test_ce_gppo_keeps_the_edge_s_gradient_where_the_clip_bites():
  batch = batches.make(3, drift=0.6, masked=0.0)
  ratio, advantage = arrays(batch)
  got = gradient_of(losses.gradient_preserving_clip(0.2, 0.3, 0.5, 0.9), batch)
  expected = -advantage * ratio
  up = (advantage > 0) & (ratio > 1.3)
  down = (advantage < 0) & (ratio < 0.8)
  expected[up] = -0.9 * 1.3 * advantage[up]
  expected[down] = -0.5 * 0.8 * advantage[down]
  assert up.any()
  assert down.any()
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_ce_gppo_without_scales_is_ppo():
  batch = batches.make(3, drift=0.6)
  plain = gradient_of(losses.ppo_clip(), batch)
  kept = gradient_of(
    losses.gradient_preserving_clip(scale_low=0.0, scale_high=0.0), batch
  )
  np.testing.assert_array_equal(kept, plain)


def searched(ratio, advantage, lower, upper, target, step):
  """The authors' loop: the lower bound first, then the upper one."""
  low, high = lower[0], upper[0]
  up = advantage >= 0
  while True:
    gain = (np.minimum(ratio, high) * advantage)[up].sum()
    cost = (np.maximum(ratio, low) * -advantage)[~up].sum()
    if gain >= target * cost or (low >= lower[1] and high >= upper[1]):
      return low, high
    if low < lower[1]:
      low = min(low + step, lower[1])
    else:
      high = min(high + step, upper[1])


@pytest.mark.parametrize("target", [0.3, 0.75, 0.9, 9.0])
def test_bapo_stops_at_the_first_bounds_that_balance(target):
  batch = batches.make(5, drift=0.8, masked=0.0)
  ratio, advantage = arrays(batch)
  _, metrics = objective(losses.balanced_clip(target=target))(batch, KEY)
  low, high = searched(ratio, advantage, (0.6, 0.9), (1.2, 3.0), target, 0.05)
  np.testing.assert_allclose(
    metrics["ratio/bound_low"].compute(), low, rtol=1e-5
  )
  np.testing.assert_allclose(
    metrics["ratio/bound_high"].compute(), high, rtol=1e-4
  )
  same = losses.ppo_clip(1 - low, high - 1)
  np.testing.assert_allclose(
    gradient_of(losses.balanced_clip(target=target), batch),
    gradient_of(same, batch),
    rtol=1e-4,
  )


def test_bapo_targets_reach_different_bounds():
  batch = batches.make(5, drift=0.8, masked=0.0)
  bounds = set()
  for target in (0.3, 0.75, 0.9, 9.0):
    _, metrics = objective(losses.balanced_clip(target=target))(batch, KEY)
    bounds.add(float(metrics["ratio/bound_high"].compute()))
  assert len(bounds) > 1


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("high", [None, 0.28])
def test_pull_back_reverses_outside_of_the_range(inverse, high):
  batch = batches.make(3, drift=0.6, masked=0.0)
  ratio, advantage = arrays(batch)
  got = gradient_of(losses.pull_back(0.2, high, inverse_below=inverse), batch)
  expected = -advantage * ratio
  below = ratio < 0.8
  expected[below] = (advantage / ratio if inverse else 0.8 * advantage)[below]
  if high is not None:
    expected[ratio > 1.28] = 1.28 * advantage[ratio > 1.28]
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
