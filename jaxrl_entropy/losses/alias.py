"""Named methods, spelled as chains. No arithmetic here."""

from collections.abc import Callable, Mapping
import importlib
import inspect
from typing import Any

from jaxrl_entropy.losses.aggregation import token_mean
from jaxrl_entropy.losses.base import (
  Objective,
  masked,
  objective,
  set_to_zero,
)
from jaxrl_entropy.losses.penalties import add_kl
from jaxrl_entropy.losses.selection import random_covariance, top_covariance
from jaxrl_entropy.losses.surrogate import policy_gradient, ppo_clip


def grpo(low: float = 0.2, high: float = 0.2) -> Objective:
  """PPO's clip over all tokens; RLOO and REINFORCE++ differ in advantages."""
  return objective(ppo_clip(low, high), aggregate=token_mean())


def clip_higher(low: float = 0.2, high: float = 0.28) -> Objective:
  """DAPO's asymmetric clip (arXiv 2503.14476)."""
  return grpo(low, high)


def clip_cov(
  fraction: Any = 2e-4,
  low: float = 1.0,
  high: float = 5.0,
  clip_low: float = 1.0,
  clip_high: float = 1.0,
  **options: Any,
) -> Objective:
  """Clip-Cov (arXiv 2505.22617, section 4.3)."""
  return objective(
    ppo_clip(clip_low, clip_high),
    masked(set_to_zero(), random_covariance(fraction, low, high, **options)),
    aggregate=token_mean(),
  )


def kl_cov(
  fraction: Any = 2e-3, coefficient: Any = 1.0, **options: Any
) -> Objective:
  """KL-Cov (arXiv 2505.22617, section 4.3)."""
  return objective(
    policy_gradient(),
    masked(add_kl(coefficient), top_covariance(fraction, **options)),
    aggregate=token_mean(),
  )


METHODS: dict[str, Callable[..., Objective]] = {
  "grpo": grpo,
  "rloo": grpo,
  "reinforce_plus_plus": grpo,
  "clip_higher": clip_higher,
  "clip_cov": clip_cov,
  "kl_cov": kl_cov,
}


def _imported(path: str) -> Callable[..., Objective]:
  module, _, attribute = path.partition(":")
  return getattr(importlib.import_module(module), attribute)


def resolve(name: str, args: Mapping[str, Any] | None = None) -> Objective:
  """The objective of a method, by name or import path (`my_lab.losses:mine`).

  Raises:
    ValueError: for an unknown name, or arguments that the method does not take.
  """
  method = _imported(name) if ":" in name else METHODS.get(name)
  if method is None:
    known = ", ".join(sorted(METHODS))
    raise ValueError(
      f"unknown loss {name!r}; choose one of {known}, or give an import path "
      "like 'my_lab.losses:mine'"
    )
  args = dict(args or {})
  try:
    inspect.signature(method).bind(**args)
  except TypeError as error:
    raise ValueError(
      f"loss {name!r} does not take these args: {error}; its signature is "
      f"{name}{inspect.signature(method)}"
    ) from error
  return method(**args)
