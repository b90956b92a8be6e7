"""Rewards of a whole rollout, against loops over pairs of responses."""

import dataclasses
import math

import numpy as np
import pytest

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.training import rollout_rewards
from tests.training.rollouts import make_rollout


def make(sources=("hard", "hard", "easy", "easy"), seed=0):
  rollout = make_rollout(seed)
  problems = [
    Problem(f"{i}", "1", "3", source, "countdown")
    for i, source in enumerate(sources)
  ]
  return dataclasses.replace(rollout, problems=problems)


def softmax(values):
  weights = [math.exp(v) for v in values]
  return [w / sum(weights) for w in weights]


def distance(a, b):
  size = max(len(a), len(b))
  p, q = (
    softmax([x[int(t * len(x) / size)] for t in range(size)]) for x in (a, b)
  )
  return sum(pi * math.log(pi / qi) for pi, qi in zip(p, q, strict=True))


def by_pairs(rollout, target, min_tokens, general):
  rows = [
    [float(x) for x in row[mask]]
    for row, mask in zip(rollout.signals["entropy"], rollout.mask, strict=True)
  ]
  kinds = [problem.source == target for problem in rollout.problems]
  earned = []
  for i, row in enumerate(rows):
    others = [j for j in range(len(rows)) if j != i]
    near = {
      kind: min(distance(row, rows[j]) for j in others if kinds[j] == kind)
      for kind in (True, False)
    }
    counts = len(row) > min_tokens and (kinds[i] or general)
    earned.append(float(counts and near[not kinds[i]] < near[kinds[i]]))
  return earned


@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("min_tokens", [0, 2])
def test_the_nearest_responses_decide(general, min_tokens):
  reward = rollout_rewards.entropy_shape("hard", min_tokens, general)
  seen = []
  for seed in range(6):
    rollout = make(seed=seed)
    got = reward(rollout)
    np.testing.assert_array_equal(
      got, by_pairs(rollout, "hard", min_tokens, general)
    )
    seen += list(got)
  assert 0 < np.mean(seen) < 1


def test_the_level_of_the_entropy_does_not_count():
  rollout = make()
  reward = rollout_rewards.entropy_shape("hard", 0)
  shift = np.array([[3.0], [0.0], [1.0], [-2.0]], np.float32)
  moved = rollout.with_signals(entropy=rollout.signals["entropy"] + shift)
  np.testing.assert_array_equal(reward(rollout), reward(moved))


def test_it_is_a_component_of_the_reward():
  rollout = make()
  added = rollout_rewards.add_reward(
    rollout, lambda rollout: np.arange(4, dtype=np.float64)
  )
  np.testing.assert_array_equal(added.rewards, rollout.rewards + np.arange(4))
  np.testing.assert_array_equal(added.components["rollout"], np.arange(4))
  assert rollout_rewards.resolve("", {}) is None
  assert rollout_rewards.add_reward(rollout, None) is rollout


def test_mistakes_are_named():
  with pytest.raises(UserError, match="'best', the source of 0 of 4"):
    rollout_rewards.entropy_shape("best")(make())
  with pytest.raises(UserError, match="min_tokens"):
    rollout_rewards.resolve("entropy_shape", {"target": "a", "min_tokens": -1})
  with pytest.raises(UserError, match=r"unknown reward\.rollout 'entropy'"):
    rollout_rewards.resolve("entropy", {})
