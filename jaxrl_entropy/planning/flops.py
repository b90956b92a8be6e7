"""Matrix FLOPs of a program, counted in its jaxpr.

XLA's own count takes a loop's body once and a Pallas kernel as nothing, so it
is no bound on the time of a program made of loops.
"""

from collections.abc import Callable, Iterator
import math
from typing import Any

import jax
from jax.extend import core


def count(function: Callable[..., Any], *args: Any, experts: int = 0) -> float:
  """FLOPs of `function(*args)` over all devices: 2 for a multiply and add.

  Args:
    function: anything JAX can trace.
    *args: arrays, or their shapes.
    experts: of a layer. A grouped product of fewer groups is that of a device
      which holds so many of them; only as large a share of its rows counts,
      that of an even load.
  """
  return _count(jax.make_jaxpr(function)(*args).jaxpr, experts)


def _count(jaxpr: core.Jaxpr, experts: int) -> float:
  return sum(_count_equation(equation, experts) for equation in jaxpr.eqns)


def _count_equation(equation: core.JaxprEqn, experts: int) -> float:
  params, name = equation.params, equation.primitive.name
  if name == "dot_general":
    return _dot(equation)
  if name == "ragged_dot_general":
    return _ragged_dot(equation, experts)
  if name == "pallas_call":
    estimate = params.get("cost_estimate")
    return float(estimate.flops) if estimate else 0.0
  inner = [_count(jaxpr, experts) for jaxpr in _jaxprs(params)]
  if name == "cond":
    return max(inner)
  return sum(inner) * _repeats(name, params)


def _repeats(name: str, params: dict[str, Any]) -> int:
  """Returns how often an equation runs its inner programs."""
  if name == "scan":
    return params["length"]
  if name == "while":
    return _trip_count(params["cond_jaxpr"].jaxpr)
  if name == "shard_map":
    # Its body is the program of one device.
    mesh = params["mesh"]
    return math.prod(mesh.shape[axis] for axis in params["newly_manual_axes"])
  return 1


def _trip_count(condition: core.Jaxpr) -> int:
  """Returns the bound of `i < bound` for a loop that starts at 0; else 1."""
  for equation in condition.eqns:
    if equation.primitive.name == "lt":
      bound = equation.invars[1]
      if isinstance(bound, core.Literal):
        return int(bound.val)
  return 1


def _dot(equation: core.JaxprEqn) -> float:
  (contracted, _), _ = equation.params["dimension_numbers"]
  left: Any = equation.invars[0].aval
  out: Any = equation.outvars[0].aval
  inner = math.prod(left.shape[axis] for axis in contracted)
  return 2.0 * inner * math.prod(out.shape)


def _ragged_dot(equation: core.JaxprEqn, experts: int) -> float:
  """Counts a product of groups of rows, each row in one group."""
  numbers = equation.params["ragged_dot_dimension_numbers"]
  (contracted, _), _ = numbers.dot_dimension_numbers
  arrays: list[Any] = [*equation.invars[:2], *equation.outvars]
  left, right, out = (x.aval.shape for x in arrays)
  inner = math.prod(left[axis] for axis in contracted)
  groups = math.prod(right[axis] for axis in numbers.rhs_group_dimensions)
  # The gradient of the matrices has a result for each group instead.
  held = groups if numbers.rhs_group_dimensions else out[0]
  share = held / experts if held < experts else 1.0
  return share * 2.0 * math.prod(left) * math.prod(right) / (inner * groups)


def _jaxprs(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
  for value in params.values():
    for item in value if isinstance(value, tuple | list) else (value,):
      if isinstance(item, core.ClosedJaxpr):
        yield item.jaxpr
      elif isinstance(item, core.Jaxpr):
        yield item
