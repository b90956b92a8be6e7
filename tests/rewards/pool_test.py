"""The pool: order, caching, metrics, and items that break their verifier."""

import os
import signal
import time

import pytest

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.rewards.pool import RewardPool, check
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


def test_what_cannot_be_scored_is_known_before_there_are_responses(monkeypatch):
  monkeypatch.setattr(launch, "failure", lambda level: "not here")
  check([item("a", verifier="exact")[0]])
  with pytest.raises(ValueError, match="no verifier 'nonesuch'"):
    check([item("a", verifier="nonesuch")[0]])
  with pytest.raises(UserError, match="jaxrl-entropy doctor"):
    check([item("a", verifier="exact")[0], boxed("7")[0]])
  with pytest.raises(UserError, match="'bubblewrap' does not work here"):
    check([boxed("7")[0]], "bubblewrap")


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
    (worker,) = pool._workers
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
    (worker,) = pool._workers
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
