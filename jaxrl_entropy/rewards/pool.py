"""Rewards for a batch of responses."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
import dataclasses
from dataclasses import dataclass, field
import hashlib
from itertools import islice
import math
import threading
import time
from types import MappingProxyType
from typing import Any

from jaxrl_entropy import run_files
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards import catalog
from jaxrl_entropy.rewards.graders import Graders
from jaxrl_entropy.rewards.sandbox.launch import TIMEOUT, SandboxError
from jaxrl_entropy.rewards.tally import Tally

Item = tuple[Problem, str]

ANSWER = "answer"
"""Name of the reward that the problem's own verifier gives."""

CACHED = 100_000
WAITING = 64  # threads for verifiers that wait for an endpoint
_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class RewardFunction:
  """A reward besides that of the problem's own verifier.

  Attributes:
    verifier: a name of `catalog`, or an import path.
    weight: of its value in the reward.
    args: further keyword arguments of the verifier.
  """

  verifier: str
  weight: float = 1.0
  args: Mapping[str, Any] = field(default_factory=dict)

  def asked(self, problem: Problem) -> Problem:
    """Returns the problem with this function's verifier."""
    return dataclasses.replace(problem, verifier=self.verifier)


@dataclass(frozen=True)
class Verdict:
  """A response's reward.

  Attributes:
    reward: weighted sum of all reward functions.
    correct: whether the problem's own verifier gave 1 or more.
    error: why that verifier could not judge; its reward is then 0.
    seconds: that its judging took; 0 from the cache.
    components: terms of the reward, by the names of their functions.
  """

  reward: float
  correct: bool
  error: str | None = None
  seconds: float = 0.0
  components: Mapping[str, float] = field(default_factory=dict)


