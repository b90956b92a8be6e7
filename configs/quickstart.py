"""Entropy collapse under GRPO, and Clip-Cov and KL-Cov against it, on a laptop.

    ./launch/quickstart.sh

or one run of it:

    jaxrl-entropy train --config=configs/quickstart.py:clip_cov --workdir=DIR

A small decoder learns the form of countdown answers from demonstrations, some
of them wrong, and then reinforcement learning from the same start and seed.
"""

from jaxrl_entropy.config import defaults
from jaxrl_entropy.errors import UserError, nearest

# Fractions are larger than the paper's 2e-4 and 2e-3: its mini-batches have
# about a million tokens, these about nine hundred.
METHODS = {
  "grpo": {},
  "clip_cov": {"fraction": 0.1, "cov_low": 1.0, "cov_high": 5.0},
  "kl_cov": {"fraction": 0.1, "coefficient": 1.5},
}


def get_config(method: str = "grpo"):
  if method not in METHODS:
    raise UserError(f"method {method!r}: {nearest(method, METHODS)}")
  config = defaults.get_config()
  config.name = f"quickstart-{method}"
  config.recipe = method
  config.loss.args.update(METHODS[method])
  config.steps = 64
  config.task.name = "countdown"
  config.model.preset = "nano"
  config.model.tokenizer = "symbols"
  config.model.compute_dtype = "float32"
  config.model.remat = "none"
  config.reward.workers = 1
  config.sft.update(steps=1200, batch_size=128, learning_rate=4e-3)
  config.sft.wrong_share = 0.3
  config.optimizer.learning_rate = 3e-4
  config.rollout.prompts_per_step = 144
  config.rollout.group_filter = "mixed"
  config.rollout.train_groups = 96
  config.rollout.num_minibatches = 8
  # As in the paper, at 0.6; 64 samples tell what is seldom found.
  config.eval.update(every=8, problems=128, samples=64, temperature=0.6)
  config.probe.update(every=1, states=2048)
  # Three numbers, a target and "="; two steps of four symbols and an end.
  config.rollout.max_prompt_length = 5
  config.rollout.max_response_length = 9
  return config


def sweep(add):
  for method in METHODS:
    add(arg=method)
