"""Every method that acts on the entropy, on the quick start's task.

    jaxrl-entropy sweep --config=configs/sweeps/methods.py \\
        --workdir=runs/methods
    jaxrl-entropy analyze --workdir=runs/methods
    python -m jaxrl_entropy.analysis.compact runs/methods docs/results/methods

Runs are of equal prompts and sampled responses, two seeds each, with the
defaults of each recipe; the covariance rules have the quick start's fractions.
The report ranks the methods by the entropy that they keep against accuracy at
temperature 0, 0.6 and 1. The argument `short` makes 24 steps of each, `seed0`
one seed, `short:seed0` both.
"""

from typing import Any

from configs import quickstart
from jaxrl_entropy.config.recipes import RECIPES
from jaxrl_entropy.errors import UserError, nearest

METHODS = (
  *("grpo", "clip_cov", "kl_cov", "clip_higher", "entropy_tokens", "cispo"),
  *("cw_grpo", "opefo", "papo", "steer", "ce_gppo", "bapo", "adaptive_clip"),
  *("archer", "entropy_advantage", "eda", "siren", "skywork", "entropic"),
  *("qae", "nsr", "w_reinforce", "entrocraft", "mcpo", "htpo", "rlsd", "rlrt"),
  *("mixed_cuts", "gxpo", "aem"),
)
# Methods that are no recipe: settings beside the baseline's.
SETTINGS = {
  "mixed_cuts": {"rollout.uniform_share": 0.5},
  "gxpo": {"optimizer.lookahead.steps": 5},
  "aem": {"loss.name": "aem"},
}
ARGUMENTS = quickstart.METHODS | {"aem": {"rate": 1.0}}
SEEDS = (0, 1)
SHORT = 24

# Learns from groups that are all right or all wrong as well.
_ALL_GROUPS = ("nsr", "w_reinforce", "entrocraft", "mcpo")


def get_config(method: str = "grpo"):
  if method not in METHODS:
    raise UserError(f"method {method!r}: {nearest(method, METHODS)}")
  config = quickstart.get_config()
  config.name = f"methods-{method}"
  config.recipe = method if method in RECIPES else "grpo"
  config.update_from_flattened_dict(SETTINGS.get(method, {}))
  config.loss.args.update(ARGUMENTS.get(method, {}))
  if method in _ALL_GROUPS:
    config.rollout.update(group_filter="all", train_groups=0)
  config.probe.token_fraction = 0.02 if method == "grpo" else 0.0
  config.eval.update(every=16, final_temperatures=(0.6,))
  return config


def sweep(add, part: str = ""):
  chosen = set(filter(None, part.split(":")))
  for name in chosen - {"short", "seed0"}:
    raise UserError(f"part {name!r}: {nearest(name, ('short', 'seed0'))}")
  changes: dict[str, Any] = {"steps": SHORT} if "short" in chosen else {}
  for seed in SEEDS[:1] if "seed0" in chosen else SEEDS:
    for method in METHODS:
      add(changes | {"seed": seed}, arg=method)
