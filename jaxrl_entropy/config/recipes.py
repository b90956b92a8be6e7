"""Methods by name: a loss, an advantage estimator and a group filter together.

    config.recipe = "rloo"                    # in a config file
    --config.recipe=rloo                      # on the command line
    config = recipes.get_config("rloo")       # in code

A field that is set replaces that part of the recipe: `loss.name`,
`advantage.name`, `rollout.group_filter`, and any key of `loss.args` and
`advantage.args`. `resolve` writes the parts into the config, so config.json and
the report show what ran.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

from ml_collections import ConfigDict

from jaxrl_entropy.errors import UserError, nearest


@dataclasses.dataclass(frozen=True)
class Recipe:
  """The parts of a method.

  Attributes:
    loss: name of an objective in `jaxrl_entropy.objectives`.
    advantage: name of an estimator in `jaxrl_entropy.advantages`.
    loss_args: keyword arguments of the objective that differ from its defaults.
    advantage_args: those of the estimator.
    controllers: what drives arguments of the objective during the run, as in
      `config.loss.controllers`.
    group_filter: 'all', or 'mixed' for groups neither all right nor all wrong.
    reference: where the method was published.
  """

  loss: str = "grpo"
  advantage: str = "grpo"
  loss_args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  advantage_args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  controllers: Mapping[str, Mapping[str, Any]] = dataclasses.field(
    default_factory=dict
  )
  group_filter: str = "all"
  reference: str = ""


RECIPES: dict[str, Recipe] = {
  "grpo": Recipe(reference="arXiv 2402.03300"),
  "dr_grpo": Recipe(
    advantage="dr_grpo",
    loss_args={"aggregate": "seq_mean_token_sum_norm"},
    reference="arXiv 2503.20783",
  ),
  "dapo": Recipe(
    loss="clip_higher", group_filter="mixed", reference="arXiv 2503.14476"
  ),
  "clip_higher": Recipe(loss="clip_higher", reference="arXiv 2503.14476"),
  "rloo": Recipe(advantage="rloo", reference="arXiv 2402.14740"),
  "reinforce_plus_plus": Recipe(
    advantage="reinforce_plus_plus", reference="arXiv 2501.03262"
  ),
  "reinforce_plus_plus_baseline": Recipe(
    advantage="reinforce_plus_plus_baseline", reference="arXiv 2501.03262"
  ),
  "prime": Recipe(
    advantage="prime", group_filter="mixed", reference="arXiv 2502.01456"
  ),
  "ppo": Recipe(advantage="gae", reference="arXiv 1707.06347"),
  "remax": Recipe(
    loss="reinforce", advantage="remax", reference="arXiv 2310.10505"
  ),
  "opo": Recipe(advantage="opo", reference="arXiv 2505.23585"),
  "gpg": Recipe(
    loss="reinforce", advantage="gpg", reference="arXiv 2504.02546"
  ),
  "gspo": Recipe(loss="gspo", reference="arXiv 2507.18071"),
  "gmpo": Recipe(loss="gmpo", reference="arXiv 2507.20673"),
  "cispo": Recipe(loss="cispo", reference="arXiv 2506.13585"),
  "sapo": Recipe(loss="sapo", reference="arXiv 2511.20347"),
  "clip_cov": Recipe(
    loss="clip_cov", group_filter="mixed", reference="arXiv 2505.22617"
  ),
  "kl_cov": Recipe(
    loss="kl_cov", group_filter="mixed", reference="arXiv 2505.22617"
  ),
  "entropy_tokens": Recipe(
    loss="entropy_tokens", group_filter="mixed", reference="arXiv 2506.01939"
  ),
  "cw_grpo": Recipe(loss="cw_grpo", reference="arXiv 2605.11538"),
  "opefo": Recipe(loss="opefo", reference="arXiv 2605.11491"),
  "papo": Recipe(
    loss="papo",
    controllers={"balance": {"name": "entropy_trend"}},
    reference="arXiv 2605.11775",
  ),
  "steer": Recipe(loss="steer", reference="arXiv 2510.10150"),
  "ce_gppo": Recipe(loss="ce_gppo", reference="arXiv 2509.20712"),
  "bapo": Recipe(loss="bapo", reference="arXiv 2510.18927"),
  "adaptive_clip": Recipe(
    loss="clip_higher",
    loss_args={"clip_low": 0.6},
    controllers={
      "clip_high": {
        "name": "step_entropy",
        "target": 0.3,
        "step": 0.25,
        "start": 1.5,
        "low": 1.5,
        "high": 4.0,
      }
    },
    reference="adaptive upper clip, as a public recipe of MAI states it",
  ),
  "archer": Recipe(loss="archer", reference="arXiv 2507.15778"),
  "entropy_advantage": Recipe(
    loss="entropy_advantage", reference="arXiv 2506.14758"
  ),
  "eda": Recipe(loss="eda", reference="arXiv 2507.21848"),
  "siren": Recipe(
    loss="siren",
    controllers={
      "anchor": {"name": "first_value", "metric": "entropy/anchored"}
    },
    reference="arXiv 2509.25133",
  ),
  "skywork": Recipe(
    loss="entropy_bonus",
    controllers={"coefficient": {"name": "adaptive_entropy"}},
    reference="arXiv 2505.22312",
  ),
  "entropic": Recipe(
    loss="sign_weighted",
    controllers={"balance": {"name": "pi_entropy", "target": 0.3}},
    reference="EntroPIC, as in the public code of Entrocraft",
  ),
  "qae": Recipe(
    loss="clip_higher",
    advantage="qae",
    group_filter="mixed",
    reference="arXiv 2509.22611",
  ),
  "nsr": Recipe(
    advantage="signed_outcome",
    advantage_args={"positive": 0.0},
    reference="arXiv 2506.01347",
  ),
  "w_reinforce": Recipe(
    advantage="signed_outcome",
    advantage_args={"positive": 0.1},
    reference="arXiv 2506.01347",
  ),
  "entrocraft": Recipe(advantage="entrocraft", reference="arXiv 2604.26326"),
  "mcpo": Recipe(loss="mcpo", advantage="mcpo", reference="arXiv 2604.16972"),
  "distillation": Recipe(
    loss="distillation", reference="on-policy distillation, arXiv 2604.14084"
  ),
  "tip": Recipe(
    loss="distillation",
    loss_args={"fraction": 0.5},
    reference="arXiv 2604.14084",
  ),
  "rlsd": Recipe(
    loss="rlsd",
    controllers={
      "mix": {"name": "linear", "start": 0.5, "end": 0.0, "updates": 50}
    },
    group_filter="mixed",
    reference="arXiv 2604.03128",
  ),
  "rlrt": Recipe(
    loss="rlrt", group_filter="mixed", reference="arXiv 2605.10781"
  ),
  "htpo": Recipe(
    loss="htpo", group_filter="mixed", reference="arXiv 2605.08283"
  ),
}


def get(name: str) -> Recipe:
  """Returns the recipe of a name.

  Args:
    name: a key of `RECIPES`, as `config.recipe` has it.

  Raises:
    UserError: if there is none, naming the nearest.
  """
  if name not in RECIPES:
    raise UserError(f"config.recipe is {name!r}: {nearest(name, RECIPES)}")
  return RECIPES[name]


def get_config(name: str) -> ConfigDict:
  """Returns the default configuration with a recipe.

  Args:
    name: of the recipe, such as `grpo` or `kl_cov`.

  Raises:
    UserError: if there is no such recipe.
  """
  from jaxrl_entropy.config import defaults

  config = defaults.get_config()
  get(name)
  config.recipe = name
  return config


def resolve(config: ConfigDict) -> None:
  """Writes the parts of `config.recipe` into the fields that are not set.

  A part that the config replaces keeps none of the recipe's arguments.
  Resolving a second time changes nothing.

  Args:
    config: changed in place.

  Raises:
    UserError: if there is no such recipe.
  """
  recipe = get(config.recipe)
  _fill(config.loss, recipe.loss, recipe.loss_args)
  if config.loss.name == recipe.loss:
    with config.loss.controllers.unlocked():
      driven = {**recipe.controllers, **config.loss.controllers}
      config.loss.controllers.update(driven)
  _fill(config.advantage, recipe.advantage, recipe.advantage_args)
  rollout = config.rollout
  rollout.group_filter = rollout.group_filter or recipe.group_filter
  rollout.train_groups = rollout.train_groups or rollout.prompts_per_step


def _fill(section: ConfigDict, name: str, args: Mapping[str, Any]) -> None:
  section.name = section.name or name
  if section.name == name:
    with section.args.unlocked():
      section.args.update({**args, **section.args})
