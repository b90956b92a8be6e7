"""Who keeps coverage at equal accuracy? The study's parts, most telling first.

    jaxrl-entropy sweep --config=configs/sweeps/frontier.py:frontier \\
        --workdir=runs/frontier
    jaxrl-entropy analyze --workdir=runs/frontier
    python -m jaxrl_entropy.analysis.compact runs/frontier docs/results/frontier

The task, model and methods are the quick start's. The protocol is the paper's:
temperature 0.6 and greedy, with temperature 1 beside them, on 512 held-out
problems with 64 samples each, so that pass@k is known up to k = 64.

    part        runs  minutes  asks
    frontier      25      1.5  pass@1 against pass@64 along training
    controls      20      1.5  as many random tokens in place of Clip-Cov's
    updates       24        2  1, 2 and 4 updates per rollout, equal tokens
    ahead          9        2  rollouts sampled 0, 1 and 2 steps ahead
    longer        15        4  three times the steps; penalties annealed to 0
    rivals        15        2  other methods that act on the entropy
    explosion     21        1  which rule stops an entropy that rises?

Minutes are of one run on one CPU core, after two for the SFT of each seed. A
part may share the first's starting policies, and the runs that both have: link
the folder `sft` of the first into its own, and copy those runs.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from ml_collections import ConfigDict

from configs import quickstart
from configs.sweeps.entropy_mechanism import Cell
from jaxrl_entropy.errors import UserError, nearest


def get_config(method: str = "grpo") -> ConfigDict:
  """Returns the quick start with the protocol of evaluation above."""
  config = quickstart.get_config(method)
  config.rollout.prompts_per_step //= 2
  config.rollout.train_groups //= 2
  config.probe.every = 0
  config.log.samples_every = 0
  config.eval.update(every=32, problems=512, samples=64, temperature=0.6)
  config.eval.final_temperatures = (0.3, 1.0, 1.3)
  return config


def _over_seeds(cells: Iterable[Cell], count: int = 5) -> Iterator[Cell]:
  """Repeats cells for some seeds, all cells of a seed before the next."""
  cells = list(cells)
  for seed in range(count):
    for method, changes in cells:
      yield method, changes | {"seed": seed}


# The curve that others are compared with has more points.
_GRPO: Cell = ("grpo", {"eval.every": 8})


def _shares(method: str, *shares: float) -> list[Cell]:
  return [(method, {"loss.args.fraction": share}) for share in shares]


def frontier() -> Iterator[Cell]:
  """Pass@1 against pass@64 along training: GRPO, Clip-Cov and KL-Cov."""
  yield from _over_seeds(
    [
      _GRPO,
      *_shares("clip_cov", 0.02, 0.1),
      *_shares("kl_cov", 0.02, 0.1),
    ]
  )


def controls() -> Iterator[Cell]:
  """As many random tokens in place of Clip-Cov's: does covariance matter?"""
  random = {"loss.name": "clip_random"}
  yield from _over_seeds(
    [
      _GRPO,
      *_shares("clip_cov", 0.1),
      *(
        ("clip_cov", random | {"loss.args.among": pool})
        for pool in ("all", "rewarded")
      ),
    ]
  )


def updates() -> Iterator[Cell]:
  """Updates per rollout, at equal tokens and updates: is it staleness?"""
  # With one update per rollout, KL-Cov's penalty is 0.
  others = [
    (method, _with_updates(count))
    for count in (1, 2, 4, 16)
    for method in ("grpo", "clip_cov", "kl_cov")
    if (method, count) != ("kl_cov", 1)
  ]
  eight = [_GRPO, *_shares("clip_cov", 0.1), *_shares("kl_cov", 0.1)]
  yield from _over_seeds([*eight, *others], count=3)


def ahead() -> Iterator[Cell]:
  """Rollouts sampled ahead of the updates: does overlap cost accuracy?"""
  ahead = [("grpo", {"rollout.max_staleness": count}) for count in (1, 2)]
  yield from _over_seeds([_GRPO, *ahead], count=3)


def longer() -> Iterator[Cell]:
  """Three times the steps: does kept coverage turn into accuracy?"""
  config = get_config()
  steps = 3 * config.steps
  updates = steps * config.rollout.num_minibatches

  def annealed(start: float) -> dict[str, Any]:
    # The last third of the run is GRPO.
    control = {"name": "linear", "start": start, "end": 0.0}
    control["updates"] = updates * 2 // 3
    return {"loss.controllers.coefficient": control}

  (kl_cov,) = _shares("kl_cov", 0.1)
  cells = [
    ("grpo", {}),
    *_shares("clip_cov", 0.1),
    kl_cov,
    ("kl_cov", kl_cov[1] | annealed(1.5)),
    ("grpo", {"loss.name": "entropy_bonus"} | annealed(0.1)),
  ]
  yield from _over_seeds(
    [(method, changes | {"steps": steps}) for method, changes in cells],
    count=3,
  )


def rivals() -> Iterator[Cell]:
  """Other methods that act on the entropy, with their own defaults."""
  mixed = {"rollout.group_filter": "mixed"}
  # It learns from groups that are all right or all wrong as well.
  every = {"rollout.group_filter": "all", "rollout.train_groups": 0}
  others = [
    ("grpo", {"recipe": "w_reinforce"} | every),
    *(("grpo", {"recipe": name} | mixed) for name in ("opefo", "qae", "steer")),
  ]
  yield from _over_seeds([_GRPO, *others], count=3)


def explosion() -> Iterator[Cell]:
  """Wrong answers alone, at three times the rate: what stops the rise?"""
  fast = {
    "steps": 32,
    "optimizer.learning_rate": 1e-3,
    "eval.samples": 16,
    "rollout.group_filter": "all",
    "rollout.train_groups": 0,
  }
  wrong = {"recipe": "nsr"}

  def under(loss: str, **args: float) -> Cell:
    added = {f"loss.args.{name}": value for name, value in args.items()}
    return "grpo", wrong | {"loss.name": loss} | added | fast

  yield from _over_seeds(
    [
      ("grpo", wrong | fast),
      under("clip_cov", fraction=0.1),
      under("kl_cov", fraction=0.1, coefficient=1.5),
      under("reference_kl", coefficient=0.1),
      under("opefo"),
      ("grpo", {"recipe": "w_reinforce"} | fast),
      ("grpo", fast),
    ],
    count=3,
  )


def _with_updates(count: int) -> dict[str, Any]:
  """Changes the size of the rollouts of the config, not of its mini-batches."""
  config = get_config()
  rollout = config.rollout

  def resized(size: int) -> int:
    return size * count // rollout.num_minibatches

  def repeated(steps: int) -> int:
    return steps * rollout.num_minibatches // count

  return {
    "steps": repeated(config.steps),
    "eval.every": repeated(config.eval.every),
    "rollout.prompts_per_step": resized(rollout.prompts_per_step),
    "rollout.train_groups": resized(rollout.train_groups),
    "rollout.num_minibatches": count,
  }


PARTS = {
  part.__name__: part
  for part in (
    *(frontier, controls, updates, ahead),
    *(longer, rivals, explosion),
  )
}


def sweep(add, part: str = "frontier"):
  if part not in PARTS:
    raise UserError(f"part {part!r}: {nearest(part, PARTS)}")
  for method, changes in PARTS[part]():
    add(changes, arg=method)
