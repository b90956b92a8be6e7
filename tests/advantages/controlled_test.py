"""Estimators with other baselines: their numbers, and what they promise."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import advantages
from jaxrl_entropy.advantages import AdvantageInputs

GROUPS = np.array([0, 1, 0, 1, 0, 1, 0, 1, 0, 1])


def inputs(rewards, groups=GROUPS, **more):
  rewards = np.asarray(rewards, np.float32)
  return AdvantageInputs(
    rewards=jnp.asarray(rewards),
    mask=jnp.ones((len(rewards), 3), bool),
    groups=jnp.asarray(groups[: len(rewards)], jnp.int32),
    **more,
  )


def per_response(name, args, given):
  tokens = np.asarray(advantages.resolve(name, args)(given).advantages)
  assert (tokens == tokens[:, :1]).all()
  return tokens[:, 0]


def facts(rewards):
  return {"correct": jnp.asarray(rewards, jnp.float32)}


@pytest.mark.parametrize("quantile", [0.1, 0.4, 0.6, 1.0])
@pytest.mark.parametrize("interpolate", [False, True])
def test_qae_centres_on_a_quantile_of_the_group(quantile, interpolate):
  rng = np.random.default_rng(0)
  rewards = rng.normal(size=10)
  got = per_response(
    "qae",
    {"quantile": quantile, "interpolate": interpolate},
    inputs(rewards),
  )
  method = "linear" if interpolate else "inverted_cdf"
  for group in (0, 1):
    own = np.float32(rewards)[group == GROUPS]
    baseline = np.quantile(own, quantile, method=method)
    expected = (own - baseline) / (np.std(own, ddof=1) + 1e-6)
    np.testing.assert_allclose(
      got[group == GROUPS], expected, rtol=1e-4, atol=1e-6
    )


def test_qae_leaves_one_kind_of_response_without_advantage():
  """Easy prompts teach from their failures, hard ones from successes."""
  easy = per_response("qae", {}, inputs([1, 1, 1, 1, 0], np.zeros(5, int)))
  hard = per_response("qae", {}, inputs([0, 0, 0, 0, 1], np.zeros(5, int)))
  assert (easy[:4] == 0).all()
  assert easy[4] < 0
  assert (hard[:4] == 0).all()
  assert hard[4] > 0


def test_the_authors_code_has_a_broken_value_for_three_of_eight():
  rewards = [0, 0, 0, 1, 1, 1, 1, 1]
  group = np.zeros(8, int)
  paper = per_response("qae", {}, inputs(rewards, group))
  code = per_response("qae", {"interpolate": True}, inputs(rewards, group))
  std = np.std(rewards, ddof=1)
  np.testing.assert_allclose(paper[-1], 0.0, atol=1e-6)
  np.testing.assert_allclose(code[-1], 0.2 / std, rtol=1e-4)


@pytest.mark.parametrize(
  ("args", "right", "wrong"),
  [
    ({}, 1.0, -1.0),
    ({"positive": 0.0}, 0.0, -1.0),
    ({"positive": 0.1}, 0.1, -1.0),
  ],
)
def test_signed_outcomes_have_no_baseline(args, right, wrong):
  correct = [1, 0, 1, 1]
  got = per_response(
    "signed_outcome", args, inputs([0.9, 0.3, 1.2, 1.0], **facts(correct))
  )
  np.testing.assert_allclose(got, np.where(correct, right, wrong))


@pytest.mark.parametrize("right", range(9))
def test_mcpo_weighs_easy_prompts_as_those_of_accuracy_one_half(right):
  """The mean |A| sqrt(a (1 - a)) of a group is its query weight: 0.5."""
  rewards = np.array([1.0] * right + [0.0] * (8 - right))
  group = np.zeros(8, int)
  got = per_response("mcpo", {}, inputs(rewards, group, **facts(rewards)))
  accuracy = right / 8
  std = np.sqrt(accuracy * (1 - accuracy))
  scale = 2 * std if accuracy > 0.5 else 1.0
  expected = (rewards - accuracy) / (std * scale + 1e-6)
  np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-6)
  if 0.5 <= accuracy < 1:
    np.testing.assert_allclose(np.abs(got).mean(), 1.0, rtol=1e-3)


def band(entropy, progress, rewards=(1, 0, 1, 0), **args):
  given = inputs(
    rewards,
    np.array([0, 0, 1, 1]),
    entropy=jnp.full((4, 3), entropy, jnp.float32),
    progress=jnp.float32(progress),
    **facts(rewards),
  )
  return per_response("entrocraft", args, given)


def test_entrocraft_is_grpo_inside_its_band():
  plain = per_response("grpo", {}, inputs([1, 0, 1, 0], np.array([0, 0, 1, 1])))
  np.testing.assert_allclose(band(0.65, 0.0), plain, rtol=1e-6)


def test_entrocraft_takes_one_sign_outside_even_of_uniform_groups():
  np.testing.assert_array_equal(band(0.5, 0.0), [0, -1, 0, -1])
  np.testing.assert_array_equal(band(0.8, 0.0), [1, 0, 1, 0])
  np.testing.assert_array_equal(
    band(0.5, 0.0, rewards=(0, 0, 1, 1)), [-1, -1, 0, 0]
  )


def test_the_band_moves_over_the_run():
  assert (band(0.5, 0.0) == [0, -1, 0, -1]).all()
  assert (band(0.55, 1.0) == [1, 0, 1, 0]).all()
  # At a quarter the lower edge is 0.55 linearly, and 0.571 along the cosine.
  assert (band(0.56, 0.25) != [0, -1, 0, -1]).any()
  assert (band(0.56, 0.25, schedule="cosine") == [0, -1, 0, -1]).all()


@pytest.mark.parametrize(
  ("name", "args", "message"),
  [
    ("qae", {"quantile": 0.0}, "quantile is 0.0; .* above 0"),
    ("qae", {"quantile": 1.5}, "quantile is 1.5"),
    ("signed_outcome", {"positive": 0, "negative": 0}, "both 0"),
    ("entrocraft", {"schedule": "step"}, "'linear' or 'cosine'"),
    ("entrocraft", {"lower": (0.6, 0.9)}, "lower=0.9 is not below"),
  ],
)
def test_bad_settings_are_refused(name, args, message):
  with pytest.raises(ValueError, match=message):
    advantages.resolve(name, args)


@pytest.mark.parametrize("name", ["signed_outcome", "mcpo", "entrocraft"])
def test_a_missing_verdict_is_named(name):
  with pytest.raises(ValueError, match=r"needs AdvantageInputs\.correct"):
    advantages.resolve(name)(inputs([1.0, 0.0]))
