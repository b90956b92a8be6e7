"""Advantage estimators: pure functions of a whole rollout.

`resolve(name, args)` makes an `Estimator`; it maps `AdvantageInputs` (right
padded rows, one response a row) to `Advantages` of the same shape, under jit or
not.
"""

from collections.abc import Callable, Mapping
from typing import Any

from jaxrl_entropy import registry
from jaxrl_entropy.advantages.base import (
  AdvantageInputs,
  Advantages,
  Estimator,
  dense_rewards,
  group_statistics,
  spread,
  whiten,
)
from jaxrl_entropy.advantages.controlled import (
  entrocraft,
  mcpo,
  qae,
  signed_outcome,
)
from jaxrl_entropy.advantages.outcome import (
  dr_grpo,
  gdpo,
  gpg,
  grpo,
  grpo_passk,
  opo,
  reinforce_plus_plus_baseline,
  rloo,
)
from jaxrl_entropy.advantages.process import prime
from jaxrl_entropy.advantages.tokenwise import (
  gae,
  optimal_token_baseline,
  reinforce_plus_plus,
  remax,
  reward_to_go,
  tir_optimal_token_baseline,
)

ESTIMATORS: dict[str, Callable[..., Estimator]] = {
  factory.__name__: factory
  for factory in (
    grpo,
    dr_grpo,
    grpo_passk,
    rloo,
    opo,
    gpg,
    gdpo,
    reinforce_plus_plus,
    reinforce_plus_plus_baseline,
    remax,
    gae,
    optimal_token_baseline,
    tir_optimal_token_baseline,
    prime,
    qae,
    signed_outcome,
    mcpo,
    entrocraft,
  )
}


def resolve(name: str, args: Mapping[str, Any] | None = None) -> Estimator:
  """The estimator of a config: a name of ESTIMATORS, or `package.module:fn`.

  Args:
    name: a name, or the import path of a factory of the user's own.
    args: keyword arguments of the factory.

  Raises:
    UserError: for an unknown name or an argument the factory does not have.
  """
  return registry.call("advantage", name, args, ESTIMATORS)


__all__ = [
  "ESTIMATORS",
  "AdvantageInputs",
  "Advantages",
  "Estimator",
  "dense_rewards",
  "group_statistics",
  "resolve",
  "reward_to_go",
  "spread",
  "whiten",
]