class RewardPool:
  """Scores responses; one bad item costs its own reward and no other.

  A problem's verifier is a name of `catalog`, or the import path of a function
  of the user's own, `(Problem, response) -> reward`, which runs in the sandbox.

  Args:
    workers: responses verified at a time.
    timeout: seconds for one response.
    sandbox: the level, or "auto"; looked for when it is first needed.
    weight: of the reward that the problem's own verifier gives.
    functions: further reward functions by name.
    judge: settings of the verifier `judge`, see `Judge`.
    packages: installed packages that programs may import.
    folders: folders that own verifiers may read besides their own.

  Raises:
    UserError: a package is not installed.
  """

  def __init__(
    self,
    workers: int = 1,
    timeout: float = 5.0,
    sandbox: str = "auto",
    *,
    weight: float = 1.0,
    functions: Mapping[str, RewardFunction] = _NONE,
    judge: Mapping[str, Any] = _NONE,
    packages: Iterable[str] = (),
    folders: Iterable[str] = (),
  ):
    self._weight, self._functions = weight, dict(functions)
    self._graders = Graders(timeout, sandbox, judge, packages, folders)
    self._threads = ThreadPoolExecutor(max(1, workers), "verify")
    self._waiting = ThreadPoolExecutor(WAITING, "judge")
    self._cache: dict[bytes, Verdict] = {}
    self._started: dict[bytes, Future[Verdict]] = {}
    self._tallies: defaultdict[str, Tally] = defaultdict(Tally)
    self._counts: Counter[str] = Counter()
    self._seconds = 0.0
    # Rollouts and evaluations may be scored by two threads.
    self._lock = threading.Lock()

  def __enter__(self) -> "RewardPool":
    return self

  def __exit__(self, *exception: object) -> None:
    self._threads.shutdown(cancel_futures=True)
    self._waiting.shutdown(cancel_futures=True)
    self._graders.close()

  def check(self, problems: Iterable[Problem]) -> None:
    """Checks that responses to problems could be scored here.

    Args:
      problems: whose verifiers are tried, each once.

    Raises:
      UserError: a verifier or a sandbox that is needed is not there.
    """
    for verifier in {problem.verifier for problem in problems}:
      self._graders.check(verifier, _NONE)
    for function in self._functions.values():
      self._graders.check(function.verifier, function.args)

  def verify(self, items: Sequence[Item]) -> list[Verdict]:
    """Returns the verdicts of the problems' own verifiers, in order.

    Args:
      items: problems with a response each.

    Raises:
      UserError: a verifier or a sandbox that is needed is not there.
    """
    return self._judge_all(ANSWER, items, _NONE)

  def start(self, problem: Problem, response: str) -> None:
    """Starts to judge a response that `score` will be asked about later.

    Returns at once, so that responses are judged while others are sampled.
    Verifiers that take no time are left to `score`.

    Args:
      problem: names the verifier; its tests or answer are what it reads.
      response: the model's text.
    """
    asked = [(ANSWER, problem, _NONE)] + [
      (name, function.asked(problem), function.args)
      for name, function in self._functions.items()
    ]
    for name, judged, args in asked:
      key = _key(name, (judged, response))
      with self._lock:
        known = key in self._cache or key in self._started
        if judged.verifier not in catalog.INLINE and not known:
          self._started[key] = self._submit((judged, response), args)

  def score(self, items: Sequence[Item]) -> list[Verdict]:
    """Returns verdicts with the rewards of all functions, in order.

    Args:
      items: problems with a response each.

    Raises:
      UserError: a verifier or a sandbox that is needed is not there.
    """
    verdicts = self.verify(items)
    components = [{ANSWER: self._weight * v.reward} for v in verdicts]
    for name, function in self._functions.items():
      asked = [
        (function.asked(problem), response) for problem, response in items
      ]
      values = self._judge_all(name, asked, function.args)
      for terms, verdict in zip(components, values, strict=True):
        terms[name] = function.weight * verdict.reward
    return [
      dataclasses.replace(v, reward=sum(terms.values()), components=terms)
      for v, terms in zip(verdicts, components, strict=True)
    ]

  def metrics(self) -> dict[str, float]:
    """Returns counts since the last call, by the names of the metrics file.

    `reward/errors` responses could not be judged, of which `reward/timeouts`
    took too long; `throughput/rewards_cached` were answered from memory.
    """
    with self._lock:
      counts, seconds = self._counts, self._seconds
      self._counts, self._seconds = Counter(), 0.0
    return {
      run_files.REWARD_ERRORS: float(counts["errors"]),
      run_files.REWARD_TIMEOUTS: float(counts["timeouts"]),
      "throughput/rewards_per_s": counts["items"] / seconds if seconds else 0.0,
      "throughput/rewards_cached": float(counts["cached"]),
    }

  def nothing_judged(self) -> str | None:
    """Returns what to tell the user if a function has judged no response yet.

    None once every reward function has judged a response, or seen none.
    """
    messages = (
      tally.nothing_judged() for tally in list(self._tallies.values())
    )
    return next(filter(None, messages), None)

  def notice(self) -> str | None:
    """Returns, once per reward function, that many were not judged."""
    messages = (tally.notice() for tally in list(self._tallies.values()))
    return next(filter(None, messages), None)

  def _judge_all(
    self, name: str, items: Sequence[Item], args: Mapping[str, Any]
  ) -> list[Verdict]:
    """The verdicts of one reward function."""
    start = time.perf_counter()
    verifiers = {problem.verifier for problem, _ in items}
    catalog.check_names(verifiers)
    if verifiers <= catalog.INLINE.keys():
      # Cheaper to judge again than to remember.
      verdicts, cached = [self._judge(item, args) for item in items], 0
    else:
      verdicts, cached = self._judge_new(name, items, args)
    causes = [
      _cause(name, problem, verdict.error)
      for (problem, _), verdict in zip(items, verdicts, strict=True)
    ]
    with self._lock:
      self._count(verdicts, cached, time.perf_counter() - start)
      self._tallies[name].add(causes)
    return verdicts

  def _judge_new(
    self, name: str, items: Sequence[Item], args: Mapping[str, Any]
  ) -> tuple[list[Verdict], int]:
    """The verdicts, and how many of them were known."""
    keys = [_key(name, item) for item in items]
    with self._lock:
      known = {key: self._cache[key] for key in keys if key in self._cache}
      new = {
        key: item
        for key, item in zip(keys, items, strict=True)
        if key not in known
      }
      judged = {
        key: self._started.pop(key)
        if key in self._started
        else self._submit(item, args)
        for key, item in new.items()
      }
    known |= {key: future.result() for key, future in judged.items()}
    with self._lock:
      # Failures may not fail again.
      self._cache |= {k: known[k] for k in new if not known[k].error}
      self._forget_oldest()
    return [known[key] for key in keys], len(items) - len(new)

  def _submit(self, item: Item, args: Mapping[str, Any]) -> Future[Verdict]:
    waits = item[0].verifier == catalog.JUDGE
    threads = self._waiting if waits else self._threads
    return threads.submit(self._judge, item, args)

  def _judge(self, item: Item, args: Mapping[str, Any]) -> Verdict:
    start = time.perf_counter()
    try:
      reward, error = self._graders.grade(*item, args)
      if not math.isfinite(reward):
        raise ValueError(f"the reward is {reward}")
    except SandboxError:
      raise
    except Exception as fault:
      # A problem or a response that its verifier cannot digest.
      reward, error = 0.0, f"{type(fault).__name__}: {fault}"
    seconds = time.perf_counter() - start
    return Verdict(reward, reward >= 1.0, error, seconds, {ANSWER: reward})

  def _forget_oldest(self) -> None:
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


def _cause(name: str, problem: Problem, error: str | None) -> str | None:
  """Why a reward function could not judge a response, for the user."""
  # A program that takes too long is judged: it is wrong.
  if not error or (error == TIMEOUT and problem.verifier == catalog.PROGRAM):
    return None
  function = "the" if name == ANSWER else f"reward function {name!r}, its"
  return f"{function} verifier {problem.verifier!r}: {error}"


def _key(name: str, item: Item) -> bytes:
  """A digest: the responses of a long run would fill the memory."""
  problem, response = item
  question = problem.source, problem.id, problem.prompt, problem.answer
  text = "\0".join((name, problem.verifier, *question, response))
  return hashlib.blake2b(text.encode(errors="surrogatepass")).digest()
