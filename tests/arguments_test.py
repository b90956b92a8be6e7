"""Arguments out of range are named with their value and the range."""

import inspect
import typing

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import advantages, arguments, losses, objectives
from jaxrl_entropy.training import controls


def _makes(value):
  return hasattr(value, "makes")


def _is_number(annotation):
  if typing.get_origin(annotation) is tuple:
    return False
  return not {float, int}.isdisjoint(
    kind
    for kind in (annotation, *typing.get_args(annotation))
    if _is_type(kind)
  )


def _is_type(kind):
  return isinstance(kind, type)


# What stands for arguments without a default.
GIVEN = {
  "selector": losses.rewarded_tokens(),
  "counted": losses.rewarded_tokens(),
  "score": losses.entropy_score,
  "name": "x",
  "low": 0.0,
  "high": 1.0,
  "metric": "entropy/token_mean",
}
PARTS = {name: make for name, make in vars(losses).items() if _makes(make)}
FACTORIES = {
  f"{room}.{name}": make
  for room, known in {
    "losses": PARTS,
    "objectives": objectives.OBJECTIVES,
    "advantages": advantages.ESTIMATORS,
    "controllers": controls.CONTROLS,
  }.items()
  for name, make in known.items()
}
NUMBERS = [
  (factory, name)
  for factory, make in FACTORIES.items()
  for name, parameter in inspect.signature(make).parameters.items()
  if _is_number(parameter.annotation)
  and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
]


@pytest.mark.parametrize(
  ("check", "message"),
  [
    (
      lambda: arguments.within("f", 0, 1, x=1.5),
      r"f: x is 1.5; .* in \[0, 1\]",
    ),
    (lambda: arguments.within("f", 0, x=-1), "f: x is -1; .* at least 0"),
    (lambda: arguments.within("f", 0, x="b"), "f: x is 'b'"),
    (lambda: arguments.within("f", 0, x=True), "f: x is True"),
    (lambda: arguments.within("f", 0, 1, x=float("nan")), "f: x is nan"),
    (lambda: arguments.above("f", 0, x=0), "f: x is 0; .* above 0"),
    (lambda: arguments.above("f", 0, x=np.inf), "f: x is inf"),
    (lambda: arguments.finite("f", x=np.nan), "f: x is nan; .* finite"),
    (lambda: arguments.ordered("f", a=2, b=2), "f: a=2 is not below b=2"),
    (lambda: arguments.one_of("f", "ab", x="c"), "f: x is 'c'; use 'a' or 'b'"),
  ],
)
def test_a_mistake_is_named(check, message):
  with pytest.raises(ValueError, match=message):
    check()


def test_what_is_in_range_or_traced_passes():
  arguments.within("f", 0, 1, x=0, y=1.0, z=jnp.float32(7))
  arguments.above("f", 0, x=1e-9, y=jnp.float32(-1))
  arguments.ordered("f", a=1, b=2)
  arguments.ordered("f", a=jnp.float32(2), b=1)
  arguments.one_of("f", (None, 1), x=None)


@pytest.mark.parametrize(("factory", "name"), NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), -1e9])
def test_every_part_names_a_number_that_it_cannot_use(factory, name, value):
  make = FACTORIES[factory]
  parameters = inspect.signature(make).parameters
  if parameters[name].annotation is int:
    value = -(10**9)
  args = {
    key: GIVEN.get(key, 0.5)
    for key, parameter in parameters.items()
    if parameter.default is parameter.empty
    and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
  }
  try:
    make(**args | {name: value})
  except ValueError as error:
    text = str(error)
    assert f"{name} is {value!r}" in text or f"{name}={value!r}" in text
    assert "\n" not in text
  else:
    assert not np.isnan(value)
