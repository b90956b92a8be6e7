"""The study of docs/science.md, in parts; each part is a study of its own.

    jaxrl-entropy sweep --config=configs/sweeps/entropy_mechanism.py:headline \\
        --workdir=runs/headline
    jaxrl-entropy analyze --workdir=runs/headline
    python -m jaxrl_entropy.analysis.compact runs/headline docs/results/headline

Minutes are estimates for one run on two idle CPU cores; the parts stand in the
order in which they are worth running. Some of them hold runs of the headline's
too, for comparison: a copy of such a run's folder is not run again.

    cp -r "runs/headline/grpo,seed=0" runs/coefficients/

    part          runs  minutes  asks
    headline         9        3  collapse, law, dynamics; Clip-Cov and KL-Cov
    hard             9       10  the same with four numbers: who ends higher?
    coefficients    11        3  entropy level against r, k and beta
    moderate        12        3  half the strength, clip-higher: who gains?
    baselines        8        3  clip-higher, entropy bonus, reference KL
    algorithms       8        3  a and b under RLOO, REINFORCE++ and PRIME
    sizes            4        4  a and b against model size
    long             3        9  three times the steps: do the orders change?
    gentle           8        9  small fractions, three times the steps
    theory           4        2  one update a rollout, SGD and Adam
    programs         6        3  another task: programs, run in the sandbox
    controllers      6        3  coefficients that hold the entropy at a target
"""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from configs import quickstart
from jaxrl_entropy.config import defaults
from jaxrl_entropy.errors import UserError, nearest

Cell = tuple[str, dict[str, Any]]
"""The method of `get_config`, and what is changed in it."""

METHODS = tuple(quickstart.METHODS)
SEEDS = range(3)
SIZES = ("pico", "nano", "tiny", "mini")


def get_config(method: str = "grpo") -> ConfigDict:
  """Returns the quick start, evaluated often and with few samples."""
  config = quickstart.get_config(method)
  config.eval = defaults.get_config().eval
  config.eval.every = 4
  return config


def headline() -> Iterator[Cell]:
  """Collapse, law and dynamics; Clip-Cov and KL-Cov; three seeds."""
  for seed in SEEDS:
    for method in METHODS:
      yield method, {"seed": seed}


def headlines(*methods: str) -> Iterator[Cell]:
  """The first runs of some methods, as the headline has them."""
  for method in methods:
    yield method, {"seed": SEEDS[0]}


def hard() -> Iterator[Cell]:
  """The same with four numbers: who ends higher?"""
  # A fourth number takes one more symbol of the prompt, and one more step.
  four = {
    "task.args.numbers": 4,
    "sft.steps": 1000,
    "rollout.max_prompt_length": 6,
    "rollout.max_response_length": 13,
  }
  for method, changes in headline():
    yield method, changes | four


def coefficients() -> Iterator[Cell]:
  """The level of entropy against r, k and beta."""
  yield from headlines(*METHODS)
  for fraction in (0.005, 0.02, 0.05):
    yield "clip_cov", {"loss.args.fraction": fraction}
  for fraction in (0.02, 0.05):
    yield "kl_cov", {"loss.args.fraction": fraction}
  for coefficient in (0.5, 1.0, 2.0):
    yield "kl_cov", {"loss.args.coefficient": coefficient}


def moderate() -> Iterator[Cell]:
  """Clip-Cov at r = .05, KL-Cov at beta = 1, and clip-higher; three seeds."""
  for seed in SEEDS:
    yield "grpo", {"seed": seed}
    yield "clip_cov", {"loss.args.fraction": 0.05, "seed": seed}
    yield "kl_cov", {"loss.args.coefficient": 1.0, "seed": seed}
    yield "grpo", {"loss.name": "clip_higher", "seed": seed}


def baselines() -> Iterator[Cell]:
  """Clip-higher, the entropy bonus and the reference KL."""
  yield from headlines("grpo")
  yield "grpo", {"loss.name": "clip_higher"}
  for name in ("entropy_bonus", "reference_kl"):
    for coefficient in (0.003, 0.01, 0.03):
      yield "grpo", {"loss.name": name, "loss.args.coefficient": coefficient}


def algorithms() -> Iterator[Cell]:
  """a and b under RLOO, REINFORCE++ and PRIME, two seeds each."""
  for advantage in ("grpo", "rloo", "reinforce_plus_plus", "prime"):
    for seed in (0, 1):
      yield "grpo", {"advantage.name": advantage, "seed": seed}


def sizes() -> Iterator[Cell]:
  """a and b against the size of the model."""
  for size in SIZES:
    yield "grpo", {"model.preset": size}


def long() -> Iterator[Cell]:
  """Three times the steps: do the orders change?"""
  for method in METHODS:
    yield method, {"steps": 3 * get_config().steps}


def gentle() -> Iterator[Cell]:
  """Smaller fractions over three times the steps; one of them, three seeds."""
  longer = {"steps": 3 * get_config().steps}
  smaller = {"loss.args.fraction": 0.02}
  for seed in SEEDS:
    yield "grpo", {"seed": seed} | longer
    yield "clip_cov", smaller | {"seed": seed} | longer
  yield "clip_cov", {"loss.args.fraction": 0.005, "seed": SEEDS[0]} | longer
  yield "kl_cov", smaller | {"seed": SEEDS[0]} | longer


def theory() -> Iterator[Cell]:
  """On-policy, all groups kept: the setting of Theorems 1 and 2."""
  on_policy = {
    "rollout.num_minibatches": 1,
    "rollout.group_filter": "all",
    "rollout.train_groups": 0,
  }
  for optimizer, rates in (("sgd", (0.1, 0.3)), ("adamw", (3e-4, 1e-3))):
    for rate in rates:
      yield (
        "grpo",
        on_policy
        | {"optimizer.name": optimizer, "optimizer.learning_rate": rate},
      )


def programs() -> Iterator[Cell]:
  """Another task: programs, run in the sandbox; two seeds."""
  # Four results and "="; eleven symbols of the longest program, and an end.
  task = {
    "task.name": "programs",
    "rollout.max_prompt_length": 5,
    "rollout.max_response_length": 12,
  }
  for seed in (0, 1):
    for method in METHODS:
      yield method, task | {"seed": seed}


def controllers() -> Iterator[Cell]:
  """Coefficients that a controller moves to hold the entropy at a target."""
  yield from headlines("grpo", "kl_cov")
  for target in (0.2, 0.3):
    yield "kl_cov", _held_at(target, start=1.5)
    yield "grpo", {"loss.name": "entropy_bonus"} | _held_at(target, start=0.01)


def _held_at(target: float, start: float) -> dict[str, Any]:
  control = {"name": "target_entropy", "target": target, "start": start}
  # Runs are short and begin above the target: what the coefficient loses until
  # then has to come back within a few steps.
  quick = {"gain": 2.0, "low": start / 5}
  return {"loss.controllers.coefficient": control | quick}


PARTS = {
  part.__name__: part
  for part in (
    *(headline, hard, coefficients, moderate),
    *(baselines, algorithms, sizes, long),
    *(gentle, theory, programs, controllers),
  )
}


def sweep(add, part: str = "headline"):
  if part not in PARTS:
    raise UserError(f"part {part!r}: {nearest(part, PARTS)}")
  for method, changes in PARTS[part]():
    add(changes, arg=method)
