"""Programs from examples: draws, demonstrations and the verifier."""

import numpy as np
import pytest

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tasks import programs
from jaxrl_entropy.rewards.pool import RewardPool
from jaxrl_entropy.rewards.sandbox import launch


def asked(answer):
  return Problem("1", "", answer, "programs", "program")


def drawn(task, count=200, wrong_share=0.0):
  rng = np.random.default_rng(0)
  return task.demonstrations(rng, count, wrong_share)


def test_prompts_show_what_the_answer_computes():
  task = programs.Programs(operators=(1, 3), examples=5)
  for problem, _ in drawn(task):
    *shown, sign = problem.prompt.split()
    function = programs.define(problem.answer)
    assert sign == "="
    assert shown == [str(function(*each)) for each in programs.EXAMPLES[:5]]
    assert task.tokenizer.encode(problem.prompt)


def test_demonstrations_solve_all_but_the_wrong_share():
  task = programs.Programs()
  assert all(programs.verify(*pair) for pair in drawn(task))
  wrong = drawn(task, wrong_share=1.0)
  assert not any(programs.verify(*pair) for pair in wrong)
  longest = max(len(response.split()) for _, response in drawn(task, 1000))
  assert longest == 11


def test_functions_are_held_out():
  task = programs.Programs()

  def functions(split):
    found = (task.problem(split, i).answer for i in range(500))
    return {tuple(programs.table(answer)) for answer in found}

  assert not functions("train") & functions("test")


@pytest.mark.parametrize(
  ("response", "reward"),
  [
    ("x * y - 1", 1),
    ("y * x - 1", 1),
    ("( x * y ) - 1", 1),
    ("max ( x * y , x ) - 1", 0),
    ("x * y", 0),
    ("x*y-1", 0),
    ("x * y - 01", 0),
    ("x * y - 1 ; x", 0),
    ("x * y - ١", 0),
    ("x ( y )", 0),
    ("max ( x )", 0),
    ("max", 0),
    ("x . real * y - 1", 0),
    ("__import__ ( x )", 0),
    ("( " * 60 + ") " * 60, 0),
    ("- " * 5000 + "x", 0),
    ("x * y - 1 <eos>", 0),
    ("", 0),
  ],
)
def test_verify(response, reward):
  assert programs.verify(asked("x * y - 1"), response) == reward


@pytest.mark.skipif(
  all(map(launch.failure, launch.LEVELS[:2])), reason="no safe sandbox here"
)
def test_programs_run_in_the_sandbox_many_a_process():
  pairs = drawn(programs.Programs(), 400, wrong_share=0.5)
  with RewardPool(timeout=20) as pool:
    verdicts = pool.score(pairs)
  assert [v.correct for v in verdicts] == [programs.verify(*p) for p in pairs]
  assert not any(v.error for v in verdicts)


@pytest.mark.parametrize(
  ("args", "message"),
  [
    ({"operators": (0, 2)}, "operators"),
    ({"examples": 7}, "examples=7"),
    ({"constants": 64}, "constants=64"),
  ],
)
def test_settings_without_problems_are_refused(args, message):
  with pytest.raises(ValueError, match=message):
    programs.Programs(**args)
