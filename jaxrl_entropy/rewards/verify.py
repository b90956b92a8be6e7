"""Rewards for a batch of responses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import time

from jaxrl_entropy.data.problems import Problem, load_object

Verifier = Callable[[Problem, str], float]
"""Reward of a response to a problem, 1.0 for a right one."""

VERIFIERS = {
  "countdown": "jaxrl_entropy.data.countdown:verify",
  "integer": "jaxrl_entropy.rewards.integer:verify",
}


@dataclass(frozen=True)
class Verdict:
  """What a response earned.

  Attributes:
    reward: the reward, before any shaping.
    correct: whether the response solves the problem.
    error: why it could not be judged; its reward is then 0.
    seconds: that judging took.
  """

  reward: float
  correct: bool
  error: str | None = None
  seconds: float = 0.0


class RewardPool:
  """Scores responses; one bad item costs its own reward only."""

  def __init__(
    self, workers: int = 1, timeout: float = 5.0, sandbox: str = "auto"
  ):
    self._workers, self._timeout, self._sandbox = workers, timeout, sandbox

  def __enter__(self) -> "RewardPool":
    return self

  def __exit__(self, *exception: object) -> None:
    pass

  def score(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]:
    """A verdict for each (problem, response), in order."""
    return [judge(problem, response) for problem, response in items]


def judge(problem: Problem, response: str) -> Verdict:
  """Runs the problem's verifier in this process."""
  start = time.perf_counter()
  verifier = load_object(
    VERIFIERS.get(problem.verifier, problem.verifier), known=VERIFIERS
  )
  reward = verifier(problem, response)
  seconds = time.perf_counter() - start
  return Verdict(reward, reward >= 1.0, seconds=seconds)
