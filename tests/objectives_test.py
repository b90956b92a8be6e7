import ast
import inspect

import jax
import numpy as np
import pytest

from jaxrl_entropy import losses, objectives
from tests.losses import batches

KEY = jax.random.key(0)


def value(objective):
  return objective(batches.make(), KEY)[0]


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


def test_there_is_no_arithmetic():
  tree = ast.parse(inspect.getsource(objectives))
  found = [
    node
    for node in ast.walk(tree)
    if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.BitOr)
  ]
  assert not found


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
    ("dro", {}, "missing 1 required .*'beta'"),
    ("clip_cov", {"fractoin": 0.1}, "'clip_cov' does not take"),
    ("grpo", {"aggregate": "mean"}, "unknown aggregation 'mean'"),
    ("no_such_lab:mine", {}, "no_such_lab"),
    ("tests.objectives_test:nothing", {}, "nothing"),
  ],
)
def test_mistakes_are_named(name, args, message):
  with pytest.raises(ValueError, match=message):
    objectives.resolve(name, args)
