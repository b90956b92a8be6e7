import ast
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrl_entropy import losses, objectives
from tests.losses import batches

KEY = jax.random.key(0)


def value(objective, batch=None):
  return objective(batches.make() if batch is None else batch, KEY)[0]


def mine(scale=1.0):
  """A user's own method."""

  def update(loss, batch, key):
    del key
    return loss.replace(loss=-scale * batch.advantages * batch.logp)

  return losses.objective(update, aggregate=losses.token_mean())


def test_the_paper_s_methods_are_the_chains_of_the_design():
  clip_cov = losses.objective(
    losses.ppo_clip(clip_low=1.0, clip_high=1.0),
    losses.masked(
      losses.set_to_zero(),
      losses.random_covariance(0.9, cov_low=0.1, cov_high=5.0),
    ),
    aggregate=losses.token_mean(),
  )
  args = {"fraction": 0.9, "cov_low": 0.1}
  assert value(objectives.resolve("clip_cov", args)) == value(clip_cov)
  kl_cov = losses.objective(
    losses.policy_gradient(),
    losses.masked(losses.add_kl(1.0), losses.top_covariance(0.2)),
    aggregate=losses.token_mean(),
  )
  assert value(objectives.resolve("kl_cov", {"fraction": 0.2})) == value(kl_cov)


@pytest.mark.parametrize("pool", ["all", "rewarded", "punished", "likely"])
def test_clip_cov_s_control_stops_as_many_tokens(pool):
  args = {"fraction": 0.05, "cov_low": 0.1}
  rule = objectives.clip_cov(**args)(batches.make(), KEY)[1]
  control = objectives.clip_random(pool, **args)(batches.make(), KEY)[1]
  share, other = (m["select/share"].compute() for m in (rule, control))
  assert share == other > 0
  with pytest.raises(ValueError, match="among"):
    objectives.clip_random("some")


def test_there_is_no_arithmetic():
  for path in Path(objectives.__file__).parent.glob("*.py"):
    found = [
      node
      for node in ast.walk(ast.parse(path.read_text()))
      if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.BitOr)
    ]
    assert not found, path


def test_no_name_is_a_part_and_an_objective():
  assert not set(objectives.OBJECTIVES) & set(vars(losses))


@pytest.mark.parametrize(
  "name", ["rloo", "reinforce_plus_plus", "bnpo", "dr_grpo", "gpg", "dapo"]
)
def test_no_name_promises_more_than_a_loss(name):
  with pytest.raises(ValueError, match=f"unknown loss '{name}'"):
    objectives.resolve(name)


def test_archer_clips_and_penalises_by_entropy():
  batch = batches.make(2, drift=0.5)
  chosen = np.zeros_like(batch.mask)
  for row, valid in enumerate(batch.mask):
    if valid.any():
      cut = np.quantile(np.float64(batch.entropy[row][valid]), 0.8)
      chosen[row] = valid & (batch.entropy[row] >= cut - 1e-7)
  ratio = np.exp(np.float64(batch.logp - batch.old_logp))
  width = np.where(chosen, 0.5, 0.2)
  a = batch.advantages
  surrogate = np.maximum(-a * ratio, -a * np.clip(ratio, 1 - width, 1 + width))
  surrogate = np.where(a < 0, np.minimum(surrogate, -10 * a), surrogate)
  d = np.float64(batch.ref_logp - batch.logp)
  expected = surrogate + np.where(chosen, 0, 0.1 * (np.exp(d) - d - 1))
  got = value(objectives.archer(coefficient=0.1), batch)
  np.testing.assert_allclose(got, expected[batch.mask].mean(), rtol=1e-4)


def test_htpo_has_eight_groups_of_tokens():
  batch = batches.make(2, drift=0.5, masked=0.0)
  easy = np.where(batch.response == 3, np.float32(1), batch.group_accuracy)
  batch = batch.replace(group_accuracy=easy)
  high = np.zeros_like(batch.mask)
  for row in range(batches.RESPONSES):
    cut = np.quantile(np.float64(batch.entropy[row]), 0.8)
    high[row] = batch.entropy[row] >= cut - 1e-7
  hard, right = batch.group_accuracy < 0.6, batch.correct > 0
  r, a = np.exp(np.float64(batch.logp - batch.old_logp)), batch.advantages
  clipped = np.maximum(-a * r, -a * np.clip(r, 0.8, 1.28))
  explore = np.where(r > 1.28, 1.28 * a, np.where(r < 0.8, a / r, -a * r))
  pulled = np.where(r < 0.8, 0.8 * a, -a * r)
  expected = np.where(
    hard & right & high, explore, np.where(~right & high, pulled, clipped)
  )
  expected = np.where(a < 0, np.minimum(expected, -10 * a), expected)
  zero = np.zeros_like(batch.mask)
  for row in range(batches.RESPONSES):
    entropy = batch.entropy[row]
    sure = np.flatnonzero((hard & right & ~high)[row])
    if len(sure):
      last = max(int(0.3 * len(sure)), 1) - 1
      zero[row, sure[entropy[sure] < np.sort(entropy[sure])[last]]] = True
    unsure = np.flatnonzero((~hard & right & high)[row])
    ranked = unsure[np.argsort(-entropy[unsure], kind="stable")]
    zero[row, ranked[: int(0.4 * len(unsure))]] = True
  assert (zero & hard).any()
  assert (zero & ~hard).any()
  htpo = objectives.htpo(least_share=0.3, most_share=0.4)
  got = value(htpo, batch)
  np.testing.assert_allclose(got, np.where(zero, 0, expected).mean(), rtol=1e-4)


def test_an_import_path_resolves_to_the_user_s_own():
  ours = objectives.resolve("tests.objectives_test:mine", {"scale": 2.0})
  np.testing.assert_allclose(
    value(ours), 2 * value(objectives.resolve("reinforce")), rtol=1e-6
  )


def test_aggregation_is_a_setting():
  by_token = value(objectives.resolve("grpo"))
  by_response = value(
    objectives.resolve("grpo", {"aggregate": "seq-mean-token-mean"})
  )
  assert by_token != by_response


@pytest.mark.parametrize(
  ("name", "args", "message"),
  [
    ("grop", {}, "unknown loss 'grop': did you mean 'grpo'"),
    ("grpo", {"lo": 0.2}, "'grpo' does not take .*unexpected .*'lo'.*clip_low"),
    ("dro", {}, "missing .*required .*'beta'"),
    ("clip_cov", {"fractoin": 0.1}, "'clip_cov' does not take"),
    ("grpo", {"aggregate": "mean"}, "unknown aggregation 'mean'"),
    ("no_such_lab:mine", {}, "no_such_lab"),
    ("tests.objectives_test:nothing", {}, "nothing"),
  ],
)
def test_mistakes_are_named(name, args, message):
  with pytest.raises(ValueError, match=message):
    objectives.resolve(name, args)
