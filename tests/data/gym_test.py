"""reasoning-gym tasks and their rewards."""

import pytest

from jaxrl_entropy.data.problems import resolve
from jaxrl_entropy.rewards import sandbox
from jaxrl_entropy.rewards.verify import RewardPool

pytest.importorskip("reasoning_gym")


def tagged(answer):
  return f"I think <answer>{answer}</answer>"


def test_compared_texts_are_verified_here():
  problem = resolve("gym", {"name": "gcd"}).problem("train", 3)
  assert problem.verifier == "tagged"
  with RewardPool() as pool:
    verdicts = pool.score(
      [
        (problem, tagged(problem.answer)),
        (problem, tagged(f"{problem.answer}0")),
        (problem, problem.answer),
      ]
    )
  assert [v.reward for v in verdicts] == [1, 0, 0]


@pytest.mark.skipif(
  all(map(sandbox.failure, sandbox.LEVELS[:2])), reason="no safe sandbox here"
)
def test_own_scoring_runs_in_the_sandbox_and_needs_full_marks():
  problem = resolve("gym", {"name": "countdown"}).problem("train", 5)
  assert problem.verifier == "gym"
  with RewardPool(timeout=5) as pool:
    verdicts = pool.score(
      [
        (problem, tagged(problem.answer)),
        (problem, tagged("1 + 1")),
        (problem, tagged("__import__('os').system('echo')")),
        (problem, tagged("9**9**9**9")),
        (problem, tagged(problem.answer)),
      ]
    )
  assert [v.reward for v in verdicts] == [1, 0, 0, 0, 1]


def test_settings_reach_the_data_set():
  task = resolve("gym", {"name": "chain_sum", "min_terms": 9, "max_terms": 9})
  assert task.problem("train", 0).prompt.count(" + ") <= 8
  assert task.problem("train", 0) != task.problem("test", 0)
  assert task.problem("train", 0).extra["settings"]["min_terms"] == 9
