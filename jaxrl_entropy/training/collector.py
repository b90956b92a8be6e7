"""Sampling and verification in turn with updates: one step's rollout."""

from collections.abc import Sequence
import dataclasses
from typing import NamedTuple

import jax

from jaxrl_entropy import distributed
from jaxrl_entropy.data.stream import PromptStream
from jaxrl_entropy.sampling.request import Completion, Request
from jaxrl_entropy.sampling.sampler import Sampler
from jaxrl_entropy.training import rollout as rollout_lib
from jaxrl_entropy.training.grader import Grader
from jaxrl_entropy.training.rollout import PartialGroup, Rollout
from jaxrl_entropy.training.state import TrainState, host_seeds
from jaxrl_entropy.training.stopwatch import Stopwatch
from jaxrl_entropy.types import Params


class Snapshot(NamedTuple):
  """Contents of a checkpoint.

  Attributes:
    position: place in the training problems.
    groups: unused groups of all processes.
  """

  position: dict[str, int]
  groups: list[PartialGroup]


class Collector:
  """Samples and verifies the responses of a step; the policy is passed in.

  Attributes:
    stream: the training problems; its position belongs in a checkpoint.
  """

  def __init__(
    self, grader: Grader, stream: PromptStream, sampler: Sampler
  ) -> None:
    self._grader, self._settings = grader, grader.settings
    self._sampler = sampler
    self._pending: list[PartialGroup] = []
    self.stream = stream

  def collect(self, state: TrainState, step: int, watch: Stopwatch) -> Rollout:
    """Returns verified responses: rounds of sampling until enough are mixed.

    Args:
      state: of the policy that samples.
      step: names the random numbers, and the version of the weights.
      watch: gets the laps `sample`, which includes the judging of responses
        that end before others, and `verify`, the wait for the rest.
    """
    settings = self._settings
    rounds: list[Rollout] = []
    mixed = 0
    while not rounds or (
      mixed < settings.mixed_groups and len(rounds) < settings.rounds
    ):
      seeds = host_seeds(
        state.key, "prompts", step, len(rounds), count=settings.prompts
      )
      groups = self._complete_groups(state.params, step, seeds)
      watch.lap("sample")
      greedy = None
      if settings.baseline:
        greedy = self._sampler.generate(
          state.params, self._grader.greedy_requests(groups)
        )
      verified = self._grader.verify(groups, greedy)
      rounds.append(rollout_lib.concatenate(distributed.all_gather(verified)))
      mixed += len(rollout_lib.mixed_groups(rounds[-1]))
      watch.lap("verify")
    return rollout_lib.concatenate(rounds)

  def snapshot(self) -> Snapshot:
    """Returns the unfinished groups of all processes, with the position."""
    every = distributed.all_gather(self._pending)
    groups = [group for mine in every for group in mine]
    return Snapshot(self.stream.position(), groups)

  def resume_pending(self, groups: Sequence[PartialGroup]) -> None:
    """Takes this process's share of the groups of a snapshot."""
    self._pending = list(groups[jax.process_index() :: jax.process_count()])

  def _complete_groups(
    self, params: Params, step: int, seeds: Sequence[int]
  ) -> list[PartialGroup]:
    """Samples this process's share of a round; returns its complete groups."""
    mine = seeds[distributed.host_slice(len(seeds))]
    fresh = len(mine) - max(distributed.all_gather(len(self._pending)))
    problems = self.stream.take(max(fresh, 0))
    groups = self._pending + [
      PartialGroup(problem, seed, ())
      for problem, seed in zip(problems, mine, strict=False)
    ]
    limit = self._settings.response_length
    complete: list[PartialGroup] = []
    while not all(distributed.all_gather(bool(complete))):
      grown = self._continue(params, step, groups)
      self._pending = [group for group in grown if group.unfinished(limit)]
      complete += [group for group in grown if not group.unfinished(limit)]
      groups = self._pending
    return complete

  def _continue(
    self, params: Params, step: int, groups: Sequence[PartialGroup]
  ) -> list[PartialGroup]:
    """Returns the groups with their responses begun or continued.

    A response is sent to its verifier as soon as it ends, while others are
    still sampled.
    """
    requests, grown = self._requests(groups), list(groups)
    for event in self._sampler.stream(params, requests, step):
      index, completion = event.request, event.completion
      if completion is not None and self._has_ended(completion):
        self._grader.start(groups[index].problem, requests[index], completion)
      if event.group is not None:
        grown[index] = dataclasses.replace(
          groups[index], completions=event.group
        )
    return grown

  def _has_ended(self, completion: Completion) -> bool:
    length = len(completion.tokens)
    return completion.finish == "stop" or (
      length == self._settings.response_length
    )

  def _requests(self, groups: Sequence[PartialGroup]) -> list[Request]:
    """Returns the requests of one call, cut short by `partial_tokens`."""
    requests, settings = self._grader.requests(groups), self._settings
    if not settings.partial_tokens:
      return requests

    def capped(request: Request) -> Request:
      done = [len(c.tokens) for c in request.partial] or [0] * request.n
      budget, limit = settings.partial_tokens, settings.response_length
      most = tuple(min(limit, n + budget) for n in done)
      return dataclasses.replace(request, max_tokens=most)

    return [capped(request) for request in requests]
