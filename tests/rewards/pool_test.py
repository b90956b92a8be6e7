"""The pool: order, caching, metrics, and items that break their verifier."""

import os
import re
import signal
import time

import pytest

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.rewards import catalog
from jaxrl_entropy.rewards.pool import RewardFunction, RewardPool
from jaxrl_entropy.rewards.sandbox import launch, workers

HERE = "tests.rewards.pool_test"


def length(problem, response):
  """A user's own verifier."""
  if response == "die":
    os._exit(1)
  if response == "hang":
    time.sleep(1000)
  if response == "nan":
    return float("nan")
  if response == "raise":
    raise RuntimeError("broken\nverifier")
  return len(response) / float(problem.answer)


def words(problem, response, scale=1.0):
  """A reward function with an argument."""
  return scale * len(response.split())


def no_arguments():
  return 1.0


def no_number(problem, response):
  return "good"


def item(response, answer="4", verifier=f"{HERE}:length"):
  return Problem("1", "p", answer, "test", verifier), response


def boxed(response, answer="7"):
  return item(response, answer, "math")


needs_sandbox = pytest.mark.skipif(
  all(map(launch.failure, launch.LEVELS[:2])), reason="no safe sandbox here"
)


@needs_sandbox
def test_one_bad_item_costs_its_own_reward_only():
  responses = ["ab", "die", "abcd", "hang", "raise", "a", "nan"]
  with RewardPool(workers=2, timeout=3) as pool:
    verdicts = pool.score([item(r) for r in responses])
    again = pool.score([item("ab")])
  assert [v.reward for v in verdicts] == [0.5, 0, 1, 0, 0, 0.25, 0]
  assert [v.correct for v in verdicts] == [0, 0, 1, 0, 0, 0, 0]
  assert verdicts[1].error == "the verifier died"
  assert verdicts[3].error == "timeout"
  assert verdicts[4].error == "RuntimeError: broken\nverifier"
  assert "nan" in verdicts[6].error
  assert again[0].reward == 0.5


@needs_sandbox
def test_metrics_count_errors_and_the_cache():
  with RewardPool(timeout=3) as pool:
    pool.score([item("ab"), item("ab"), item("die"), item("hang")])
    pool.score([item("ab"), item("die")])
    metrics = pool.metrics()
    assert pool.metrics()["reward/errors"] == 0
  # A failure is tried again: it may have been the machine's.
  assert metrics["throughput/rewards_cached"] == 2
  assert metrics["reward/errors"] == 3
  assert metrics["reward/timeouts"] == 1
  assert metrics["throughput/rewards_per_s"] > 0


def test_procedural_problems_need_no_sandbox(monkeypatch):
  monkeypatch.setattr(launch, "failure", lambda level: "not here")
  problem = Problem("1", "3 7 12 9 =", "9", "countdown", "countdown")
  with RewardPool() as pool:
    verdicts = pool.score(
      [
        (problem, "7 x 3 21 21 - 12 9"),
        (problem, "7 x 3 21 21 - 12 8"),
      ]
    )
  assert [v.reward for v in verdicts] == [1, 0]


def test_plain_answers_need_no_sandbox(monkeypatch):
  monkeypatch.setattr(launch, "failure", lambda level: "not here")
  with RewardPool() as pool:
    verdicts = pool.score([boxed("\\boxed{7.0}"), boxed("7"), boxed("")])
    assert [v.reward for v in verdicts] == [1, 0, 0]
    with pytest.raises(launch.SandboxError, match="jaxrl-entropy doctor"):
      pool.score([boxed("\\boxed{\\sqrt{3}+x}", "x+\\sqrt{3}")])


def check(*problems, sandbox="auto"):
  with RewardPool(sandbox=sandbox) as pool:
    pool.check(problems)


def test_what_cannot_be_scored_is_known_before_there_are_responses(monkeypatch):
  monkeypatch.setattr(launch, "failure", lambda level: "not here")
  exact, maths = item("a", verifier="exact")[0], boxed("7")[0]
  check(exact)
  with pytest.raises(UserError, match="no verifier 'nonesuch'"):
    check(item("a", verifier="nonesuch")[0])
  with pytest.raises(UserError, match="jaxrl-entropy doctor"):
    check(exact, maths)
  with pytest.raises(UserError, match="'bubblewrap' does not work here"):
    check(maths, sandbox="bubblewrap")


