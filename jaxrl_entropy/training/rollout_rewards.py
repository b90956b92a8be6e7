"""Rewards that depend on a whole rollout: its responses and their entropies."""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import numpy as np

from jaxrl_entropy import arguments, registry
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.training.rollout import Rollout

# A rollout, with the entropies of the policy as a signal -> float [N].
RolloutReward = Callable[[Rollout], np.ndarray]

COMPONENT = "rollout"


def entropy_shape(
  target: str, min_tokens: int = 50, general: bool = False
) -> RolloutReward:
  """Rewards responses whose entropies run as those of general problems do.

  The distance of two responses is the KL divergence of the softmax of their
  entropies over positions, the shorter one stretched to the longer by nearest
  neighbors: the shape of the entropy counts, not its level. A response to a
  target problem earns 1 if its nearest response to a general problem is nearer
  than its nearest other one to a target problem.

  Args:
    target: `source` of the target problems; all others are general.
    min_tokens: responses of no more tokens earn nothing.
    general: whether responses to general problems earn it too, the other way
      round.

  Raises:
    ValueError: for a negative number of tokens.

  References:
    Entropy dynamics reward of arXiv 2604.17928.
  """
  arguments.within("entropy_shape", 0, min_tokens=min_tokens)

  def reward(rollout: Rollout) -> np.ndarray:
    targets = np.array([p.source == target for p in rollout.problems])
    if targets.all() or not targets.any():
      raise UserError(
        f"reward.rollout.args.target is {target!r}, the source of "
        f"{targets.sum()} of {len(targets)} responses: mix problems of this "
        "source with others"
      )
    entropies = [
      row[mask]
      for row, mask in zip(
        rollout.signals["entropy"], rollout.mask, strict=True
      )
    ]
    earned = np.zeros(len(entropies), np.float32)
    for index, entropy in enumerate(entropies):
      if len(entropy) > min_tokens and (targets[index] or general):
        others = _distances(entropy, entropies)
        others[index] = np.inf
        same = targets == targets[index]
        earned[index] = others[~same].min() < others[same].min()
    return earned

  return reward


def _distances(entropy: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
  """Returns the distance of a response to each of the others, [N] nats."""
  distances = np.empty(len(others))
  lengths = np.array([len(other) for other in others])
  for length in np.unique(lengths):
    size = max(len(entropy), length)
    index = np.flatnonzero(lengths == length)
    rows = np.stack([others[i] for i in index])
    own, logq = (_log_softmax(_stretch(x, size)) for x in (entropy, rows))
    distances[index] = (np.exp(own) * (own - logq)).sum(-1)
  return distances


def _stretch(values: np.ndarray, size: int) -> np.ndarray:
  """Repeats values along the last axis to `size`, by nearest neighbors."""
  count = values.shape[-1]
  return values[..., np.arange(size) * count // size].astype(np.float64)


def _log_softmax(x: np.ndarray) -> np.ndarray:
  x = x - x.max(-1, keepdims=True)
  return x - np.log(np.exp(x).sum(-1, keepdims=True))


REWARDS: dict[str, Callable[..., RolloutReward]] = {
  "entropy_shape": entropy_shape
}


def resolve(name: str, args: Mapping[str, Any]) -> RolloutReward | None:
  """Returns the reward of `config.reward.rollout`; None for the name "".

  Args:
    name: a key of `REWARDS`, or the import path of a function that makes one.
    args: keyword arguments of that function.

  Raises:
    UserError: for an unknown name, or arguments that it lacks.
  """
  return registry.call("reward.rollout", name, args, REWARDS) if name else None


def add_reward(rollout: Rollout, reward: RolloutReward | None) -> Rollout:
  """Returns the rollout with the reward added, as the component `rollout`.

  Args:
    rollout: with the entropies of the policy as the signal `entropy`.
    reward: gives one number per response; None: nothing is added.
  """
  if reward is None:
    return rollout
  earned = np.asarray(reward(rollout), np.float32)
  return dataclasses.replace(
    rollout,
    rewards=rollout.rewards + earned,
    components=rollout.components | {COMPONENT: earned},
  )
