"""Tries kernels on the device that runs them: right first, then fast.

A kernel that compiles may still be wrong on a chip that nobody has tried it on.
Its result is compared with XLA's on the caller's own shapes before it is used.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp

TOLERANCE = 0.03
"""Largest relative difference of a right result: bfloat16 rounding is 1%."""

REPEATS = 5


@dataclasses.dataclass(frozen=True)
class Trial:
  """The outcome of one back-end.

  Attributes:
    seconds: of one call; infinite if it failed.
    difference: of its result from the reference, relative; infinite if it
      failed.
    failure: the first line of its error; "" if it had none.
  """

  seconds: float = math.inf
  difference: float = math.inf
  failure: str = ""

  @property
  def right(self) -> bool:
    """Whether it may be used."""
    return self.difference <= TOLERANCE  # False for NaN.


def median_seconds(call: Callable[[], Any]) -> float:
  """Returns the median duration of `call`, whose result is waited for.

  Args:
    call: what is timed, `REPEATS` times; compiled before.
  """
  durations = []
  for _ in range(REPEATS):
    start = time.perf_counter()
    jax.block_until_ready(call())
    durations.append(time.perf_counter() - start)
  return statistics.median(durations)


def run(
  functions: Mapping[str, Callable[..., Any]], args: Sequence[Any]
) -> dict[str, Trial]:
  """Runs every function on the same arguments.

  Args:
    functions: by name, the reference first; each is jitted here and returns a
      tree of arrays.
    args: of each function.

  Returns:
    A trial of each function. That of a function that raises says why.

  Raises:
    Exception: whatever the reference raises: nothing runs without it.
  """
  (reference, *candidates) = functions
  expected, first = _call(functions[reference], args)
  trials = {reference: Trial(first, 0.0)}
  for name in candidates:
    try:
      result, seconds = _call(functions[name], args)
    except Exception as error:
      line = next(iter(str(error).splitlines()), "")
      trials[name] = Trial(failure=f"{type(error).__name__}: {line}"[:200])
    else:
      trials[name] = Trial(seconds, _difference(result, expected))
  return trials


def best(everywhere: Sequence[Mapping[str, Trial]]) -> str:
  """Returns the fastest function that is right in all of several runs.

  Args:
    everywhere: trials of the same functions, the reference first, on each
      process or for each shape.
  """
  names = [
    name
    for name in everywhere[0]
    if all(trials[name].right for trials in everywhere)
  ]
  return min(
    names, key=lambda name: sum(trials[name].seconds for trials in everywhere)
  )


def describe(everywhere: Sequence[Mapping[str, Trial]], chosen: str) -> str:
  """Returns one line on what each function did and which one is used.

  Args:
    everywhere: trials of the same functions, the reference first, on each
      process or for each shape. Seconds are added, the worst difference shown.
    chosen: name of the function that is used.
  """
  texts = []
  for name in everywhere[0]:
    tried = [trials[name] for trials in everywhere]
    failures = [trial.failure for trial in tried if trial.failure]
    worst = max(trial.difference for trial in tried)
    if failures:
      texts.append(f"{name} failed ({failures[0]})")
    elif not all(trial.right for trial in tried):
      texts.append(f"{name} differs by {worst:.2g} of the result")
    else:
      seconds = sum(trial.seconds for trial in tried)
      texts.append(f"{name} {1e3 * seconds:.2f} ms")
  return f"{', '.join(texts)}: {chosen} is used"


def _call(
  function: Callable[..., Any], args: Sequence[Any]
) -> tuple[Any, float]:
  jitted = jax.jit(function)
  result = jax.block_until_ready(jitted(*args))
  return result, median_seconds(lambda: jitted(*args))


@jax.jit
def _differences(result: Any, expected: Any) -> Any:
  """Computes the relative difference of each array, all in float32."""

  def one(a: jax.Array, b: jax.Array) -> jax.Array:
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    return jnp.linalg.norm(a - b) / jnp.maximum(jnp.linalg.norm(b), 1e-30)

  return jax.tree.map(one, result, expected)


def _difference(result: Any, expected: Any) -> float:
  differences = jax.tree.leaves(jax.device_get(_differences(result, expected)))
  # max() would pass over a NaN.
  return (
    math.nan if any(map(math.isnan, differences)) else float(max(differences))
  )
