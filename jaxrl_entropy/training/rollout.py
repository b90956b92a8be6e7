"""Prompts -> samples -> rewards -> statistics -> advantages, for one step."""

from collections.abc import Callable, Collection, Iterator, Sequence
import dataclasses
from typing import Any

import numpy as np

from jaxrl_entropy.advantages import (
  AdvantageInputs,
  Advantages,
  Estimator,
)
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.data.tokenizers import Tokenizer
from jaxrl_entropy.ops.kl import kl
from jaxrl_entropy.rewards.pool import Verdict
from jaxrl_entropy.rewards.shaping import Shape
from jaxrl_entropy.rewards.verifiers.extract import opened_thinking
from jaxrl_entropy.sampling.request import Completion, Request

PROMPT_END = 8  # tokens: enough for a tag that the chat template opens

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
    signals: float32 [N, T] arrays by name: `sampler_logp`, `version` (the step
      of the weights that sampled a token), then `old_logp`, `entropy`,
      `advantages`, `returns` and what else an objective asks for.
    outcomes: float32 arrays by name of what is known of a whole response and
      asked for: `baseline_rewards` [N] of the prompt's greedy response,
      `embedding` [N, D].
    components: float32 [N] terms of `rewards`, which they add up to, by name:
      `answer` (the verifier's), those of further reward functions, and the
      shaping's `format` and `overlong` where they are on.
    routes: of each prompt and response, see `Completion.routes`; None if the
      sampler does not record them.
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
  outcomes: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  components: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  routes: list[np.ndarray] | None = None

  @property
  def tokens(self) -> int:
    return int(self.mask.sum())

  def row_means(self, name: str) -> np.ndarray:
    """Returns the mean of a signal over each response's tokens, [N]."""
    total = np.where(self.mask, self.signals[name], 0).sum(1)
    return total / np.maximum(self.mask.sum(1), 1)

  def with_signals(self, **signals: np.ndarray) -> "Rollout":
    """Returns the rollout with signals added or replaced.

    Args:
      **signals: float32 [N, T] arrays by name.
    """
    return dataclasses.replace(self, signals=self.signals | signals)

  def select(self, index: np.ndarray) -> "Rollout":
    """Returns the responses at `index`, in that order; group ids are kept.

    Args:
      index: integers, any subset of the responses.
    """

    def pick(value: Any) -> Any:
      if isinstance(value, dict):
        return {name: array[index] for name, array in value.items()}
      if isinstance(value, list):
        return [value[i] for i in index]
      return value if value is None else value[index]

    fields = dataclasses.fields(self)
    return Rollout(**{f.name: pick(getattr(self, f.name)) for f in fields})


@dataclasses.dataclass(frozen=True)
class PartialGroup:
  """A group with responses cut short, which go on in a later step.

  Attributes:
    problem: what is answered.
    seed: of the group's request.
    completions: all responses of the group, complete or not.
  """

  problem: Problem
  seed: int
  completions: tuple[Completion, ...]

  def unfinished(self, limit: int) -> bool:
    """Whether a response may still grow, to `limit` tokens."""
    return any(
      c.finish == "length" and len(c.tokens) < limit for c in self.completions
    )


def response_text(
  request: Request, completion: Completion, tokenizer: Tokenizer
) -> str:
  """Returns a response as verifiers read it.

  It begins with the tag of its thinking where the prompt opens that.

  Args:
    request: the one that was answered.
    completion: the response.
    tokenizer: turns ids into text.
  """
  end = tokenizer.decode(list(request.prompt[-PROMPT_END:]))
  return opened_thinking(end) + tokenizer.decode(completion.tokens.tolist())


def from_completions(
  problems: Sequence[Problem],
  requests: Sequence[Request],
  groups: Sequence[Sequence[Completion]],
  score: Score,
  shape: Shape,
  tokenizer: Tokenizer,
  length: int,
) -> Rollout:
  """Returns the completions of the requests (one per problem), scored.

  Args:
    problems: [groups], what was asked.
    requests: [groups], as they were sampled.
    groups: the completions of each request.
    score: verdicts of (problem, response) pairs; `RewardPool.score`.
    shape: further terms of the reward.
    tokenizer: decodes the completions.
    length: T, the length limit of a response.
  """
  flat = [completion for group in groups for completion in group]
  owners = np.repeat(np.arange(len(groups)), [len(g) for g in groups])
  asked = [problems[int(i)] for i in owners]
  texts = [
    response_text(requests[int(i)], completion, tokenizer)
    for i, completion in zip(owners, flat, strict=True)
  ]
  verdicts = score(list(zip(asked, texts, strict=True)))
  components = [
    {**verdict.components, **shape(text, len(completion.tokens))}
    for verdict, text, completion in zip(verdicts, texts, flat, strict=True)
  ]
  logp, version = np.zeros((2, len(flat), length), np.float32)
  mask = np.zeros((len(flat), length), bool)
  for i, completion in enumerate(flat):
    mask[i, : len(completion.tokens)] = True
    logp[i, : len(completion.tokens)] = completion.tempered_logp
    version[i, : len(completion.tokens)] = completion.versions
  return Rollout(
    problems=asked,
    prompts=[np.asarray(requests[int(i)].prompt, np.int32) for i in owners],
    responses=[completion.tokens for completion in flat],
    groups=owners.astype(np.int32),
    rewards=np.array([sum(c.values()) for c in components], np.float32),
    correct=np.array([v.correct for v in verdicts], bool),
    truncated=np.array([c.finish == "length" for c in flat], bool),
    mask=mask,
    signals={"sampler_logp": logp, "version": version},
    components={
      name: np.array([c[name] for c in components], np.float32)
      for name in components[0]
    },
    routes=_routes(flat),
  )


def _routes(completions: Sequence[Completion]) -> list[np.ndarray] | None:
  known = [c.routes for c in completions if c.routes is not None]
  return known if len(known) == len(completions) else None


def concatenate(rollouts: Sequence[Rollout]) -> Rollout:
  """Rollouts of one step as one; groups are renumbered in order."""
  if len(rollouts) == 1:
    return rollouts[0]
  groups, first = [], 0
  for rollout in rollouts:
    groups.append(rollout.groups + first)
    first += int(rollout.groups.max()) + 1

  def join(name: str) -> Any:
    values = [getattr(rollout, name) for rollout in rollouts]
    if values[0] is None:
      return None
    if isinstance(values[0], list):
      return [item for value in values for item in value]
    if isinstance(values[0], dict):
      return {k: np.concatenate([v[k] for v in values]) for k in values[0]}
    return np.concatenate(values)

  names = {f.name for f in dataclasses.fields(Rollout)} - {"groups"}
  joined = {name: join(name) for name in names}
  return Rollout(groups=np.concatenate(groups), **joined)


def mixed_groups(rollout: Rollout) -> np.ndarray:
  """Returns the ids of groups whose answers differ in quality, ascending.

  Answers are compared by the verifier's reward alone, before rewards for form
  and length: a group that is all wrong teaches nothing about the task.

  References:
    Dynamic sampling, arXiv 2503.14476.
  """
  answers = rollout.components.get("answer", rollout.rewards)
  ids = np.unique(rollout.groups)
  differ = [np.ptp(answers[rollout.groups == i]) > 0 for i in ids]
  return ids[np.array(differ, bool)]


def _group_accuracy(rollout: Rollout) -> np.ndarray:
  """Returns the share of correct responses in each response's group, [N]."""
  _, group, size = np.unique(
    rollout.groups, return_inverse=True, return_counts=True
  )
  return (np.bincount(group, rollout.correct) / size)[group]


# Facts of each token or response that an objective may read as signals.
FACTS: dict[str, Callable[[Rollout], np.ndarray]] = {
  "correct": lambda rollout: rollout.correct[:, None],
  "group_accuracy": lambda rollout: _group_accuracy(rollout)[:, None],
  "old_entropy": lambda rollout: rollout.signals["entropy"],
}


def with_facts(rollout: Rollout, names: Collection[str]) -> Rollout:
  """Returns the rollout with those of `FACTS` that are named as signals.

  Args:
    rollout: all responses of the step, scored by the policy.
    names: fields of a TokenBatch; others than facts are passed over.
  """
  facts = {name: FACTS[name](rollout) for name in FACTS if name in names}
  return rollout.with_signals(
    **{k: np.broadcast_to(x, rollout.mask.shape) for k, x in facts.items()}
  )


def estimate_advantages(
  rollout: Rollout,
  estimator: Estimator,
  *,
  progress: float = 0.0,
  kl_coefficient: float = 0.0,
  kl_kind: str = "k1",
) -> Rollout:
  """Adds `advantages` and `returns`, estimated over all responses.

  Args:
    rollout: with `old_logp` among its signals.
    estimator: of the advantages.
    progress: share of the run that is done.
    kl_coefficient: of the KL to the reference (signal `ref_logp`), taken off
      the reward of each token; 0: none.
    kl_kind: estimator of that KL, see `ops.kl`.
  """
  known: dict[str, Any] = rollout.signals | rollout.outcomes
  known["correct"] = rollout.correct.astype(np.float32)
  known["progress"] = np.asarray(progress, np.float32)
  optional = {k: known[k] for k in estimator.needs if k in known}
  if kl_coefficient:
    divergence = kl(known["old_logp"], known["ref_logp"], kl_kind)
    optional["token_rewards"] = -kl_coefficient * np.asarray(divergence)
  for name in ("rewards", "mask", "groups", "components"):
    optional[name] = getattr(rollout, name)
  result: Advantages = estimator(AdvantageInputs(**optional))
  return rollout.with_signals(
    advantages=np.asarray(result.advantages),
    returns=np.asarray(result.returns),
  )


def split_minibatches(
  rollout: Rollout, count: int, rng: np.random.Generator
) -> Iterator[Rollout]:
  """Splits a rollout into `count` random mini-batches of whole groups.

  The mini-batches are equal in groups up to one.

  A rollout of fewer than `count` groups yields one mini-batch per group. Each
  mini-batch has the signal `group`, the index of a response's group in it.

  Args:
    rollout: whole groups.
    count: mini-batches, at most.
    rng: draws the groups of each.
  """
  groups = rng.permutation(np.unique(rollout.groups))
  for chosen in np.array_split(groups, count):
    if len(chosen):
      minibatch = rollout.select(
        np.flatnonzero(np.isin(rollout.groups, chosen))
      )
      index = np.unique(minibatch.groups, return_inverse=True)[1][:, None]
      yield minibatch.with_signals(
        group=np.broadcast_to(index, minibatch.mask.shape)
      )
