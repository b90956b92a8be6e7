"""The rewards of a run, as its config describes them."""

import pytest

from jaxrl_entropy.config import defaults
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.rewards.settings import make_pool, make_shaping


def pool(**changes):
  config = defaults.get_config()
  with config.unlocked():
    config.reward.update(changes)
  return make_pool(config.reward.to_dict())


def test_reward_functions_of_a_config():
  form = {"verifier": "tagged", "weight": 0.5}
  with pool(weight=2.0, functions={"form": form}) as made:
    problem = Problem("1", "p", "7", "test", "exact")
    (verdict,) = made.score([(problem, "\\boxed{7} <answer>7</answer>")])
  assert dict(verdict.components) == {"answer": 2.0, "form": 0.5}


@pytest.mark.parametrize(
  ("changes", "reason"),
  [
    ({"functions": {"form": {"verifer": "tagged"}}}, "verifer"),
    ({"functions": {"form": "tagged"}}, "give dict"),
    ({"functions": {"answer": {"verifier": "tagged"}}}, "another reward"),
    (
      {"functions": {"form": {"verifier": "tagged", "weight": float("nan")}}},
      "reward.functions.form.weight",
    ),
    ({"weight": float("inf")}, "reward.weight"),
    ({"packages": ("no_such_package",)}, "no_such_package"),
  ],
)
def test_mistakes_are_named(changes, reason):
  with pytest.raises(UserError) as error:
    pool(**changes)
  assert reason in str(error.value)


def test_shaping_of_a_config():
  reward = defaults.get_config().reward
  reward.format, reward.overlong_buffer = "boxed", 2
  shape = make_shaping(reward, 10)
  assert shape("\\boxed{3}", 10) == {"format": 0.1, "overlong": -1.0}
