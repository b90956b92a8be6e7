"""Prompts -> samples -> rewards -> statistics -> advantages, for one step."""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any, Protocol

import numpy as np

from jaxrl_entropy.data.problems import Problem
from jaxrl_entropy.data.tokenizers import Tokenizer
from jaxrl_entropy.ops.advantages import (
  AdvantageInputs,
  Advantages,
  Estimator,
)
from jaxrl_entropy.rewards.verify import Verdict
from jaxrl_entropy.sampling.request import Completion, Request
from jaxrl_entropy.types import Params


class Generate(Protocol):
  """The part of a Sampler that a rollout uses."""

  def __call__(
    self, params: Params, requests: Sequence[Request]
  ) -> list[list[Completion]]: ...


Score = Callable[[Sequence[tuple[Problem, str]]], Sequence[Verdict]]


@dataclasses.dataclass(frozen=True)
class Rollout:
  """All responses of one step on the host: N responses of up to T tokens.

  Attributes:
    problems: one for each response.
    prompts: token ids, one for each response.
    responses: token ids, one for each response.
    groups: int32 [N], which prompt a response answers, from 0.
    rewards: float32 [N], shaped reward.
    correct: bool [N], the verifier's verdict alone.
    truncated: bool [N], ended by the length limit.
    mask: bool [N, T].
    signals: float32 [N, T] arrays by name: `sampler_logp`, then `old_logp`,
      `entropy`, `advantages`, `returns` and what else an objective asks for.
  """

  problems: list[Problem]
  prompts: list[np.ndarray]
  responses: list[np.ndarray]
  groups: np.ndarray
  rewards: np.ndarray
  correct: np.ndarray
  truncated: np.ndarray
  mask: np.ndarray
  signals: dict[str, np.ndarray]

  @property
  def tokens(self) -> int:
    return int(self.mask.sum())

  def with_signals(self, **signals: np.ndarray) -> "Rollout":
    return dataclasses.replace(self, signals=self.signals | signals)

  def select(self, index: np.ndarray) -> "Rollout":
    """The responses at `index`, in that order; group ids are kept."""

    def pick(value: Any) -> Any:
      if isinstance(value, dict):
        return {name: array[index] for name, array in value.items()}
      if isinstance(value, list):
        return [value[i] for i in index]
      return value[index]

    fields = dataclasses.fields(self)
    return Rollout(**{f.name: pick(getattr(self, f.name)) for f in fields})


def sample(
  problems: Sequence[Problem],
  requests: Sequence[Request],
  params: Params,
  generate: Generate,
  score: Score,
  tokenizer: Tokenizer,
  length: int,
) -> Rollout:
  """Samples the requests (one a problem) and scores what comes back."""
  groups = generate(params, requests)
  flat = [completion for group in groups for completion in group]
  owners = np.repeat(np.arange(len(groups)), [len(g) for g in groups])
  asked = [problems[i] for i in owners]
  texts = [tokenizer.decode(completion.tokens) for completion in flat]
  verdicts = score(list(zip(asked, texts, strict=True)))
  logp = np.zeros((len(flat), length), np.float32)
  mask = np.zeros((len(flat), length), bool)
  for i, completion in enumerate(flat):
    mask[i, : len(completion.tokens)] = True
    logp[i, : len(completion.tokens)] = completion.logp
  return Rollout(
    problems=asked,
    prompts=[np.asarray(requests[i].prompt, np.int32) for i in owners],
    responses=[completion.tokens for completion in flat],
    groups=owners.astype(np.int32),
    rewards=np.array([v.reward for v in verdicts], np.float32),
    correct=np.array([v.correct for v in verdicts], bool),
    truncated=np.array([c.finish == "length" for c in flat], bool),
    mask=mask,
    signals={"sampler_logp": logp},
  )


def concatenate(parts: Sequence[Rollout]) -> Rollout:
  """Rollouts of one step as one; groups are renumbered in order."""
  if len(parts) == 1:
    return parts[0]
  groups, first = [], 0
  for part in parts:
    groups.append(part.groups + first)
    first += int(part.groups.max()) + 1

  def join(name: str) -> Any:
    values = [getattr(part, name) for part in parts]
    if isinstance(values[0], list):
      return [item for value in values for item in value]
    return np.concatenate(values)

  names = [f.name for f in dataclasses.fields(Rollout)]
  joined = {n: join(n) for n in names if n not in ("groups", "signals")}
  signals = {
    name: np.concatenate([part.signals[name] for part in parts])
    for name in parts[0].signals
  }
  return Rollout(groups=np.concatenate(groups), signals=signals, **joined)


def informative(rollout: Rollout) -> np.ndarray:
  """Group ids, ascending, whose rewards are not all equal."""
  ids = np.unique(rollout.groups)
  spread = [np.ptp(rollout.rewards[rollout.groups == i]) > 0 for i in ids]
  return ids[np.array(spread, bool)]


def estimate_advantages(
  rollout: Rollout, estimator: Estimator, **optional: np.ndarray
) -> Rollout:
  """Adds `advantages` and `returns`; the estimator runs on all responses."""
  available = {
    name: rollout.signals.get(name)
    for name in estimator.needs
    if name in rollout.signals
  }
  result: Advantages = estimator(
    AdvantageInputs(
      rewards=rollout.rewards,
      mask=rollout.mask,
      groups=rollout.groups,
      **(available | optional),
    )
  )
  return rollout.with_signals(
    advantages=np.asarray(result.advantages),
    returns=np.asarray(result.returns),
  )
