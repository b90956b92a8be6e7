"""Who keeps coverage at equal accuracy? The study's parts, most telling first.

    jaxrl-entropy sweep --config=configs/sweeps/frontier.py:frontier \\
        --workdir=runs/frontier
    jaxrl-entropy analyze --workdir=runs/frontier
    python -m jaxrl_entropy.analysis.compact runs/frontier docs/results/frontier

The task, model and methods are the quick start's. The protocol is the paper's:
temperature 0.6 and greedy, with temperature 1 beside them, on 512 held-out
problems with 64 samples each, so that pass@k is known up to k = 64.

    part        runs  minutes  asks
    frontier      35        3  pass@1 against pass@64 along training
    controls      20        3  as many random tokens in place of Clip-Cov's
    updates       36        3  1, 2, 4 and 8 updates per rollout, equal tokens
    rivals        25        3  other rules that keep entropy
    explosion      9        3  a setting in which entropy rises

Minutes are estimates for one run on one idle CPU core. Parts may share the
starting policies of the first: link its folder `sft` into theirs.
"""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from configs import quickstart
from configs.sweeps.entropy_mechanism import Cell
from jaxrl_entropy.errors import UserError, nearest

SEEDS = range(5)


def get_config(method: str = "grpo") -> ConfigDict:
  """Returns the quick start with the protocol of evaluation above."""
  config = quickstart.get_config(method)
  config.rollout.prompts_per_step //= 2
  config.rollout.train_groups //= 2
  config.probe.every = 0
  config.log.samples_every = 0
  config.eval.update(every=32, problems=512, samples=64, temperature=0.6)
  config.eval.final_temperatures = (1.0,)
  return config


def _over_seeds(*cells: Cell) -> Iterator[Cell]:
  """Repeats cells for every seed, all cells of a seed before the next."""
  for seed in SEEDS:
    for method, changes in cells:
      yield method, changes | {"seed": seed}


# The curve that others are compared with has more points.
_GRPO: Cell = ("grpo", {"eval.every": 8})


def frontier() -> Iterator[Cell]:
  """Pass@1 against pass@64 along training: GRPO, Clip-Cov and KL-Cov."""
  shares = (0.02, 0.1)
  yield from _over_seeds(
    _GRPO,
    *(("clip_cov", {"loss.args.fraction": share}) for share in shares),
    *(("kl_cov", {"loss.args.fraction": share}) for share in shares),
  )


def controls() -> Iterator[Cell]:
  """As many random tokens in place of Clip-Cov's: does covariance matter?"""
  yield from _over_seeds(
    _GRPO,
    ("clip_cov", {"loss.args.fraction": 0.1}),
    *(
      ("clip_cov", {"loss.name": "clip_random", "loss.args.among": pool})
      for pool in ("all", "rewarded", "likely")
    ),
  )


def updates() -> Iterator[Cell]:
  """Updates per rollout at equal tokens and updates: is it staleness?"""
  for each in (1, 2, 4, 8):
    yield from _over_seeds(
      *((method, _fresh(each)) for method in quickstart.METHODS)
    )


def _fresh(updates_per_rollout: int) -> dict[str, Any]:
  """Divides the rollouts of the config, and not its mini-batches."""
  config = get_config()
  rollout = config.rollout
  parts = rollout.num_minibatches // updates_per_rollout
  return {
    "steps": config.steps * parts,
    "eval.every": config.eval.every * parts,
    "rollout.prompts_per_step": rollout.prompts_per_step // parts,
    "rollout.train_groups": rollout.train_groups // parts,
    "rollout.num_minibatches": updates_per_rollout,
  }


PARTS = {part.__name__: part for part in (frontier, controls, updates)}


def sweep(add, part: str = "frontier"):
  if part not in PARTS:
    raise UserError(f"part {part!r}: {nearest(part, PARTS)}")
  for method, changes in PARTS[part]():
    add(changes, arg=method)
