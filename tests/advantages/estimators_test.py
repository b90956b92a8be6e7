"""Advantage estimators: hand-made cases, identities, and bad input."""

import functools

from hypothesis import given, settings, strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import advantages
from jaxrl_entropy.advantages import AdvantageInputs

NAMES = sorted(advantages.ESTIMATORS)
default = functools.cache(advantages.resolve)


def inputs(rng, sizes=(3, 4, 2), length=6, **changes):
  """A random rollout of ragged groups, every optional field present."""
  groups = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
  rows = len(groups)
  lengths = rng.integers(1, length + 1, rows)

  def tokens(scale=1.0):
    return rng.normal(size=(rows, length), scale=scale).astype(np.float32)

  fields = {
    "rewards": rng.normal(size=rows).astype(np.float32),
    "mask": np.arange(length) < lengths[:, None],
    "groups": groups,
    "token_rewards": tokens(0.1),
    "process_rewards": tokens(0.1),
    "values": tokens(),
    "old_logp": -np.abs(tokens()) - 0.1,
    "sum_p2": rng.uniform(0.1, 0.9, (rows, length)).astype(np.float32),
    "sampler_logp": -np.abs(tokens()) - 0.1,
    "baseline_rewards": rng.normal(size=rows).astype(np.float32),
    "correct": rng.integers(0, 2, rows).astype(np.float32),
    "entropy": np.abs(tokens()),
    "progress": np.asarray(0.5, np.float32),
    "components": {
      name: rng.normal(size=rows).astype(np.float32) for name in ("a", "b")
    },
  }
  return AdvantageInputs(**fields | changes)


def row_values(result, mask):
  """The one value of each response; checks that its tokens share it."""
  rows = [row[keep] for row, keep in zip(result.advantages, mask, strict=True)]
  assert all(np.ptp(row) == 0 for row in rows if len(row))
  return np.array([row[0] for row in rows])


def simple(rewards, groups, length=2):
  rows = len(rewards)
  return AdvantageInputs(
    rewards=np.asarray(rewards, np.float32),
    mask=np.ones((rows, length), bool),
    groups=np.asarray(groups, np.int32),
  )


def test_grpo_by_hand():
  rollout = simple([1, 0, 0, 1, 3], [0, 0, 0, 1, 1])
  got = row_values(advantages.resolve("grpo")(rollout), rollout.mask)
  a, b = np.sqrt(1 / 3), np.sqrt(2)
  expected = [2 / 3 / a, -1 / 3 / a, -1 / 3 / a, -1 / b, 1 / b]
  np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_dr_grpo_does_not_divide():
  rollout = simple([1, 0, 0, 1, 3], [0, 0, 0, 1, 1])
  got = row_values(advantages.resolve("dr_grpo")(rollout), rollout.mask)
  np.testing.assert_allclose(got, [2 / 3, -1 / 3, -1 / 3, -1, 1], rtol=1e-6)


def test_rloo_is_the_reward_less_the_mean_of_the_others():
  rng = np.random.default_rng(0)
  rollout = inputs(rng, token_rewards=None)
  got = row_values(advantages.resolve("rloo")(rollout), rollout.mask)
  for i, group in enumerate(rollout.groups):
    others = (rollout.groups == group) & (np.arange(len(got)) != i)
    expected = rollout.rewards[i] - rollout.rewards[others].mean()
    np.testing.assert_allclose(got[i], expected, rtol=1e-4, atol=1e-6)


def test_passk_rewards_the_lead_of_the_best_alone():
  rollout = simple([3, 1, 2, 5, 5, 0], [0, 0, 0, 1, 1, 1])
  estimator = advantages.resolve("grpo_passk", {"scale": False})
  got = row_values(estimator(rollout), rollout.mask)
  np.testing.assert_allclose(got, [1, 0, 0, 0, 0, 0])


def test_passk_refuses_a_group_of_one():
  with pytest.raises(ValueError, match="2 responses a prompt"):
    advantages.resolve("grpo_passk")(simple([1, 0, 1], [0, 0, 1]))


def test_opo_weighs_the_baseline_by_length():
  rollout = simple([1, 0], [0, 0], length=3)
  rollout.mask[1, 1:] = False
  got = row_values(advantages.resolve("opo")(rollout), rollout.mask)
  np.testing.assert_allclose(got, [1 - 3 / 4, -3 / 4], rtol=1e-6)


def test_gpg_makes_up_for_responses_without_reward():
  rollout = simple([1, 0, 0, 1], [0, 0, 1, 1])
  got = row_values(advantages.resolve("gpg")(rollout), rollout.mask)
  np.testing.assert_allclose(got, [1, -1, -1, 1])


