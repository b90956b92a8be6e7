"""Makes the reward pool and the shaping of a run from its `config.reward`."""

from collections.abc import Mapping
import math
from typing import Any

from jaxrl_entropy import registry
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.rewards.pool import ANSWER, RewardFunction, RewardPool
from jaxrl_entropy.rewards.shaping import Shape, shaping

# Names of other terms of the reward.
_TAKEN = (ANSWER, "format", "overlong")


def make_pool(reward: Mapping[str, Any]) -> RewardPool:
  """Returns the pool of a run.

  Args:
    reward: the fields of `config.reward`.

  Raises:
    UserError: a reward function or a package cannot be used.
  """
  functions = {
    name: _function(name, settings)
    for name, settings in dict(reward["functions"]).items()
  }
  return RewardPool(
    reward["workers"],
    reward["timeout"],
    reward["sandbox"],
    weight=_finite("reward.weight", reward["weight"]),
    functions=functions,
    judge=dict(reward["judge"]),
    packages=reward["packages"],
    folders=reward["folders"],
  )


def make_shaping(reward: Mapping[str, Any], max_length: int) -> Shape:
  """Returns the shaping of a run.

  Args:
    reward: the fields of `config.reward`.
    max_length: length limit of responses, in tokens.

  Raises:
    UserError: there is no such form.
  """
  return shaping(
    reward["format"],
    reward["format_bonus"],
    reward["overlong_buffer"],
    reward["overlong_penalty"],
    max_length=max_length,
  )


def _function(name: str, settings: Any) -> RewardFunction:
  field = f"reward.functions.{name}"
  if name in _TAKEN:
    raise UserError(f"{field}: {name!r} is the name of another reward")
  if not isinstance(settings, Mapping):
    raise UserError(
      f"{field} is {settings!r}: give dict(verifier=..., weight=..., args=...)"
    )
  known = {name: RewardFunction}
  function = registry.call("reward function", name, settings, known)
  _finite(f"{field}.weight", function.weight)
  return function


def _finite(field: str, value: Any) -> float:
  if not isinstance(value, int | float) or not math.isfinite(value):
    raise UserError(f"{field} is {value!r}: give a finite number")
  return float(value)
