"""Schedules and feedback rules of a coefficient; each returns a `Control`."""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import optax

from jaxrl_entropy import arguments, run_files

Scalar = Float[Array, ""]
State = Any
"""A pytree of float32 scalars."""


@dataclasses.dataclass(frozen=True)
class Control:
  """The schedule or feedback rule of one coefficient.

  Attributes:
    start: the state before anything was measured, as Python numbers.
    value: (state, optimizer updates so far) -> the coefficient.
    observe: (state, measured value of `metric`) -> the next state.
    metric: key of the step's record that is fed back; None: a schedule.
  """

  start: Any
  value: Callable[[State, Int[Array, ""]], Scalar]
  observe: Callable[[State, Scalar], State] = lambda state, _: state
  metric: str | None = None


def _schedule(schedule: optax.Schedule) -> Control:
  return Control(
    0.0, lambda _, update: jnp.asarray(schedule(update), jnp.float32)
  )


def linear(start: float, end: float, updates: int, delay: int = 0) -> Control:
  """Interpolates from `start` to `end` over `updates` updates, after `delay`.

  `end=0` anneals a penalty or a covariance rule away.

  Args:
    start: the coefficient until `delay`.
    end: the coefficient from `delay + updates` on.
    updates: optimizer updates from one to the other.
    delay: optimizer updates before it starts to move.

  Raises:
    ValueError: for a number outside its range.
  """
  arguments.finite("linear", start=start, end=end)
  arguments.above("linear", 0, updates=updates)
  arguments.within("linear", 0, delay=delay)
  return _schedule(optax.linear_schedule(start, end, updates, delay))


def cosine(start: float, end: float, updates: int) -> Control:
  """Follows half a cosine from `start` to `end` over `updates` updates.

  Args:
    start: the coefficient at the first update.
    end: the coefficient from `updates` on.
    updates: optimizer updates from one to the other.

  Raises:
    ValueError: for a number outside its range.
  """
  arguments.finite("cosine", start=start, end=end)
  arguments.above("cosine", 0, updates=updates)

  def schedule(update: Int[Array, ""]) -> Scalar:
    share = jnp.clip(update / updates, 0.0, 1.0)
    return end + (start - end) * 0.5 * (1.0 + jnp.cos(jnp.pi * share))

  return _schedule(schedule)


def exponential(start: float, decay: float, updates: int) -> Control:
  """Returns `start * decay ** (update / updates)`.

  Args:
    start: the coefficient at the first update.
    decay: factor by which it has changed after `updates`; above 0.
    updates: optimizer updates; it goes on changing after them.

  Raises:
    ValueError: for a number outside its range.
  """
  arguments.finite("exponential", start=start)
  arguments.above("exponential", 0, decay=decay, updates=updates)
  return _schedule(optax.exponential_decay(start, updates, decay))


def target_entropy(
  target: float,
  start: float,
  gain: float = 0.5,
  low: float | None = None,
  high: float | None = None,
  metric: str = run_files.ENTROPY,
) -> Control:
  """Raises a coefficient while the entropy is below `target`, lowers it above.

  For anything that preserves entropy: the coefficient of a penalty or a bonus,
  the share of tokens that a rule holds back. An integral controller of the
  logarithm: c <- clip(c exp(gain (1 - H / target)), low, high) once a rollout.

  Args:
    target: nats per token.
    start: first value; above 0.
    gain: change of log c for an entropy of 0.
    low: smallest value; None: a hundredth of `start`. A product that could fall
      without end would take as long to come back.
    high: largest value; None: a hundred times `start`.
    metric: what is measured.

  Raises:
    ValueError: for a number outside its range.
  """
  owner = "target_entropy"
  arguments.above(owner, 0, target=target, start=start)
  low = start / 100 if low is None else low
  high = start * 100 if high is None else high
  arguments.finite(owner, gain=gain)
  arguments.within(owner, 0, low=low, high=high)

  def observe(state: State, entropy: Scalar) -> State:
    factor = jnp.exp(gain * (1.0 - entropy / target))
    return jnp.clip(state * factor, low, high)

  return Control(start, lambda state, _: state, observe, metric)


def adaptive_entropy(
  target: float = 0.2,
  step: float = 1e-4,
  start: float = 0.0,
  high: float = 5e-3,
  metric: str = run_files.ENTROPY,
) -> Control:
  """Raises c by `step` while the entropy is below `target`, lowers it above.

  The coefficient is c below the target and 0 above it; c stays in [0, high].
  The defaults are those of the authors' code.

  Args:
    target: nats per token.
    step: change of c at each rollout.
    start: first value of c.
    high: largest c.
    metric: key of the measured value.

  Raises:
    ValueError: for a number outside its range.

  References:
    arXiv 2505.22312.
  """
  owner = "adaptive_entropy"
  arguments.within(owner, 0, target=target, step=step, start=start, high=high)

  def observe(state: State, entropy: Scalar) -> State:
    below = entropy < target
    moved = state["coefficient"] + jnp.where(below, step, -step)
    return {
      "coefficient": jnp.clip(moved, 0.0, high),
      "acts": below.astype(jnp.float32),
    }

  return Control(
    {"coefficient": start, "acts": 0.0},
    lambda state, _: state["coefficient"] * state["acts"],
    observe,
    metric,
  )