def test_gdpo_normalises_each_reward_on_its_own():
  answer, form = np.array([[0, 1, 0, 1], [0, 0, 100, 0]], np.float32)
  rollout = simple(answer + form, [0, 0, 0, 0]).replace(
    components={"answer": answer, "format": form}
  )
  estimator = advantages.resolve("gdpo", {"weights": {"format": 2.0}})
  got = row_values(estimator(rollout), rollout.mask)
  each = [(x - x.mean()) / x.std(ddof=1) for x in (answer, form)]
  expected = np.repeat(each[0] + 2 * each[1], 2)
  expected = (expected - expected.mean()) / expected.std(ddof=1)
  np.testing.assert_allclose(got, expected[::2], rtol=1e-4)


def test_gdpo_counts_the_rewards_of_tokens_as_one_more():
  rollout = simple([0, 1, 0, 1], [0, 0, 0, 0])
  penalty = -np.float32([[1, 2], [0, 0], [3, 0], [0, 5]])
  estimator = advantages.resolve("gdpo")
  got = estimator(rollout.replace(token_rewards=penalty))
  named = {"outcome": rollout.rewards, "kl": penalty.sum(1)}
  expected = estimator(rollout.replace(components=named))
  np.testing.assert_allclose(got.advantages, expected.advantages, rtol=1e-6)


def test_reward_to_go_discounts_by_valid_tokens():
  rewards = jnp.asarray([[1.0, 0.0, 2.0, 4.0]])
  mask = jnp.asarray([[True, False, True, True]])
  got = advantages.reward_to_go(jnp.where(mask, rewards, 0.0), mask, 0.5)
  np.testing.assert_allclose(got[mask], [1 + 0.5 * (2 + 2), 4, 4])


def test_gae_against_its_definition():
  rng = np.random.default_rng(1)
  rollout = inputs(rng, sizes=(2, 1))
  gamma, lam = 0.9, 0.8
  estimator = advantages.resolve("gae", {"gamma": gamma, "lam": lam})
  result = estimator(rollout)
  device = jax.tree.map(jnp.asarray, rollout)
  rewards = np.asarray(advantages.dense_rewards(device))
  for row, n in enumerate(rollout.mask.sum(1)):
    v = np.append(rollout.values[row, :n], 0.0)
    delta = rewards[row, :n] + gamma * v[1:] - v[:-1]
    for t in range(n):
      weights = (gamma * lam) ** np.arange(n - t)
      expected = (weights * delta[t:]).sum() + v[t]
      np.testing.assert_allclose(
        result.returns[row, t], expected, rtol=1e-4, atol=1e-5
      )
  whitened = np.asarray(result.advantages)[rollout.mask]
  np.testing.assert_allclose(whitened.mean(), 0, atol=1e-6)
  np.testing.assert_allclose(whitened.std(ddof=1), 1, rtol=1e-5)


def test_remax_takes_the_greedy_response_as_baseline():
  rollout = simple([1, 0], [0, 0]).replace(
    baseline_rewards=np.array([0.25, 0.5], np.float32)
  )
  result = advantages.resolve("remax")(rollout)
  np.testing.assert_allclose(result.advantages, [[0.75] * 2, [-0.5] * 2])
  np.testing.assert_allclose(result.returns, [[1, 1], [0, 0]])


def test_token_baseline_gives_the_same_when_scores_weigh_the_same():
  """Equal weights: the baseline is the mean return of the rows still there."""
  rng = np.random.default_rng(2)
  rollout = inputs(
    rng,
    sizes=(3,),
    mask=np.ones((3, 6), bool),
    old_logp=np.full((3, 6), -1.0, np.float32),
    sum_p2=np.full((3, 6), 0.5, np.float32),
  )
  result = advantages.resolve("optimal_token_baseline")(rollout)
  returns = np.asarray(result.returns)
  expected = returns - returns.mean(0)
  np.testing.assert_allclose(result.advantages, expected, atol=1e-5)


def test_token_baseline_stops_where_only_one_response_goes_on():
  rng = np.random.default_rng(3)
  mask = np.arange(6) < np.array([6, 3])[:, None]
  rollout = inputs(rng, sizes=(2,), mask=mask)
  result = advantages.resolve("optimal_token_baseline")(rollout)
  tail, returns = result.advantages[0, 3:], result.returns[0, 3:]
  np.testing.assert_allclose(tail, returns)
  assert np.abs(result.advantages[0, :3] - result.returns[0, :3]).min() > 0


