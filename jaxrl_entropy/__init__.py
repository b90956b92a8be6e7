"""Reinforcement learning of reasoning language models, and their entropy.

    import jaxrl_entropy as jrl

    loss = jrl.losses.objective(
      jrl.losses.policy_gradient(),
      jrl.losses.masked(
        jrl.losses.add_kl(1.0), jrl.losses.top_covariance(2e-3)
      ),
      aggregate=jrl.losses.token_mean(),
    )
    policy = jrl.load_model("Qwen/Qwen2.5-0.5B")
    jrl.train(jrl.recipes.get_config("kl_cov"), "runs/mine")

`losses` has the parts of losses, `objectives` complete losses, `advantages` the
estimators, `recipes` whole methods. Names are loaded when they are first used,
so that importing the package loads no JAX.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES = {
  "advantages": "jaxrl_entropy.advantages",
  "losses": "jaxrl_entropy.losses",
  "objectives": "jaxrl_entropy.objectives",
  "recipes": "jaxrl_entropy.config.recipes",
}
_NAMES = {
  "Policy": "jaxrl_entropy.training.policy",
  "Request": "jaxrl_entropy.sampling.request",
  "Sampler": "jaxrl_entropy.sampling.sampler",
  "TokenBatch": "jaxrl_entropy.types",
  "evaluate": "jaxrl_entropy.training.held_out",
  "get_config": "jaxrl_entropy.config",
  "load_config": "jaxrl_entropy.config",
  "load_model": "jaxrl_entropy.training.policy",
  "token_batch": "jaxrl_entropy.types",
  "train": "jaxrl_entropy.training.loop",
}

__all__ = sorted((*_MODULES, *_NAMES, "__version__"))


def __getattr__(name: str) -> Any:
  if name in _MODULES:
    return importlib.import_module(_MODULES[name])
  if name in _NAMES:
    return getattr(importlib.import_module(_NAMES[name]), name)
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
  return __all__
