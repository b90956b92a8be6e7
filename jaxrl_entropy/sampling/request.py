"""Requests to the sampler and the completions it returns."""

from collections.abc import Sequence
import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Completion:
  """One continuation of length n.

  Attributes:
    tokens: int32 [n]; includes the token that stopped it.
    logp: float32 [n], log-prob under the distribution the token was drawn from
      (temperature, then top-k, top-p and min-p, renormalized; or uniform),
      nats.
    tempered_logp: float32 [n], log-prob at the sampling temperature over the
      whole vocabulary, nats: the quantity that the trainer computes.
    raw_logp: float32 [n], log-prob at temperature 1 over the whole vocabulary,
      nats.
    entropy: float32 [n], entropy of the whole vocabulary at the sampling
      temperature, nats.
    versions: int32 [n], version of the weights that sampled the token.
    finish: "stop", or "length" if max_tokens cut it short.
    routes: [P + n - 1, L, k], experts of the prompt's P tokens and of these in
      each of L layers, but of the last token, which no layer has read; None if
      the sampler does not record them.
  """

  tokens: np.ndarray
  logp: np.ndarray
  tempered_logp: np.ndarray
  raw_logp: np.ndarray
  entropy: np.ndarray
  versions: np.ndarray
  finish: str
  routes: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Uniform:
  """Uniform draws among the likely tokens, for some of a request's samples.

  Attributes:
    samples: continuations that are drawn so: the last ones of the request.
    top_k: draw among at most that many of the most likely tokens.
    floor: of those, among the ones with this raw probability; where none has
      it, among all of them.
    after: tokens of a continuation that are drawn as usual before.
  """

  samples: int = 0
  top_k: int = 5
  floor: float = 0.03
  after: int = 5


@dataclasses.dataclass(frozen=True)
class Request:
  """`n` continuations of one prompt.

  The result depends on the weights and on this request alone, not on what else
  is sampled at the same time. Requests with equal seeds share their random
  numbers, so give each its own.

  Attributes:
    prompt: token ids, at least one.
    n: number of continuations.
    max_tokens: length limit of every continuation, or a tuple with one each.
    temperature: divides the logits; 0 takes the most likely token.
    top_k: sample among the k most likely tokens; 0 turns it off.
    top_p: sample among the most likely tokens whose total probability reaches
      this; 1 turns it off.
    min_p: sample among tokens at least this fraction as likely as the most
      likely one; 0 turns it off.
    uniform: how the last continuations draw uniformly among likely tokens; by
      default none does.
    stop_ids: tokens that end a continuation; they are part of it.
    stop_strings: texts that end a continuation, found in the output of the
      sampler's `decode_text`; the token that completes one is part of it.
    seed: any integer; its lowest 32 bits seed the random numbers.
    partial: empty, or the `n` completions of an earlier call to continue up to
      max_tokens in all. Their tokens and log-probs are kept. Those that
      finished with "stop" are returned unchanged.
  """

  prompt: Sequence[int] | np.ndarray
  n: int = 1
  max_tokens: int | tuple[int, ...] = 16
  temperature: float = 1.0
  top_k: int = 0
  top_p: float = 1.0
  min_p: float = 0.0
  uniform: Uniform = Uniform()
  stop_ids: tuple[int, ...] = ()
  stop_strings: tuple[str, ...] = ()
  seed: int = 0
  partial: tuple[Completion, ...] = ()

  def __post_init__(self) -> None:
    rules = {
      "prompt": (len(self.prompt) > 0, "must hold at least one token"),
      "n": (self.n >= 1, "must be at least 1"),
      "max_tokens": (
        len(self.limits) == self.n and min(self.limits, default=1) >= 1,
        "must be at least 1, or a tuple of n such numbers",
      ),
      "temperature": (
        0 <= self.temperature < math.inf,
        "must be a finite number, not negative",
      ),
      "top_k": (
        0 <= self.top_k < 2**31,
        "must be in [0, 2**31); 0 turns it off",
      ),
      "top_p": (0 < self.top_p <= 1, "must be in (0, 1]; 1 turns it off"),
      "min_p": (0 <= self.min_p <= 1, "must be in [0, 1]; 0 turns it off"),
      "uniform": (
        0 <= self.uniform.samples <= self.n
        and self.uniform.top_k >= 0
        and 0 <= self.uniform.floor <= 1
        and self.uniform.after >= 0,
        "must have samples in [0, n], top_k and after >= 0, floor in [0, 1]",
      ),
      "stop_strings": (
        not isinstance(self.stop_strings, str) and all(self.stop_strings),
        "must be a tuple of texts, none of them empty",
      ),
      "partial": (len(self.partial) in (0, self.n), "must be empty or n long"),
    }
    for name, (holds, rule) in rules.items():
      if not holds:
        raise ValueError(f"Request.{name}={getattr(self, name)!r} {rule}")

  @property
  def limits(self) -> tuple[int, ...]:
    """The length limit of each continuation."""
    if isinstance(self.max_tokens, tuple):
      return self.max_tokens
    return (self.max_tokens,) * self.n
