"""Countdown: draws, demonstrations and the verifier."""

import itertools

import numpy as np
import pytest

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tasks import countdown

VARIANTS = [{}, {"numbers": 4}, {"operators": "+-"}]


def asked(prompt):
  return Problem("1", prompt, prompt.split()[-2], "countdown", "countdown")


@pytest.mark.parametrize("args", VARIANTS)
def test_demonstrations_solve_all_but_the_wrong_share(args):
  task = countdown.Countdown(**args)
  steps = args.get("numbers", 3) - 1
  rng = np.random.default_rng(0)
  for problem, response in task.demonstrations(rng, 50, wrong_share=0.0):
    assert countdown.verify(problem, response) == 1.0
    assert len(task.tokenizer.encode(response)) == 4 * steps
    assert len(task.tokenizer.encode(problem.prompt)) == steps + 3
  pairs = task.demonstrations(rng, 600, wrong_share=0.3)
  right = np.mean([countdown.verify(*pair) for pair in pairs])
  assert abs(right - 0.7) < 0.08


def test_wrong_demonstrations_are_valid_but_for_the_target():
  task = countdown.Countdown()
  pairs = task.demonstrations(np.random.default_rng(1), 50, wrong_share=1.0)
  for problem, response in pairs:
    *numbers, _, sign = problem.prompt.split()
    reached = " ".join([*numbers, response.split()[-1], sign])
    assert countdown.verify(problem, response) == 0.0
    assert countdown.verify(asked(reached), response) == 1.0


def test_difficulty_is_the_chance_of_a_random_path():
  paths = countdown.reachable((1, 2, 3), "+-x", 63)
  counted = {}
  for pair in itertools.permutations((1, 2, 3)):
    for one, two in itertools.product("+-x", repeat=2):
      for swap in (False, True):
        x, y, rest = pair
        z = countdown.OPERATORS[one](x, y)
        left = (rest, z) if swap else (z, rest)
        last = countdown.OPERATORS[two](*left)
        if z >= 0 and last >= 0:
          counted[last] = counted.get(last, 0) + 1
  assert dict(paths) == counted


def test_the_difficulty_knob_bounds_every_problem():
  task = countdown.Countdown(numbers=4, difficulty=(5.0, 7.0))
  found = [task.problem("train", i).difficulty for i in range(50)]
  assert min(found) >= 5.0
  assert max(found) <= 7.0
  with pytest.raises(ValueError, match="difficulty"):
    countdown.Countdown(numbers=2, difficulty=(30, 40)).problem("train", 0)


def test_multisets_are_held_out():
  task = countdown.Countdown()

  def numbers(split):
    prompts = (task.problem(split, i).prompt for i in range(500))
    return {tuple(sorted(prompt.split()[:3])) for prompt in prompts}

  assert not numbers("train") & numbers("test")


@pytest.mark.parametrize(
  ("response", "reward"),
  [
    ("7 x 3 21 21 - 12 9", 1),
    ("3 x 7 21 21 - 12 9", 1),
    ("7 x 3 21 21 - 12 10", 0),
    ("7 x 3 22 22 - 12 10", 0),
    ("12 - 3 9", 0),
    ("12 - 3 9 9 - 0 9", 0),
    ("12 - 3 9 12 - 3 9", 0),
    ("7 x 3 21 21 - 12 9 9", 0),
    ("7 x 3 21 21 - 12 9 <eos>", 0),
    ("7 × 3 21 21 - 12 9", 0),
    ("7 / 3 2 12 - 3 9", 0),
    ("٧ x 3 21 21 - 12 9", 0),
    ("07 x 3 21 21 - 12 9", 0),
    ("= = = = = = = =", 0),
    ("", 0),
  ],
)
def test_verify(response, reward):
  assert countdown.verify(asked("3 7 12 9 ="), response) == reward
