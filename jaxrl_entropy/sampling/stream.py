"""Requests in progress, which others may join while they are decoded."""

from collections import deque
import dataclasses

import jax
from jax.sharding import Mesh
import numpy as np

from jaxrl_entropy.sampling.batch import Batch
from jaxrl_entropy.sampling.limits import Limits
from jaxrl_entropy.sampling.request import Completion, Request
from jaxrl_entropy.sampling.sequences import Sample, prefixes_of, samples_of
from jaxrl_entropy.types import Params


@dataclasses.dataclass(frozen=True)
class Event:
  """New tokens of one continuation.

  Attributes:
    request: index of the request.
    sample: which of its continuations.
    tokens: int32, the new tokens.
    completion: the whole continuation, in its last event; None before.
    group: all n completions of the request, in the event that ends the last of
      them; None before.
  """

  request: int
  sample: int
  tokens: np.ndarray
  completion: Completion | None = None
  group: tuple[Completion, ...] | None = None


class Stream:
  """A continuous batch of requests; made by `Sampler.open`.

  In a job of several processes each adds requests of its own, and all of them
  must call `unfinished`, `advance` and `update` in the same order.
  """

  def __init__(self, batch: Batch, mesh: Mesh, limits: Limits) -> None:
    self._batch, self._mesh, self._limits = batch, mesh, limits
    self._samples: dict[int, list[Sample]] = {}
    self._complete: deque[Sample] = deque()
    self._added = 0

  def add(self, request: Request) -> int:
    """Queues a request; returns the index that its events have.

    Raises:
      ValueError: if it can never fit; the message says why.
    """
    index, self._added = self._added, self._added + 1
    self._limits.check(request, f"request {index}")
    samples = samples_of(request, index)
    self._samples[index] = samples
    self._complete += [sample for sample in samples if not sample.remaining]
    self._batch.add(prefixes_of(samples))
    return index

  @property
  def unfinished(self) -> bool:
    """Whether work is left, in this process or another one of the job."""
    with jax.set_mesh(self._mesh):
      return self._batch.unfinished(bool(self._complete))

  def advance(self) -> list[Event]:
    """Decodes the next tokens; returns an event for each continuation."""
    events = [
      self._event(self._complete.popleft(), np.zeros(0, np.int32))
      for _ in range(len(self._complete))
    ]
    with jax.set_mesh(self._mesh):
      grown = list(self._batch.advance())
    return events + [self._event(g.sample, g.tokens) for g in grown]

  def update(self, weights: Params, version: int) -> None:
    """Samples all tokens from the next `advance` on with other weights.

    What is cached for the old weights is computed again, so each token has the
    log-prob of its version given all tokens before it.

    Args:
      weights: as `Sampler.copy_weights` returns them.
      version: their version, which completions record per token.
    """
    self._batch.update(weights, version)

  def completions(self, index: int) -> tuple[Completion, ...]:
    """Returns the continuations of a request so far, as `Request.partial`."""
    return tuple(sample.completion() for sample in self._samples[index])

  def _event(self, sample: Sample, tokens: np.ndarray) -> Event:
    if sample.remaining:
      return Event(sample.owner, sample.index, tokens)
    sample.result, group = sample.completion(), None
    siblings = self._samples[sample.owner]
    results = [s.result for s in siblings if s.result is not None]
    if len(results) == len(siblings):
      group = tuple(results)
      del self._samples[sample.owner]
    return Event(sample.owner, sample.index, tokens, sample.result, group)
