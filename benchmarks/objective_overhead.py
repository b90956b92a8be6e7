"""Cost of the objective's phase and of the extra forward in an update.

    python -m benchmarks.objective_overhead --quick
    python -m benchmarks.objective_overhead --full --json overhead.json

Updates of SmolLM2-135M in float32 under KL-Cov. An update sees its whole
mini-batch before it takes a gradient: with several micro-batches that costs
one more forward pass (with one, nothing), and in either case the objective's
value and cotangents on [B, T] arrays. Both are measured by themselves and given
as shares of the update's processor time, which a busy machine moves less than
the clock; a ratio above 1 is below the limit set for the share.
"""

from collections.abc import Callable
from typing import Any

import jax

from benchmarks import common
from benchmarks.common import Result
from benchmarks.train_step import LENGTH, MODEL, OPTIMIZER, Setup
from jaxrl_entropy import objectives
from jaxrl_entropy.training.forward import Forward, forward_slices
from jaxrl_entropy.training.packed_batch import Rows
from jaxrl_entropy.training.update import make_update, objective_batch

FORWARD_LIMIT, OBJECTIVE_LIMIT = 0.30, 0.01


def objective_phase(setup: Setup) -> Callable[[Any, Rows], Any]:
  """Returns the objective's value and cotangents from forward statistics."""
  objective = objectives.resolve("kl_cov")

  def evaluate(stats: Any, rows: Rows) -> Any:
    batch = objective_batch(
      rows, stats, num_responses=setup.rows, max_length=LENGTH
    )
    return objective(batch, jax.random.key(0))

  return jax.jit(jax.value_and_grad(evaluate, has_aux=True))


class Phases:
  """The parts of an update, each ready to be timed by itself."""

  def __init__(self, setup: Setup):
    forward = Forward(MODEL)
    self._state, self._rows = setup.arrays()
    self._objective = objective_phase(setup)
    self._forward = jax.jit(
      lambda params, rows: forward_slices(forward, params, rows)
    )
    self._stats = self._forward(self._state.params, self._rows)
    self._update = make_update(
      lambda _: objectives.resolve("kl_cov"),
      OPTIMIZER,
      forward,
      None,
      num_responses=setup.rows,
      max_length=LENGTH,
    )

  def forward(self) -> None:
    jax.block_until_ready(self._forward(self._state.params, self._rows))

  def objective(self) -> None:
    jax.block_until_ready(self._objective(self._stats, self._rows))

  def update(self) -> None:
    self._state, metrics = self._update(self._state, self._rows)
    jax.block_until_ready((self._state, metrics))


def measure(setup: Setup, rounds: int) -> list[Result]:
  """Returns the shares of one load."""
  phases = Phases(setup)
  calls = {"update": phases.update, "objective": phases.objective}
  limits = {"objective": OBJECTIVE_LIMIT}
  if setup.micro_batches > 1:
    calls["forward"] = phases.forward
    limits["forward"] = FORWARD_LIMIT
  measured = common.alternate(calls, rounds).cpu
  case = f"{setup.rows} x {LENGTH} / {setup.micro_batches}"
  return [share(case, name, measured, limit) for name, limit in limits.items()]


def share(
  case: str, name: str, measured: dict[str, list[float]], limit: float
) -> Result:
  shares = [
    part / whole
    for part, whole in zip(measured[name], measured["update"], strict=True)
  ]
  (result,) = common.compare(
    case,
    f"{name} share",
    {"ours": shares, "limit": [limit] * len(shares)},
    "ours",
    higher_is_better=False,
  )
  return result


def main() -> None:
  args = common.arguments(__doc__)
  rows, parts, rounds = (4, 2, 7) if args.quick else (16, 4, 15)
  results = measure(Setup(rows, parts), rounds)
  results += measure(Setup(rows // parts, 1), rounds)
  common.report("objective_overhead", results, args.json)


if __name__ == "__main__":
  main()
