"""Rewards for a batch of responses."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
import hashlib
from itertools import islice
import math
import threading
import time

from jaxrl_entropy import registry
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards.sandbox.launch import (
  TIMEOUT,
  SandboxError,
  choose,
)
from jaxrl_entropy.rewards.sandbox.workers import Worker
from jaxrl_entropy.rewards.verifiers import code

Item = tuple[Problem, str]
Key = bytes
Verifier = Callable[[Problem, str], float]
"""Reward of a response to a problem, 1.0 for a right one."""

# Exact comparisons that parse nothing: they run in this process.
INLINE = {
  "countdown": "jaxrl_entropy.data.tasks.countdown:verify",
  "exact": "jaxrl_entropy.rewards.verifiers.exact:verify",
  "tagged": "jaxrl_entropy.rewards.verifiers.exact:verify_tagged",
  "integer": "jaxrl_entropy.rewards.verifiers.integer:verify",
  "last_integer": "jaxrl_entropy.rewards.verifiers.integer:verify_last",
}
# Verifiers that parse the response, and so run in the sandbox.
SANDBOXED = {
  "math": "jaxrl_entropy.rewards.verifiers.maths.symbolic:verify",
  "math_equal": "jaxrl_entropy.rewards.verifiers.maths.symbolic:verify_equal",
  "math_verify": "jaxrl_entropy.rewards.verifiers.math_library:verify",
  "gym": "jaxrl_entropy.rewards.verifiers.gym:verify",
  "program": "jaxrl_entropy.data.tasks.programs:verify",
}
# What can tell, for many responses, without parsing them; else None.
FIRST = {
  "math": "jaxrl_entropy.rewards.verifiers.math_answer:decide",
  "math_equal": "jaxrl_entropy.rewards.verifiers.math_answer:decide_equal",
}
# Responses that one process may verify: what evaluates nothing, or nothing that
# could reach beyond its own result, may see many.
REUSE = {
  SANDBOXED[name]: 200
  for name in ("math", "math_equal", "math_verify", "program")
}
PROGRAM = "code"  # runs the response itself

CACHED = 100_000


@dataclass(frozen=True)
class Verdict:
  """What a response earned.

  Attributes:
    reward: the verifier's, and what the response's form adds to it.
    correct: whether the response solves the problem.
    error: why it could not be judged: the verifier's reward is then 0.
    seconds: that judging took; 0 from the cache.
    form: the part of `reward` that the response's form adds.
  """

  reward: float
  correct: bool
  error: str | None = None
  seconds: float = 0.0
  form: float = 0.0


class RewardPool:
  """Scores responses; one bad item costs its own reward and no other.

  A problem's verifier is a name above, or the import path of a function of
  the user's own, `(Problem, response) -> reward`, which runs in the sandbox.

  Args:
    workers: responses verified at a time.
    timeout: seconds for one response.
    sandbox: the level, or "auto"; looked for when it is first needed.
    shape: what a response's text adds to its reward, as `format_bonus` does.
  """

  def __init__(
    self,
    workers: int = 1,
    timeout: float = 5.0,
    sandbox: str = "auto",
    shape: Callable[[str], float] = lambda response: 0.0,
  ):
    self._timeout, self._sandbox, self._shape = timeout, sandbox, shape
    self._threads = ThreadPoolExecutor(max(1, workers), "verify")
    self._local = threading.local()
    self._workers: list[Worker] = []
    self._cache: dict[Key, Verdict] = {}
    self._counts: Counter[str] = Counter()
    self._seconds = 0.0

  def __enter__(self) -> "RewardPool":
    return self

  def __exit__(self, *exception: object) -> None:
    self._threads.shutdown(cancel_futures=True)
    for worker in self._workers:
      worker.close()

  def score(self, items: Sequence[Item]) -> list[Verdict]:
    """A verdict for each (problem, response), in order.

    Raises:
      SandboxError: a response needs a sandbox that this machine cannot give.
      ValueError: a problem's verifier does not exist.
    """
    start = time.perf_counter()
    verifiers = {problem.verifier for problem, _ in items}
    _check_names(verifiers)
    if verifiers <= INLINE.keys():
      # Cheaper to judge again than to remember.
      verdicts, cached = list(map(self._judge, items)), 0
    else:
      verdicts, cached = self._judge_new(items)
    self._count(verdicts, cached, time.perf_counter() - start)
    return verdicts

  def metrics(self) -> dict[str, float]:
    """Since the last call, by the names of the metrics file.

    `reward/errors` responses could not be judged, of which `reward/timeouts`
    took too long; `throughput/rewards_cached` were answered from memory.
    """
    rate = self._counts["items"] / self._seconds if self._seconds else 0.0
    metrics = {
      "reward/errors": float(self._counts["errors"]),
      "reward/timeouts": float(self._counts["timeouts"]),
      "throughput/rewards_per_s": rate,
      "throughput/rewards_cached": float(self._counts["cached"]),
    }
    self._seconds, self._counts = 0.0, Counter()
    return metrics

  def _judge_new(self, items: Sequence[Item]) -> tuple[list[Verdict], int]:
    """The verdicts, and how many of them were known."""
    keys = [_key(item) for item in items]
    new = {
      key: item
      for key, item in zip(keys, items, strict=True)
      if key not in self._cache
    }
    judged = self._threads.map(self._judge, new.values())
    self._cache |= zip(new, judged, strict=True)
    verdicts = [self._cache[key] for key in keys]
    self._forget(new)
    return verdicts, len(items) - len(new)

  def _judge(self, item: Item) -> Verdict:
    start = time.perf_counter()
    try:
      reward, error = self._reward(*item)
      if not math.isfinite(reward):
        raise ValueError(f"the reward is {reward}")
    except SandboxError:
      raise
    except Exception as fault:
      # A problem or a response that its verifier cannot digest.
      reward, error = 0.0, f"{type(fault).__name__}: {fault}"
    seconds = time.perf_counter() - start
    form = self._shape(item[1])
    return Verdict(reward + form, reward >= 1.0, error, seconds, form)

  def _reward(
    self, problem: Problem, response: str
  ) -> tuple[float, str | None]:
    name = problem.verifier
    here = INLINE.get(name) or FIRST.get(name)
    reward = _load(here)(problem, response) if here else None
    if reward is not None:
      return reward, None
    level = choose(self._sandbox)
    if name == PROGRAM:
      return code.verify(problem, response, level, self._timeout)
    worker = self._worker(level, SANDBOXED.get(name, name))
    return worker.score(problem, response)

  def _worker(self, level: str, verifier: str) -> Worker:
    """This thread's worker for a verifier."""
    workers = self._local.__dict__
    if verifier not in workers:
      workers[verifier] = Worker(
        level, verifier, self._timeout, REUSE.get(verifier, 1)
      )
      self._workers.append(workers[verifier])
    return workers[verifier]

  def _forget(self, new: Iterable[Key]) -> None:
    """Drops failures, which may not fail again, and the oldest entries."""
    for key in new:
      if self._cache[key].error:
        del self._cache[key]
    for key in list(islice(self._cache, max(0, len(self._cache) - CACHED))):
      del self._cache[key]

  def _count(
    self, verdicts: Sequence[Verdict], cached: int, seconds: float
  ) -> None:
    errors = [v.error for v in verdicts if v.error]
    self._seconds += seconds
    self._counts["items"] += len(verdicts)
    self._counts["cached"] += cached
    self._counts["errors"] += len(errors)
    self._counts["timeouts"] += errors.count(TIMEOUT)


def check(problems: Iterable[Problem], sandbox: str = "auto") -> None:
  """Whether responses to these could be scored here, before there are any.

  Raises:
    SandboxError: this machine cannot give the sandbox that they need.
    ValueError: a problem's verifier does not exist.
  """
  verifiers = {problem.verifier for problem in problems}
  _check_names(verifiers)
  if not verifiers <= INLINE.keys():
    choose(sandbox)


def _check_names(verifiers: Iterable[str]) -> None:
  known = (*INLINE, *SANDBOXED, PROGRAM)
  for name in verifiers:
    if name not in known and ":" not in name:
      raise ValueError(
        f"there is no verifier {name!r}: choose one of {', '.join(known)}, or "
        "give an import path such as my_lab.rewards:mine"
      )


@cache
def _load(path: str) -> Callable[[Problem, str], float | None]:
  return registry.load("verifier", path, INLINE)


def _key(item: Item) -> Key:
  """A digest: the responses of a long run would fill the memory."""
  problem, response = item
  identity = problem.source, problem.id, problem.prompt, problem.answer
  text = "\0".join((*identity, response))
  return hashlib.blake2b(text.encode(errors="surrogatepass")).digest()