def entropy_trend(
  gain: float = 5.0,
  limit: float = 0.5,
  decay: float = 0.9,
  metric: str = run_files.ENTROPY,
) -> Control:
  """Returns a value in [-limit, limit], above 0 while the entropy falls.

  clip(gain (1 - H / mean H), -limit, limit) against the running mean: the phase
  signal for `losses.polarity_weight`.

  Args:
    gain: how much a relative change of the entropy counts.
    limit: largest absolute value.
    decay: of the running mean, a rollout.
    metric: what is measured.

  Raises:
    ValueError: for a number outside its range.
  """
  arguments.finite("entropy_trend", gain=gain)
  arguments.within("entropy_trend", 0, limit=limit)
  arguments.within("entropy_trend", 0, 1, decay=decay)

  def observe(state: State, entropy: Scalar) -> State:
    mean = jnp.where(state["mean"] > 0, state["mean"], entropy)
    fall = 1.0 - entropy / jnp.maximum(mean, 1e-6)
    return {
      "mean": decay * mean + (1.0 - decay) * entropy,
      "value": jnp.clip(gain * fall, -limit, limit),
    }

  return Control(
    {"mean": 0.0, "value": 0.0},
    lambda state, _: state["value"],
    observe,
    metric,
  )


def step_entropy(
  target: float,
  step: float,
  start: float,
  low: float,
  high: float,
  metric: str = run_files.ENTROPY,
) -> Control:
  """Raises a value by `step` below the target entropy, lowers it above.

  For a value that lets the entropy rise as it grows, such as the upper bound of
  a ratio clip: a constant push toward the target, however far it is.

  Args:
    target: nats per token.
    step: change of the value at each rollout, above 0.
    start: first value.
    low: smallest value.
    high: largest value, above `low`.
    metric: key of the measured value.

  Raises:
    ValueError: for an empty range, or a number outside its own.
  """
  arguments.finite("step_entropy", target=target, start=start)
  arguments.above("step_entropy", 0.0, step=step)
  arguments.ordered("step_entropy", low=low, high=high)

  def observe(state: State, entropy: Scalar) -> State:
    return jnp.clip(state + step * jnp.sign(target - entropy), low, high)

  return Control(start, lambda state, _: state, observe, metric)


def pi_entropy(
  target: float,
  proportional: float = 1.0,
  integral: float = 0.01,
  limit: float = 1.0,
  metric: str = run_files.ENTROPY,
) -> Control:
  """Drives a balance by the error of the entropy and by its sum.

  `b = clip(I + proportional e, -limit, limit)` with `e = H - target` and `I <-
  I + integral e`: for the loss `sign_weighted`, whose positive tokens lower the
  entropy and so weigh more while it is above the target.

  Args:
    target: nats per token.
    proportional: gain on the error.
    integral: gain on its sum.
    limit: largest |b|, above 0; the weights 1 +- b stay positive up to 1.
    metric: key of the measured value.

  Raises:
    ValueError: for a number outside its range.

  References:
    As a baseline in the public code of arXiv 2604.26326.
  """
  arguments.finite(
    "pi_entropy", target=target, proportional=proportional, integral=integral
  )
  arguments.above("pi_entropy", 0.0, limit=limit)

  def observe(state: State, entropy: Scalar) -> State:
    error = entropy - target
    return {
      "value": jnp.clip(
        state["integral"] + proportional * error, -limit, limit
      ),
      "integral": state["integral"] + integral * error,
    }

  return Control(
    {"value": 0.0, "integral": 0.0},
    lambda state, _: state["value"],
    observe,
    metric,
  )


def first_value(metric: str, start: float = -1.0) -> Control:
  """Holds the first measured value of a metric.

  With the metric `entropy/anchored` it is the anchor of an entropy penalty.

  Args:
    metric: key of the measured value.
    start: value until something is measured.

  Raises:
    ValueError: for a number outside its range.
  """
  arguments.finite("first_value", start=start)

  def observe(state: State, measured: Scalar) -> State:
    value = jnp.where(state["known"] > 0, state["value"], measured)
    return {"value": value, "known": jnp.ones_like(value)}

  return Control(
    {"value": start, "known": 0.0},
    lambda state, _: state["value"],
    observe,
    metric,
  )


def adaptive_kl(
  target: float,
  start: float,
  horizon: float,
  samples: int,
  metric: str = run_files.KL_REFERENCE,
) -> Control:
  """Updates beta <- beta (1 + clip(KL / target - 1, +-0.2) samples / horizon).

  Ziegler et al. 2019, arXiv 1909.08593, section 2.2.

  Args:
    target: KL to the reference that is wanted, nats per token.
    start: first beta.
    horizon: samples over which beta may change by a fifth.
    samples: responses of one rollout.
    metric: what is measured.

  Raises:
    ValueError: for a number outside its range.
  """
  owner = "adaptive_kl"
  arguments.above(owner, 0, target=target, horizon=horizon, samples=samples)
  arguments.finite(owner, start=start)

  def observe(state: State, divergence: Scalar) -> State:
    error = jnp.clip(divergence / target - 1.0, -0.2, 0.2)
    return state * (1.0 + error * samples / horizon)

  return Control(start, lambda state, _: state, observe, metric)


CONTROLS: dict[str, Callable[..., Control]] = {
  control.__name__: control
  for control in (
    linear,
    cosine,
    exponential,
    target_entropy,
    adaptive_entropy,
    entropy_trend,
    step_entropy,
    pi_entropy,
    first_value,
    adaptive_kl,
  )
}
