"""Every method that acts on the entropy, on the quick start's task.

    jaxrl-entropy sweep --config=configs/sweeps/methods.py \\
        --workdir=runs/methods
    jaxrl-entropy analyze --workdir=runs/methods
    python -m jaxrl_entropy.analysis.compact runs/methods docs/results/methods

Runs are of equal prompts and sampled responses, two seeds each, with the
defaults of each recipe; the covariance rules have the quick start's fractions.
Left out are RLSD and RLRT, whose teacher would learn nothing from the answers
of this task, distillation, which has no teacher here, HEAL, which needs
problems of two kinds, and ERC, whose bounds are not published.

The report ranks the methods by the entropy that they keep against accuracy at
temperature 0, 0.6 and 1; GRPO's runs compare the rules that pick tokens as
predictors of the change of entropy. A run takes a minute on one CPU core, after
two for the SFT of each seed. The part `first_seed` makes half of the runs.
"""

from ml_collections import ConfigDict

from configs import quickstart
from jaxrl_entropy.config.recipes import RECIPES
from jaxrl_entropy.errors import UserError, nearest

METHODS = (
  *("grpo", "clip_cov", "kl_cov", "clip_higher", "entropy_tokens", "cispo"),
  *("cw_grpo", "opefo", "papo", "steer", "ce_gppo", "bapo", "adaptive_clip"),
  *("archer", "entropy_advantage", "eda", "siren", "skywork", "entropic"),
  *("qae", "nsr", "w_reinforce", "entrocraft", "mcpo", "htpo", "mixed_cuts"),
  *("gxpo", "aem"),
)
# Methods that are no recipe: settings beside the baseline's.
SETTINGS = {
  "mixed_cuts": {"rollout.uniform_share": 0.5},
  "gxpo": {"optimizer.lookahead.steps": 5},
  "aem": {"loss.name": "aem"},
}
ARGUMENTS = quickstart.METHODS | {"aem": {"rate": 1.0}}
SEEDS = {"all": (0, 1), "first_seed": (0,)}

# Learns from groups that are all right or all wrong as well.
_ALL_GROUPS = ("nsr", "w_reinforce", "entrocraft", "mcpo")


def get_config(method: str = "grpo") -> ConfigDict:
  if method not in METHODS:
    raise UserError(f"method {method!r}: {nearest(method, METHODS)}")
  config = quickstart.get_config()
  config.name = f"methods-{method}"
  config.recipe = method if method in RECIPES else "grpo"
  config.update_from_flattened_dict(SETTINGS.get(method, {}))
  config.loss.args.update(ARGUMENTS.get(method, {}))
  config.rollout.prompts_per_step //= 2
  config.rollout.train_groups //= 2
  if method in _ALL_GROUPS:
    config.rollout.update(group_filter="all", train_groups=0)
  if method == "grpo":
    config.probe.token_fraction = 0.02
  else:
    config.probe.every = 0
  config.log.samples_every = 0
  config.eval.update(every=32, problems=512, samples=16, temperature=1.0)
  config.eval.final_temperatures = (0.6,)
  return config


def sweep(add, part: str = "all"):
  if part not in SEEDS:
    raise UserError(f"part {part!r}: {nearest(part, SEEDS)}")
  for seed in SEEDS[part]:
    for method in METHODS:
      add({"seed": seed}, arg=method)
