"""Updates that look ahead: two probing steps, a jump along them, and a step.

An optimizer step from theta_0 and another one give theta_2 and the gradients g0
and g1. The jump goes to `theta_0 + share scale (theta_2 - theta_0)`, for each
coordinate with the ratio `q = clip(g1 / g0, -2, 3)` and

    scale = clip((1 + q + ... + q^(steps - 1)) / (1 + q), 1, steps / 2 + 1):

two steps taken for as many as `steps` of gradients that go on in a geometric
series. A third step from there ends the update. The optimizer's moments and its
count of steps advance three times.

References:
  arXiv 2605.06755.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from ml_collections import ConfigDict

from jaxrl_entropy import run_files
from jaxrl_entropy.models import lora
from jaxrl_entropy.training.state import TrainState
from jaxrl_entropy.types import Mean, Metrics, Params

_TINY = 1e-8

# A state -> the state after one optimizer step, its gradient and its metrics.
Step = Callable[[TrainState], tuple[TrainState, Params, Metrics]]


@dataclasses.dataclass(frozen=True)
class Lookahead:
  """Settings of a jump, and of the gate that ends them.

  Attributes:
    steps: gradient steps that a jump stands for, at least 2.
    share: of the jump that is made, in (0, 1].
    threshold: standard deviations by which the norm of the last gradient of an
      update may exceed the mean of the window; then no more jumps are made.
    window: updates whose norms are remembered; the gate waits until it is full.
  """

  steps: int
  share: float
  threshold: float
  window: int

  def init(self) -> dict[str, Array]:
    """Returns the gate's state before the first update."""
    return {
      "norms": jnp.zeros(self.window),
      "count": jnp.zeros((), jnp.int32),
      "on": jnp.ones((), bool),
    }

  def run(self, state: TrainState, step: Step) -> tuple[TrainState, Metrics]:
    """Returns the state after an update, and the metrics of its last step.

    The draws and coefficients of all steps are those of one update.

    Args:
      state: before the update; its `lookahead` is the gate's state.
      step: makes one optimizer step on the mini-batch; it is traced twice.
    """
    gate, update = state.lookahead, state.update
    start = lora.split(state.params)[0]
    _, gradient, metrics = jax.tree.map(
      lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(step, state)
    )

    def one(index: Int[Array, ""], carry: Any) -> Any:
      state, first, second, _ = carry
      trained, frozen = lora.split(state.params)
      jumped = self.jump(start, trained, first, second)
      jumps = (index == 2) & gate["on"]
      trained = _where(jumps, jumped, trained)
      state = state.replace(params=lora.join(trained, frozen), update=update)
      state, new_gradient, metrics = step(state)
      first, second = (
        _where(index == turn, new_gradient, known)
        for turn, known in enumerate((first, second))
      )
      return state, first, second, metrics

    state, *_, metrics = jax.lax.fori_loop(
      jnp.where(gate["on"], 0, 2), 3, one, (state, gradient, gradient, metrics)
    )
    gate = self.observe(gate, metrics[run_files.GRADIENT_NORM].compute())
    on = Mean(gate["on"].astype(jnp.float32), jnp.float32(1))
    return state.replace(lookahead=gate), metrics | {"lookahead/on": on}

  def jump(
    self, start: Params, end: Params, first: Params, second: Params
  ) -> Params:
    """Returns where a jump leads.

    Args:
      start: parameters before the two probing steps.
      end: parameters after them.
      first: gradient at `start`.
      second: gradient after the first step.
    """

    def one(start: Array, end: Array, g0: Array, g1: Array) -> Array:
      active = jnp.abs(g0) > _TINY
      ratio = jnp.clip(g1 / jnp.where(active, g0, 1.0), -2.0, 3.0)
      series = sum(ratio**power for power in range(self.steps))
      usable = active & (jnp.abs(1.0 + ratio) > _TINY)
      scale = series / jnp.where(usable, 1.0 + ratio, 1.0)
      scale = jnp.clip(scale, 1.0, self.steps / 2 + 1)
      scale = jnp.where(usable, scale, 1.0)
      return start + (self.share * scale * (end - start)).astype(start.dtype)

    return jax.tree.map(one, start, end, first, second)

  def observe(
    self, gate: dict[str, Array], norm: Float[Array, ""]
  ) -> dict[str, Array]:
    """Returns the gate's state after the last gradient of an update.

    Args:
      gate: `norms` [window] of the last updates, their `count`, and `on`:
        whether jumps are made.
      norm: global norm of that gradient.
    """
    norms, count = gate["norms"], gate["count"]
    excess = norm - norms.mean()
    far = excess >= self.threshold * jnp.maximum(norms.std(), _TINY)
    return {
      "norms": norms.at[count % self.window].set(norm),
      "count": count + 1,
      "on": gate["on"] & ~((count >= self.window) & far),
    }


def make_lookahead(optimizer: ConfigDict) -> Lookahead | None:
  """Returns what `config.optimizer.lookahead` asks for; None: nothing."""
  settings = optimizer.lookahead
  if not settings.steps:
    return None
  return Lookahead(
    settings.steps, settings.share, settings.threshold, settings.window
  )


def _where(condition: Bool[Array, ""], new: Any, old: Any) -> Any:
  return jax.tree.map(lambda n, o: jnp.where(condition, n, o), new, old)
