"""What the scheduler moves around: samples, their prefixes, and sequences."""

from collections import deque
from collections.abc import Iterator
import dataclasses

import jax
import numpy as np

from jaxrl_entropy.sampling.logits import Draw
from jaxrl_entropy.sampling.request import Completion, Request


@dataclasses.dataclass(eq=False)
class Sample:
  """One continuation of a request, as far as it got.

  Attributes:
    request: what was asked.
    owner: index of the request.
    index: which of the request's continuations.
    draws: its tokens and their log-probs, NumPy, in pieces.
    length: tokens so far.
    stopped: it ended before its limit.
  """

  request: Request
  owner: int
  index: int
  draws: list[Draw] = dataclasses.field(default_factory=list)
  length: int = 0
  stopped: bool = False

  @property
  def remaining(self) -> int:
    """Tokens that it may still get."""
    limit = self.request.limits[self.index]
    return 0 if self.stopped else max(limit - self.length, 0)

  @property
  def tokens(self) -> np.ndarray:
    return np.concatenate(
      [np.zeros(0, np.int32), *(draw.token for draw in self.draws)]
    )

  def extend(self, draw: Draw) -> None:
    self.draws.append(draw)
    self.length += len(draw.token)

  def truncate(self, length: int) -> None:
    """Keeps the first `length` tokens, all but some of the last piece."""
    last = self.draws.pop()
    keep = len(last.token) - (self.length - length)
    self.draws.append(jax.tree.map(lambda x: x[:keep], last))
    self.length = length

  def completion(self) -> Completion:
    whole = jax.tree.map(lambda *pieces: np.concatenate(pieces), *self.draws)
    return Completion(
      whole.token,
      whole.logp,
      whole.raw_logp,
      whole.entropy,
      "stop" if self.stopped else "length",
    )


def samples_of(request: Request, owner: int) -> list[Sample]:
  """The request's continuations, begun or not."""
  samples = [Sample(request, owner, index) for index in range(request.n)]
  for sample, part in zip(samples, request.partial, strict=False):
    sample.extend(Draw(part.tokens, part.logp, part.raw_logp, part.entropy))
    sample.stopped = part.finish == "stop"
  return samples


@dataclasses.dataclass(eq=False)
class Prefix:
  """Tokens that one or more samples continue.

  Attributes:
    tokens: int32; the last one is not cached, a sample's first step reads it.
    samples: those that wait for a slot.
    pages: that hold tokens[:-1].
    filled: tokens in the cache.
  """

  tokens: np.ndarray
  samples: deque[Sample]
  pages: list[int] = dataclasses.field(default_factory=list)
  filled: int = 0

  @property
  def missing(self) -> int:
    """Tokens that must enter the cache before the samples can run."""
    return len(self.tokens) - 1 - self.filled

  def fill(self, size: int, most: int) -> "list[Piece]":
    """At most `most` next pieces of `size` tokens, from now on filled."""
    end = len(self.tokens) - 1
    starts = range(self.filled, end, size)[:most]
    pieces = [Piece(self, start, min(start + size, end)) for start in starts]
    self.filled = pieces[-1].stop if pieces else self.filled
    return pieces


@dataclasses.dataclass(frozen=True)
class Piece:
  """The tokens [start, stop) of a prefix, computed as one row."""

  prefix: Prefix
  start: int
  stop: int


@dataclasses.dataclass(eq=False)
class Sequence:
  """A sample in a slot.

  Attributes:
    sample: what grows.
    pages: of its tokens, in order; it holds each of them.
    token: its last token, not in the cache yet.
    position: of that token.
  """

  sample: Sample
  pages: list[int]
  token: int
  position: int


def prefixes_of(samples: list[Sample]) -> Iterator[Prefix]:
  """What samples of one request continue: the prompt, or their own tokens."""
  prompt = np.asarray(samples[0].request.prompt, np.int32)
  fresh = [sample for sample in samples if not sample.length]
  if fresh:
    yield Prefix(prompt, deque(fresh))
  for sample in samples:
    if sample.length and sample.remaining:
      yield Prefix(np.concatenate([prompt, sample.tokens]), deque([sample]))
