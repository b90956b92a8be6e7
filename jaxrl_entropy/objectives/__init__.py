"""Complete losses by name: chains of the parts in `jaxrl_entropy.losses`.

    from jaxrl_entropy import objectives

    loss, metrics = objectives.kl_cov(fraction=2e-3)(batch, key)

There is no arithmetic here. `aggregate` is an aggregate or its name; the other
arguments are those of the parts, whose docstrings give units and ranges. An
objective is the loss alone: advantages and the choice of responses belong to a
method as well.
"""

from collections.abc import Callable, Mapping
from typing import Any

from jaxrl_entropy import registry
from jaxrl_entropy.losses import Objective
from jaxrl_entropy.objectives.clipped import (
  bapo,
  ce_gppo,
  clip_higher,
  dual_clip_ppo,
  gmpo,
  grpo,
  gspo,
  luspo,
  sapo,
  tis,
  unclipped,
)
from jaxrl_entropy.objectives.covariance import (
  clip_cov,
  clip_random,
  cw_grpo,
  kl_cov,
)
from jaxrl_entropy.objectives.entropy import (
  aem,
  archer,
  eda,
  entropy_advantage,
  entropy_bonus,
  entropy_tokens,
  erc,
  opefo,
  papo,
  sign_weighted,
  siren,
  steer,
)
from jaxrl_entropy.objectives.likelihood import (
  cispo,
  dppo,
  dro,
  reinforce,
  vespo,
)
from jaxrl_entropy.objectives.outcome import (
  distillation,
  htpo,
  mcpo,
  reference_kl,
  rlrt,
  rlsd,
)

OBJECTIVES: dict[str, Callable[..., Objective]] = {
  factory.__name__: factory
  for factory in (
    grpo,
    clip_higher,
    dual_clip_ppo,
    unclipped,
    tis,
    gspo,
    luspo,
    gmpo,
    sapo,
    ce_gppo,
    bapo,
    reinforce,
    cispo,
    dppo,
    dro,
    vespo,
    clip_cov,
    clip_random,
    kl_cov,
    cw_grpo,
    entropy_bonus,
    entropy_tokens,
    opefo,
    papo,
    steer,
    archer,
    entropy_advantage,
    eda,
    aem,
    siren,
    erc,
    sign_weighted,
    reference_kl,
    mcpo,
    htpo,
    distillation,
    rlsd,
    rlrt,
  )
}


def resolve(name: str, args: Mapping[str, Any] | None = None) -> Objective:
  """Returns the objective of a name or import path (`my_lab.losses:mine`).

  Args:
    name: a name of OBJECTIVES, or the import path of a function that returns an
      objective.
    args: its keyword arguments.

  Raises:
    UserError: for an unknown name, or arguments that it does not take.
  """
  return registry.call("loss", name, args, OBJECTIVES)
