"""reasoning-gym tasks and their rewards."""

import pytest

from jaxrl_entropy.data.task import resolve
from jaxrl_entropy.rewards.pool import RewardPool
from jaxrl_entropy.rewards.sandbox import launch
from jaxrl_entropy.rewards.verifiers.gym import calls

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
  all(map(launch.failure, launch.LEVELS[:2])), reason="no safe sandbox here"
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
  for args, named in (
    ({"name": "nonesuch"}, "reasoning-gym's 'nonesuch'"),
    ({"name": "chain_sum", "min_terms": -1}, "min_terms"),
  ):
    with pytest.raises(ValueError, match=named):
      resolve("gym", args)


@pytest.mark.skipif(
  all(map(launch.failure, launch.LEVELS[:2])), reason="no safe sandbox here"
)
def test_an_answer_that_is_evaluated_cannot_forge_its_verdict():
  forged = "exec('import os; os.write(3, b\"[1.0, null]\"); os._exit(0)')"
  answers = [
    forged,
    f"({forged})",
    forged.replace("exec", "[exec][0]"),
    forged.replace("exec", "(exec)"),
    forged.replace("exec", "(exec\\\n") + ")",
    forged.replace("exec", "(exec #+\n") + ")",
    forged.replace("exec", "exec \n"),
    f"[{forged.replace('exec', 'exp')} for exp in [exec]]",
    forged.replace("exec", "().__class__"),
    'sin("' + "".join(f"\\x{ord(char):02x}" for char in forged) + '")',
  ]
  problems = [
    resolve("gym", {"name": name}).problem("train", 5)
    for name in ("n_queens", "countdown")
  ]
  items = [(p, tagged(a)) for p in problems for a in answers]
  with RewardPool(timeout=5) as pool:
    verdicts = pool.score(items)
  assert [v.reward for v in verdicts] == [0] * len(items)


@pytest.mark.parametrize(
  "answer",
  ["2*exp(x)*(x + 1)", "x*sin(3*x)/2 + C", "(1 + 2)*3", "Q _ _ _\n_ _ Q _"],
)
def test_functions_of_numbers_are_no_calls(answer):
  assert not calls(answer)