def test_a_package_that_is_missing_is_known_before_there_are_responses(
  monkeypatch,
):
  monkeypatch.setattr(catalog, "find_spec", lambda package: None)
  with pytest.raises(UserError, match=r"'math' .* 'jaxrl_entropy\[math\]'"):
    check(boxed("7")[0])
  check(item("a", verifier="exact")[0])


@needs_sandbox
def test_own_verifiers_are_tried_before_there_are_responses():
  check(item("a")[0])
  with pytest.raises(UserError, match="has no attribute 'nonesuch'"):
    check(item("a", verifier=f"{HERE}:nonesuch")[0])
  functions = {"brevity": RewardFunction("no_such_module:f")}
  with (
    RewardPool(functions=functions) as pool,
    pytest.raises(UserError, match="there is no module 'no_such_module'"),
  ):
    pool.check([])


def test_the_weakest_level_is_refused_unless_asked_for(monkeypatch):
  monkeypatch.setattr(
    launch, "failure", lambda level: None if level == "rlimits" else "no"
  )
  with pytest.raises(launch.SandboxError, match="rlimits"):
    launch.choose("auto")
  assert launch.choose("rlimits") == "rlimits"
  with pytest.raises(launch.SandboxError, match="does not work"):
    launch.choose("bubblewrap")
  with pytest.raises(launch.SandboxError, match="choose auto"):
    launch.choose("strong")


def test_the_next_level_takes_over(monkeypatch):
  monkeypatch.setattr(
    launch, "failure", lambda level: "no" if level == "bubblewrap" else None
  )
  assert launch.choose("auto") == "namespaces"


@needs_sandbox
@pytest.mark.parametrize(
  ("verifier", "reason"),
  [
    ("nonesuch", "no verifier"),
    ("no_such_module:f", "there is no module"),
    (f"{HERE}:nonesuch", "does not start"),
  ],
)
def test_an_unknown_verifier_is_reported(verifier, reason):
  with (
    RewardPool() as pool,
    pytest.raises((ValueError, launch.SandboxError), match=reason),
  ):
    pool.score([item("a", verifier=verifier)])


@needs_sandbox
def test_algebra_is_scored_after_a_death(monkeypatch):
  with RewardPool(timeout=10) as pool:
    good = boxed("\\boxed{x + \\sqrt{3}}", "\\sqrt{3}+x")
    assert pool.score([good])[0].correct
    (worker,) = pool._graders._workers
    worker._server.kill()
    other = boxed("\\boxed{x - \\sqrt{3}}", "-\\sqrt{3}+x")
    (lost,) = pool.score([other])
    assert "died" in lost.error
    assert pool.score([other])[0].correct


@needs_sandbox
def test_a_server_that_hangs_or_does_not_come_back_costs_one_item(monkeypatch):
  monkeypatch.setattr(workers, "GRACE_SECONDS", 0.5)
  algebra = boxed("\\boxed{x + \\sqrt{3}}", "\\sqrt{3}+x")
  # More than a pipe takes, so that to hand it over waits for the server.
  long = boxed("x" * 1_000_000 + "\\boxed{x - \\sqrt{3}}", "\\sqrt{3}+x")
  with RewardPool(timeout=10) as pool:
    assert pool.score([algebra])[0].correct
    (worker,) = pool._graders._workers
    worker._timeout = 0.5
    os.killpg(worker._server.pid, signal.SIGSTOP)
    (lost,) = pool.score([long])
    assert "no reply" in lost.error
    worker._timeout = 10
    with monkeypatch.context() as broken:
      missing = [launch._program("false")]
      broken.setattr(launch, "_prefix", lambda *a: missing)
      (lost,) = pool.score([long])
      assert "does not start" in lost.error
    assert pool.score([long])[0].error is None


def test_a_broken_problem_costs_its_own_reward_only():
  broken = Problem("1", "3 x 12 9 =", "9", "countdown", "countdown")
  empty = Problem("2", "", "", "countdown", "countdown")
  with RewardPool() as pool:
    verdicts = pool.score([(broken, "3 + x 5 5 + 12 9"), (empty, "")])
  assert [v.reward for v in verdicts] == [0, 0]
  assert all(v.error for v in verdicts)


