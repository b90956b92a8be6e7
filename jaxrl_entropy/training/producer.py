"""Sampling beside the updates: a thread that keeps a backlog of groups.

The thread owns the stream and the prompts; other threads send it calls, which
it makes between two steps of the decoder. The backlog is shared under a lock,
so that a step has its groups at once if they are there. On several processes
each has such a thread, with groups of its own. They decode together, over the
sampler's devices alone, and agree before each step of the decoder on the
weights that it takes: the newest that all of them have.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
import dataclasses
import functools
import queue
import threading
from typing import NamedTuple, TypeVar

import jax
import numpy as np

from jaxrl_entropy import distributed, run_files
from jaxrl_entropy.data.stream import PromptStream
from jaxrl_entropy.sampling.request import Request
from jaxrl_entropy.sampling.sampler import Sampler
from jaxrl_entropy.sampling.stream import Event, Stream
from jaxrl_entropy.training import rollout as rollout_lib
from jaxrl_entropy.training.backlog import Backlog, Entry, Quota
from jaxrl_entropy.training.collector import Snapshot
from jaxrl_entropy.training.grader import Grader
from jaxrl_entropy.training.rollout import PartialGroup, Rollout
from jaxrl_entropy.training.state import TrainState, host_seeds
from jaxrl_entropy.training.stopwatch import Stopwatch
from jaxrl_entropy.types import Params

Answer = TypeVar("Answer")

_END = 2**31 - 1  # Later than the version of any weights.
_POLL = 0.01  # Seconds between looks at the other processes, while idle.


class Produced(NamedTuple):
  """The rollout of a step, and what it took.

  Attributes:
    rollout: verified responses.
    metrics: seconds of the thread since the last rollout, by phase, and groups
      that wait.
  """

  rollout: Rollout
  metrics: dict[str, float]


class Producer:
  """Samples and verifies groups while the caller makes updates.

  In a job of several processes all of them make the same calls in the same
  order.
  """

  def __init__(
    self, grader: Grader, stream: PromptStream, sampler: Sampler, quota: Quota
  ) -> None:
    self._grader, self._prompts, self._sampler = grader, stream, sampler
    self._backlog = Backlog(quota)
    self._inbox: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
    # Guards the backlog, the watch and the two fields that follow.
    self._changed = threading.Condition()
    self._waiting = False
    self._error: BaseException | None = None
    self._thread: threading.Thread | None = None
    self._weights: dict[int, Params] = {}
    self._version = self._newest = 0
    self._asked: dict[int, tuple[Entry, Request]] = {}
    self._frozen = False
    self._verifier = ThreadPoolExecutor(1, "verify-groups")
    self._watch = Stopwatch()
    self._seed = 0

  def resume_pending(self, groups: Sequence[PartialGroup]) -> None:
    """Takes this process's share of the groups of a snapshot."""
    for group in groups[jax.process_index() :: jax.process_count()]:
      self._backlog.add(group)

  def start(self, state: TrainState, step: int) -> None:
    """Begins to sample, with the weights before the updates of `step`.

    Args:
      state: before the updates of `step`; its weights are copied.
      step: the first whose groups are taken.
    """
    (self._seed,) = host_seeds(state.key, "groups")
    self._backlog.taken = self._version = self._newest = step
    weights = self._sampler.copy_weights(state.params)
    self._thread = threading.Thread(
      target=self._run, args=(weights,), name="sample", daemon=True
    )
    self._thread.start()

  def publish(self, params: Params, step: int) -> None:
    """Samples from now on with the weights before the updates of `step`.

    Returns once they are copied; an optimizer may then overwrite them.

    Args:
      params: the policy's parameters.
      step: the version that marks tokens which they sample.
    """
    weights = self._sampler.copy_weights(params)

    def arrive() -> None:
      self._weights[step] = weights
      self._newest = step

    self._inbox.put(arrive)

  def take(self) -> Produced:
    """Returns the verified groups of the next step, of all processes."""
    with self._changed:
      self._waiting = True
      self._changed.wait_for(lambda: self._error or self._backlog.choose())
      self._waiting = False
      if self._error is not None:
        raise self._error
      chosen = self._backlog.choose() or []
      self._backlog.remove(chosen)
      metrics = self._metrics()
    self._inbox.put(lambda: None)  # There is room for others.
    mine = rollout_lib.concatenate([e.rollout for e in chosen if e.rollout])
    rollouts = distributed.all_gather(mine)
    return Produced(rollout_lib.concatenate(rollouts), metrics)

  def _metrics(self) -> dict[str, float]:
    seconds, self._watch = self._watch.seconds, Stopwatch()
    metrics = {f"{run_files.OVERLAP}{k}_s": v for k, v in seconds.items()}
    metrics[f"{run_files.OVERLAP}groups_ahead"] = len(self._backlog)
    return metrics

  def snapshot(self) -> Snapshot:
    """Returns the unused groups of all processes, with the tokens so far."""
    position = max(distributed.all_gather(self._call(self._freeze)))
    mine = self._call(functools.partial(self._thaw, position))
    every = distributed.all_gather(mine.groups)
    length = max(len(groups) for groups in every)
    # In the order of `resume_pending`, as far as the lists are equally long.
    mixed = [g[i] for i in range(length) for g in every if i < len(g)]
    return Snapshot(mine.position, mixed)

  def close(self) -> None:
    """Ends the thread; `snapshot` still tells what was left."""

    def end() -> None:
      self._newest = _END

    self._inbox.put(end)
    if self._thread is not None:
      # Another process that failed would be waited for without end.
      self._thread.join(None if jax.process_count() == 1 else 60)
    self._verifier.shutdown(cancel_futures=True)

  def _call(self, function: Callable[[], Answer]) -> Answer:
    """Returns the value of a call made by the thread, or here if it ended."""
    if self._thread is None or not self._thread.is_alive():
      return function()
    answer: Future[Answer] = Future()
    self._inbox.put(lambda: answer.set_result(function()))
    return self._answer(answer)

  def _answer(self, future: Future[Answer]) -> Answer:
    """Waits for the thread's answer; raises what ended it."""
    while not wait([future], timeout=1.0).done:
      if self._error is not None:
        raise self._error
    return future.result()

  def _run(self, weights: Params) -> None:
    try:
      with jax.set_mesh(self._sampler.mesh):
        self._stream = self._sampler.open(weights, self._version)
        del weights
        while self._install(self._stream):
          self._sample(self._stream)
    except BaseException as error:
      self._fail(error)

  def _fail(self, error: BaseException) -> None:
    with self._changed:
      self._error = error
      self._changed.notify_all()

  def _sample(self, stream: Stream) -> None:
    """Begins groups and grows them; then makes the calls that came."""
    self._begin(stream)
    busy = stream.unfinished
    for event in stream.advance() if busy else ():
      self._note(event)
    self._make_calls(wait=not busy)
    with self._changed:
      waits = self._waiting and self._backlog.verifying()
      self._watch.lap("sample" if busy else "verify" if waits else "idle")

  def _install(self, stream: Stream) -> bool:
    """Takes the newest weights that all processes have; False at the end."""
    agreed = -distributed.max_over_processes(-self._newest)
    if agreed == _END:
      return False
    if agreed > self._version:
      stream.update(self._weights[agreed], agreed)
      self._version = agreed
      self._weights = {v: w for v, w in self._weights.items() if v > agreed}
    return True

  def _begin(self, stream: Stream) -> None:
    """Adds groups to the stream while they would not become too old."""
    while not self._frozen and self._has_room():
      waiting = (entry for entry in self._backlog if not entry.begun)
      entry = next(waiting, None) or self._next_entry()
      asked = self._grader.requests([entry.group])
      if self._grader.settings.baseline:
        asked += self._grader.greedy_requests([entry.group])
      for request in asked:
        index = stream.add(request)
        with self._changed:
          entry.begin(index, request)
        self._asked[index] = entry, request

  def _has_room(self) -> bool:
    with self._changed:
      return self._backlog.has_room(self._version)

  def _next_entry(self) -> Entry:
    """Takes a problem; its seed depends on its place in the order alone."""
    number = self._prompts.position()["next"] + jax.process_index()
    (problem,) = self._prompts.take(1)
    rng = np.random.default_rng((self._seed, number))
    group = PartialGroup(problem, int(rng.integers(2**31)), ())
    with self._changed:
      return self._backlog.add(group)

  def _note(self, event: Event) -> None:
    """Sends finished responses, and then their group, to the verifiers."""
    entry, request = self._asked[event.request]
    with self._changed:
      self._backlog.note(entry, event)
      self._changed.notify_all()
    if event.completion is not None:
      self._grader.start(entry.group.problem, request, event.completion)
    if event.group is not None:
      del self._asked[event.request]
    if entry.complete:
      self._verifier.submit(self._verify, entry)

  def _verify(self, entry: Entry) -> None:
    """Waits for the verdicts on a group, in a thread of its own."""
    answers, *greedy = (
      completions for completions in entry.answers.values() if completions
    )
    group = dataclasses.replace(entry.group, completions=answers)
    try:
      rollout = self._grader.verify([group], greedy or None)
    except BaseException as error:
      self._fail(error)
      return
    with self._changed:
      self._backlog.verified(entry, rollout)
      self._changed.notify_all()
    # There is room for others if no step can learn from it.
    self._inbox.put(lambda: None)

  def _make_calls(self, wait: bool) -> None:
    """Makes the calls that have come; waits for one if there is no work."""
    alone = jax.process_count() == 1
    try:
      self._inbox.get(wait, None if alone else _POLL)()
      while True:
        self._inbox.get_nowait()()
    except queue.Empty:
      return

  def _freeze(self) -> int:
    """Begins no groups until `_thaw`; returns the position in the data."""
    self._frozen = True
    return self._prompts.position()["next"]

  def _thaw(self, position: int) -> Snapshot:
    """Takes all problems before `position`; returns all unused groups."""
    while self._prompts.position()["next"] < position:
      self._next_entry()
    self._frozen = False
    groups = [self._so_far(entry) for entry in self._backlog]
    return Snapshot(self._prompts.position(), groups)

  def _so_far(self, entry: Entry) -> PartialGroup:
    if not entry.begun:
      return entry.group
    index, answers = next(iter(entry.answers.items()))
    if answers is None:
      answers = self._stream.completions(index)
    return dataclasses.replace(entry.group, completions=answers)
