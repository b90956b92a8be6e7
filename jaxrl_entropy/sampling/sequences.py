"""The scheduler's units: samples, the prefixes they continue, and sequences."""

from collections import deque
from collections.abc import Iterator
import dataclasses

import jax
import numpy as np

from jaxrl_entropy.sampling.drafts import HIT_RATE
from jaxrl_entropy.sampling.logits import Draw
from jaxrl_entropy.sampling.request import Completion, Request


@dataclasses.dataclass(eq=False)
class Sample:
  """One continuation of a request, in progress.

  Attributes:
    request: the request.
    owner: index of the request.
    index: which of the request's continuations.
    draws: tokens and log-probs so far, NumPy, one entry per decode call.
    versions: the version of the weights of each entry of `draws`, int32.
    length: tokens so far.
    stopped: whether it ended before its limit.
    result: the whole of it, once the caller has it.
    hit_rate: how often the first token of its drafts was right.
    routes: see `Completion.routes`; None until it has ended.
  """

  request: Request
  owner: int
  index: int
  draws: list[Draw] = dataclasses.field(default_factory=list)
  versions: list[np.ndarray] = dataclasses.field(default_factory=list)
  length: int = 0
  stopped: bool = False
  result: Completion | None = None
  hit_rate: float = HIT_RATE
  routes: np.ndarray | None = None

  @property
  def remaining(self) -> int:
    """Tokens that it may still get."""
    limit = self.request.limits[self.index]
    return 0 if self.stopped else max(limit - self.length, 0)

  @property
  def tokens(self) -> np.ndarray:
    """The token ids so far, int32."""
    return np.concatenate(
      [np.zeros(0, np.int32), *(draw.token for draw in self.draws)]
    )

  def extend(self, draw: Draw, version: int | np.ndarray) -> None:
    """Appends tokens sampled by the weights of `version`.

    Args:
      draw: new tokens and their log-probs, NumPy arrays of one length.
      version: of the weights; one for all the tokens, or one for each.
    """
    self.draws.append(draw)
    self.versions.append(np.full(len(draw.token), version, np.int32))
    self.length += len(draw.token)

  def truncate(self, length: int) -> None:
    """Keeps the first `length` tokens; the rest is part of the last entry."""
    last, versions = self.draws.pop(), self.versions.pop()
    keep = len(last.token) - (self.length - length)
    self.draws.append(jax.tree.map(lambda x: x[:keep], last))
    self.versions.append(versions[:keep])
    self.length = length

  def completion(self) -> Completion:
    """Returns the tokens so far as a completion."""
    draws = self.draws or [_no_tokens()]
    return Completion(
      tokens=np.concatenate([draw.token for draw in draws]),
      logp=np.concatenate([draw.logp for draw in draws]),
      tempered_logp=np.concatenate([draw.tempered_logp for draw in draws]),
      raw_logp=np.concatenate([draw.raw_logp for draw in draws]),
      entropy=np.concatenate([draw.entropy for draw in draws]),
      versions=np.concatenate([np.zeros(0, np.int32), *self.versions]),
      finish="stop" if self.stopped else "length",
      routes=self.routes,
    )


def _no_tokens() -> Draw:
  nothing = np.zeros(0, np.float32)
  return Draw(np.zeros(0, np.int32), nothing, nothing, nothing, nothing)


def samples_of(request: Request, owner: int) -> list[Sample]:
  """Returns the request's continuations, with their tokens from `partial`.

  Args:
    request: the request.
    owner: index of the request, which its samples carry.

  Returns:
    `request.n` samples in order; those that `partial` has as stopped are done.
  """
  samples = [Sample(request, owner, index) for index in range(request.n)]
  for sample, begun in zip(samples, request.partial, strict=False):
    draw = Draw(
      begun.tokens,
      begun.logp,
      begun.tempered_logp,
      begun.raw_logp,
      begun.entropy,
    )
    sample.extend(draw, begun.versions)
    sample.stopped = begun.finish == "stop"
    sample.routes = begun.routes
  return samples


@dataclasses.dataclass(eq=False)
class Prefix:
  """Tokens that one or more waiting samples continue.

  Attributes:
    tokens: int32. The last one is not cached: a sample's first step reads it.
    samples: samples that wait for a slot.
    pages: pages for tokens[:-1].
    filled: tokens already in the cache.
  """

  tokens: np.ndarray
  samples: deque[Sample]
  pages: list[int] = dataclasses.field(default_factory=list)
  filled: int = 0

  @property
  def missing(self) -> int:
    """Tokens that must enter the cache before the samples can run."""
    return len(self.tokens) - 1 - self.filled

  def next_chunks(self, size: int, most: int) -> "list[PrefillChunk]":
    """Returns the next chunks and counts them as filled.

    Args:
      size: tokens per chunk.
      most: largest number of chunks.
    """
    end = len(self.tokens) - 1
    starts = range(self.filled, end, size)[:most]
    chunks = [
      PrefillChunk(self, start, min(start + size, end)) for start in starts
    ]
    self.filled = chunks[-1].stop if chunks else self.filled
    return chunks


@dataclasses.dataclass(frozen=True)
class PrefillChunk:
  """The tokens [start, stop) of a prefix, computed as one row.

  Attributes:
    prefix: whose tokens they are.
    start: index of the first token.
    stop: index behind the last one.
  """

  prefix: Prefix
  start: int
  stop: int


@dataclasses.dataclass(eq=False)
class Sequence:
  """A sample in a slot.

  Attributes:
    sample: the sample, which grows.
    pages: pages of its tokens, in order; it holds each of them.
    token: its last token, which is not in the cache yet.
    position: position of that token.
  """

  sample: Sample
  pages: list[int]
  token: int
  position: int


def prefixes_of(samples: list[Sample]) -> Iterator[Prefix]:
  """Yields what a request's samples continue: the prompt, or their own tokens.

  Samples without tokens share one prefix.
  """
  prompt = np.asarray(samples[0].request.prompt, np.int32)
  fresh = [sample for sample in samples if not sample.length]
  if fresh:
    yield Prefix(prompt, deque(fresh))
  for sample in samples:
    if sample.length and sample.remaining:
      yield Prefix(np.concatenate([prompt, sample.tokens]), deque([sample]))