@needs_sandbox
def test_reward_functions_are_weighed_and_added():
  functions = {
    "form": RewardFunction("tagged", 0.5),
    "words": RewardFunction(f"{HERE}:words", -0.1, {"scale": 2.0}),
  }
  items = [
    (Problem("1", "p", "7", "test", "exact"), text)
    for text in ("\\boxed{7} <answer>7</answer>", "\\boxed{7}", "no")
  ]
  with RewardPool(timeout=20, weight=2.0, functions=functions) as pool:
    verdicts = pool.score(items)
    assert [v.reward for v in pool.verify(items)] == [1, 1, 0]
  assert [dict(v.components) for v in verdicts] == [
    {"answer": 2, "form": 0.5, "words": -0.4},
    {"answer": 2, "form": 0, "words": -0.2},
    {"answer": 0, "form": 0, "words": -0.2},
  ]
  assert [v.reward for v in verdicts] == pytest.approx([2.1, 1.8, -0.2])
  assert [v.correct for v in verdicts] == [True, True, False]


@needs_sandbox
@pytest.mark.parametrize(
  ("verifier", "reason"),
  [
    ("no_number", "TypeError: the reward is 'good', not a number"),
    ("no_arguments", "TypeError: no_arguments.. takes 0 positional"),
  ],
)
def test_a_pool_knows_that_nothing_was_judged(verifier, reason):
  with RewardPool(timeout=20) as pool:
    assert pool.nothing_judged() is None
    pool.score([item("a", verifier=f"{HERE}:{verifier}")] * 3)
    message = pool.nothing_judged()
  assert message.startswith("none of the first 3 responses could be judged")
  assert re.search(reason, message)
  assert "\n" not in message


@needs_sandbox
def test_one_judged_response_is_enough_and_the_others_are_told_of_once():
  with RewardPool(timeout=3) as pool:
    pool.score([item("raise")])
    assert "RuntimeError: broken verifier" in pool.nothing_judged()
    pool.score([item("a"), item("raise")])
    assert pool.nothing_judged() is None
    notice = pool.notice()
    pool.score([item("b"), item("raise")])
    assert pool.notice() is None
  assert "100% of the responses could not be judged" in notice
  assert "broken verifier" in notice


@needs_sandbox
def test_a_program_that_takes_too_long_is_judged():
  test = {"stdin": "", "stdout": ""}
  problem = Problem("1", "p", "", "test", "code", tests=(test,))
  with RewardPool(timeout=1) as pool:
    (verdict,) = pool.score([(problem, "```python\nwhile True: pass\n```")])
    assert verdict.error == "timeout"
    assert pool.nothing_judged() is None


@needs_sandbox
def test_a_reward_function_that_never_judges_is_noticed_beside_one_that_does():
  functions = {"broken": RewardFunction(f"{HERE}:no_number")}
  with RewardPool(timeout=20, functions=functions) as pool:
    pool.score([(Problem("1", "p", "7", "test", "exact"), "7")])
    assert "reward function 'broken'" in pool.nothing_judged()


@needs_sandbox
def test_a_response_that_was_started_is_judged_once(monkeypatch):
  functions = {"words": RewardFunction(f"{HERE}:words", weight=0.5)}
  with RewardPool(timeout=20, functions=functions) as pool:
    grade, graded = pool._graders.grade, []

    def counting(problem, response, args):
      graded.append((problem.verifier, response))
      return grade(problem, response, args)

    monkeypatch.setattr(pool._graders, "grade", counting)
    items = [item("ab"), item("one two"), item("raise")]
    for problem, response in items[:2] * 2:
      pool.start(problem, response)
    verdicts = pool.score(items)
    assert [v.reward for v in verdicts] == [0.5 + 0.5, 7 / 4 + 1.0, 0.5]
    assert [v.error is None for v in verdicts] == [True, True, False]
    assert len(graded) == len(set(graded)) == 6
    assert pool.metrics()["reward/errors"] == 1
    # Later, verdicts are remembered and errors tried again, as ever.
    pool.start(*items[0])
    pool.start(*items[2])
    pool.score(items)
    assert len(graded) == 7


@needs_sandbox
def test_verifiers_share_no_verdicts():
  response = r"\boxed{\sqrt{3}+\sqrt{3}}"
  names = "math", "math_equal", "math_verify"
  items = [item(response, r"2\sqrt{3}", name) for name in names]
  with RewardPool(timeout=10) as pool:
    verdicts = pool.score(items)
  assert [verdict.correct for verdict in verdicts] == [False, True, True]