def test_prime_adds_leave_one_out_process_rewards():
  rollout = simple([1.0, 0.0], [0, 0]).replace(
    process_rewards=np.array([[0.2, 0.4], [0.1, -0.3]], np.float32)
  )
  result = advantages.resolve("prime", {"process": 1.0, "outcome": 1.0})(
    rollout
  )
  # 2 r - (mean_0 + mean_1), the means of the process rewards being .3, -.1
  rewards = 2 * rollout.process_rewards - 0.2
  rewards[:, 1] += [1, -1]
  expected = rewards[:, ::-1].cumsum(1)[:, ::-1]
  np.testing.assert_allclose(result.returns, expected, rtol=1e-5)


# Their baseline is a mean of the group's rewards.
GROUPED = (
  "grpo",
  "dr_grpo",
  "grpo_passk",
  "rloo",
  "opo",
  "gpg",
  "gdpo",
  "reinforce_plus_plus_baseline",
)


@pytest.mark.parametrize("name", GROUPED)
def test_equal_rewards_in_a_group_give_exact_zeros(name):
  rollout = simple([0.1] * 7, [0] * 7, length=5)
  result = advantages.resolve(name)(rollout)
  np.testing.assert_array_equal(result.advantages, np.zeros((7, 5)))


@pytest.mark.parametrize("name", NAMES)
def test_padding_order_and_rows_without_score_do_not_show(name):
  rng = np.random.default_rng(4)
  rollout = inputs(rng)
  expected = default(name)(rollout)
  order = rng.permutation(9)

  def fill(x, shape):
    return np.full(shape, np.nan if x.dtype == np.float32 else 1, x.dtype)

  def moved(x):
    """Rows permuted, one without score added, three columns of padding."""
    if not np.ndim(x):
      return x
    x = np.concatenate([x[order], fill(x, (1, *x.shape[1:]))])
    return x if x.ndim == 1 else np.concatenate([x, fill(x, (10, 3))], axis=1)

  more = jax.tree.map(moved, rollout)
  more.mask[:, 6:] = False
  got = default(name)(more)
  for field in ("advantages", "returns"):
    a, b = getattr(got, field), getattr(expected, field)
    np.testing.assert_allclose(a[:9, :6], b[order], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(a[9], 0)
    np.testing.assert_array_equal(a[:, 6:], 0)


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_passes(name):
  rollout = jax.tree.map(jnp.asarray, inputs(np.random.default_rng(6)))
  gradient = jax.grad(
    lambda r: default(name)(rollout.replace(rewards=r)).advantages.sum()
  )(rollout.rewards)
  np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_valid_gives_zeros(name):
  rng = np.random.default_rng(7)
  rollout = inputs(rng, mask=np.zeros((9, 6), bool))
  result = default(name)(rollout)
  np.testing.assert_array_equal(result.advantages, 0)
  np.testing.assert_array_equal(result.returns, 0)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_grpo_properties(data):
  """Sums to zero over a group; blind to an affine change of the rewards."""
  groups = np.array([0, 0, 0, 1, 1, 2, 2, 2], np.int32)
  levels = st.integers(-5, 5).map(float)
  rewards = np.array([data.draw(levels) for _ in groups], np.float32)
  shift, scale = data.draw(levels), data.draw(st.integers(1, 8))
  estimator = advantages.resolve("grpo")
  rollout = simple(rewards, groups)
  got = row_values(estimator(rollout), rollout.mask)
  sums = np.bincount(groups, got)
  np.testing.assert_allclose(sums, 0, atol=1e-5)
  moved = simple(rewards * scale + shift, groups)
  again = row_values(estimator(moved), moved.mask)
  np.testing.assert_allclose(got, again, rtol=1e-4, atol=1e-4)


def test_missing_field_names_itself():
  with pytest.raises(ValueError, match=r"AdvantageInputs\.values"):
    advantages.resolve("gae")(simple([1, 0], [0, 0]))


def test_unknown_names_and_arguments():
  with pytest.raises(ValueError, match="unknown advantage 'grop'"):
    advantages.resolve("grop")
  with pytest.raises(ValueError, match="does not take these args"):
    advantages.resolve("grpo", {"epsilon": 1})
  with pytest.raises(ValueError, match="scale is 'rows'"):
    advantages.resolve("grpo", {"scale": "rows"})
  other = advantages.resolve("gdpo", {"weights": {"b": 2.0, "c": 1.0}})
  with pytest.raises(ValueError, match=r"\['c'\], but the rewards are"):
    other(inputs(np.random.default_rng(8)))


def test_import_path():
  path = "jaxrl_entropy.advantages.outcome:rloo"
  rollout = simple([1, 0], [0, 0])
  got = row_values(advantages.resolve(path)(rollout), rollout.mask)
  np.testing.assert_allclose(got, [1, -1])
