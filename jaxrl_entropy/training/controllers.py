"""Coefficients of a loss that change during a run: schedules and feedback.

`config.loss.controllers` names, for any argument of the loss, what drives it:

    config.loss.controllers.coefficient = dict(
      name="target_entropy", target=0.3, start=1.0)
    config.loss.controllers.fraction = dict(
      name="linear", start=2e-3, end=0.0, updates=800)

Values are traced scalars, so a change compiles nothing anew. What a controller
remembers is an array in `TrainState.controller`: it is in every checkpoint.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxrl_entropy import registry
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.training.controls import CONTROLS, Control, Scalar, State


@dataclasses.dataclass(frozen=True)
class Controllers:
  """The controls of a run by the loss argument that each drives.

  Attributes:
    controls: by the name of the loss argument.
  """

  controls: Mapping[str, Control]

  def init(self) -> State:
    """Returns the state before the first rollout."""
    starts = {name: c.start for name, c in self.controls.items()}
    return jax.tree.map(jnp.float32, starts)

  def coefficients(
    self, state: State, update: Int[Array, ""]
  ) -> dict[str, Scalar]:
    """Returns the loss arguments after `update` updates; may be traced.

    Args:
      state: of the controls by name, as `init` and `update` return it.
      update: optimizer updates so far, int32.
    """
    return {
      name: control.value(state[name], update)
      for name, control in self.controls.items()
    }

  def update(self, state: State, record: Mapping[str, Any]) -> State:
    """Feeds back what one rollout and its updates measured.

    A metric that is not finite is ignored, and so is the lack of one in a step
    without updates.

    Args:
      state: of the controls by name.
      record: metrics of the step by name; has "loss" if there were updates.

    Returns:
      The next state.

    Raises:
      ValueError: if a step with updates reports no such metric.
    """
    for name, control in self.controls.items():
      metric = control.metric
      if metric and metric not in record and "loss" in record:
        raise ValueError(
          f"loss.controllers.{name} is fed by the metric {metric!r}, which "
          "this run does not report: choose another `metric`, or a loss that "
          "reports it"
        )
    return {
      name: self._observe(control, state[name], record)
      for name, control in self.controls.items()
    }

  def _observe(
    self, control: Control, state: State, record: Mapping[str, Any]
  ) -> State:
    if control.metric is None or control.metric not in record:
      return state
    measured = jnp.asarray(record[control.metric], jnp.float32)
    moved = control.observe(state, measured)
    known = jnp.isfinite(measured)
    return jax.tree.map(
      lambda new, old: jnp.where(known, new, old), moved, state
    )


def resolve(specs: Mapping[str, Mapping[str, Any]]) -> Controllers:
  """Returns the controllers of `config.loss.controllers`.

  Args:
    specs: for each loss argument, the `name` of a control and its arguments.

  Raises:
    ValueError: for an unknown control, or arguments it does not take.
  """
  return Controllers({name: _resolve(name, s) for name, s in specs.items()})


def _resolve(argument: str, section: Any) -> Control:
  if isinstance(section, int | float | str | tuple):
    raise UserError(
      f"loss.controllers.{argument} is {section!r}: give a section with the "
      f"name of a control ({', '.join(sorted(CONTROLS))}) and its arguments"
    )
  spec = dict(section)
  what = f"loss.controllers.{argument}.name"
  return registry.call(what, spec.pop("name", ""), spec, CONTROLS)
