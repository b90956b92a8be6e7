"""What is asked of the sampler, and what it answers."""

from collections.abc import Sequence
import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Completion:
  """One continuation of length n.

  Attributes:
    tokens: int32 [n], the token that stopped it included.
    logp: float32 [n], log-prob in the distribution each token was drawn from
      (after temperature, top-k, top-p, min-p), nats.
    raw_logp: float32 [n], log-prob before any of these, nats.
    entropy: float32 [n], of the whole vocabulary at the sampling temperature,
      nats.
    finish: "stop", or "length" where max_tokens cut it short.
  """

  tokens: np.ndarray
  logp: np.ndarray
  raw_logp: np.ndarray
  entropy: np.ndarray
  finish: str


@dataclasses.dataclass(frozen=True)
class Request:
  """`n` continuations of one prompt.

  The answer depends on the weights and on this request alone, not on what else
  is sampled at the same time. Requests with equal seeds share their random
  numbers: give each its own.

  Attributes:
    prompt: token ids, at least one.
    n: how many continuations.
    max_tokens: of each continuation; one for all, or one for each.
    temperature: divides the logits; 0: the most likely token, always.
    top_k: sample among the k most likely tokens; 0: all.
    top_p: ... among the most likely ones of this total mass; 1: all.
    min_p: ... among those at least this often as likely as the likeliest.
    stop_ids: tokens that end a continuation, and belong to it.
    stop_strings: texts that end a continuation, which the sampler's `decode`
      must be able to produce; the token that completes one belongs to it.
    seed: of the random numbers; any integer, its lowest 32 bits count.
    partial: empty, or `n` earlier answers to the same request that ended for
      their length: they go on from their last token, up to max_tokens in all,
      and keep the log-probs they were sampled with. Ones that stopped are
      returned as they are.
  """

  prompt: Sequence[int] | np.ndarray
  n: int = 1
  max_tokens: int | tuple[int, ...] = 16
  temperature: float = 1.0
  top_k: int = 0
  top_p: float = 1.0
  min_p: float = 0.0
  stop_ids: tuple[int, ...] = ()
  stop_strings: tuple[str, ...] = ()
  seed: int = 0
  partial: tuple[Completion, ...] = ()

  def __post_init__(self):
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
    """max_tokens of each continuation."""
    if isinstance(self.max_tokens, tuple):
      return self.max_tokens
    return (self.max_tokens,) * self.n
